//! `rapport train`: a policy from demonstrations, or from a reward.

mod offline;

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context as _;
use rapport::perception::DeviceChoice;
use rapport::policy::{Bc, BcConfig, BcLoss, HiddenNorm, PolicySpec, Sac, SacConfig, Transition};
use rapport::reward::LoadedReward;
use serde::{Deserialize, Serialize};

use super::Usage;
use super::environment::EnvironmentArgs;
use crate::clips::{Library, camera_of};
use crate::interrupt;
use crate::labelling::{Labeller, columns};
use crate::run_dir::{self, MetricsLog};
use crate::schema;
use crate::training::{RewardSource, TrainingConfig, train};
use crate::ui::Ui;

/// Train a policy: `bc` copies demonstrations, `iql` learns from recorded episodes and a reward, `sac` practises in simulation on a
/// reward.
///
/// The run's directory holds the resolved configuration, `metrics.jsonl` and a checkpoint; Ctrl-C saves, `--resume` goes on
/// exactly where it stopped.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// How to learn.
    #[arg(long, value_enum, default_value_t = Learner::Sac)]
    pub policy: Learner,
    /// A reward's directory, or `true` for the simulator's own reward (for comparison). `bc` copies steps the more, the more progress
    /// the reward sees after them.
    #[arg(long, value_name = "DIR|true")]
    pub reward: Option<String>,
    /// Demonstrations: what `bc` copies, what `iql` learns from, what `sac` starts from.
    #[arg(long, value_name = "DIR")]
    pub dataset: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub environment: EnvironmentArgs,
    /// Steps in the task (`sac`).
    #[arg(long, default_value_t = 15_000)]
    pub steps: u64,
    /// Gradient steps per step in the task (`sac`).
    #[arg(long, default_value_t = 1.0)]
    pub update_to_data: f64,
    /// Discount per step (`sac`, `iql`).
    #[arg(long, default_value_t = 0.97)]
    pub discount: f64,
    /// Gradient steps on recorded episodes (`iql`).
    #[arg(long, default_value_t = 20_000)]
    #[serde(default)]
    pub updates: u64,
    /// What copying minimises (`bc`).
    #[arg(long, value_enum, default_value_t = Loss::Mse)]
    #[serde(default)]
    pub loss: Loss,
    /// Width of the two hidden layers.
    #[arg(long, default_value_t = 128)]
    pub hidden: usize,
    /// Rewards are multiplied by this before the learner sees them (`sac`, `iql`).
    #[arg(long, default_value_t = 10.0)]
    pub reward_scale: f64,
    /// Seed of networks, exploration and episodes.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where to compute features.
    #[arg(long, default_value = "cpu", value_name = "cpu|wgpu")]
    #[serde(skip)]
    pub device: DeviceChoice,
    /// The run's directory.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Go on with the run in --out.
    #[arg(long)]
    #[serde(skip)]
    pub resume: bool,
}

/// How to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learner {
    /// Behaviour cloning.
    Bc,
    /// Implicit Q-learning.
    Iql,
    /// Soft actor-critic.
    Sac,
}

/// What copying minimises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Mean squared error.
    #[default]
    Mse,
    /// Likelihood of a Gaussian.
    Gaussian,
    /// Likelihood of a mixture of five Gaussians.
    Mixture,
}

impl Loss {
    fn of_bc(self) -> BcLoss {
        match self {
            Self::Mse => BcLoss::Mse,
            Self::Gaussian => BcLoss::GaussianNll,
            Self::Mixture => BcLoss::Mixture { components: 5 },
        }
    }
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.resume && !args.out.join("policy.toml").exists() {
        return Err(Usage(format!(
            "{} holds no checkpoint to resume",
            args.out.display()
        ))
        .into());
    }
    if !args.resume && args.out.join("policy.toml").exists() {
        return Err(Usage(format!(
            "{} already holds a policy; give another --out, or --resume",
            args.out.display()
        ))
        .into());
    }
    match args.policy {
        Learner::Bc => bc(args, ui),
        Learner::Iql => offline::iql(args, ui),
        Learner::Sac => sac(args, ui),
    }
}

fn bc(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let dir = args
        .dataset
        .as_deref()
        .ok_or_else(|| Usage("bc copies demonstrations: give them with --dataset".into()))?;
    let dataset = rapport::dataset::Dataset::open(dir)?;
    let mut practice = args.environment.practice((32, 32))?;
    let spec = schema::policy_spec(&mut practice)?;
    let demonstrations = (0..dataset.len())
        .map(|index| {
            let (observations, actions) =
                schema::observations_and_actions(&dataset.episode_columns(index)?)?;
            let zeros = vec![0.0; observations.len()];
            transitions(&observations, &actions, &zeros, 1.0, &spec, dir)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let weights = offline::weights(args, ui)?.unwrap_or_else(|| {
        let ones = demonstrations.iter().map(|d| vec![1.0; d.len()]);
        ones.collect()
    });
    run_dir::create(&args.out, "train", args.seed, args)?;
    let config = BcConfig {
        hidden: vec![args.hidden; 2],
        loss: args.loss.of_bc(),
        ..BcConfig::default()
    };
    let bar = ui.bar(config.epochs, "copying demonstrations");
    let mut log = MetricsLog::open(&args.out)?;
    let mut written = Ok(());
    let (policy, report) = Bc::fit_weighted(
        spec,
        config,
        args.seed,
        &demonstrations,
        &weights,
        |epoch, losses| {
            bar.set_position(epoch);
            written = log.write(&serde_json::json!({ "epoch": epoch, "update": losses }));
            if interrupt::requested() || written.is_err() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    )?;
    written?;
    bar.finish_and_clear();
    policy.save(&args.out)?;
    let summary = serde_json::json!({
        "demonstrations": demonstrations.len(), "epochs": report.epochs, "best_epoch": report.best_epoch, "validation_loss": report.validation_loss,
    });
    ui.result(&summary, || {
        format!(
            "bc: {} demonstrations, {} epochs -> {}",
            demonstrations.len(),
            report.epochs,
            args.out.display()
        )
    })
}

/// Rows as transitions; `rewards[t]` is what action `t` led to.
fn transitions(
    observations: &[Vec<f32>],
    actions: &[Vec<f32>],
    rewards: &[f64],
    scale: f64,
    spec: &PolicySpec,
    dir: &std::path::Path,
) -> anyhow::Result<Vec<Transition>> {
    if observations
        .first()
        .is_some_and(|o| o.len() != spec.observation_dim)
    {
        return Err(Usage(format!(
            "{} was not recorded on this task (its observations have another width)",
            dir.display()
        ))
        .into());
    }
    let last = observations.len().saturating_sub(1);
    Ok((0..last)
        .map(|t| Transition {
            observation: observations[t].clone(),
            action: actions[t].clone(),
            reward: (rewards[t] * scale) as f32,
            next_observation: observations[t + 1].clone(),
            terminated: false,
            truncated: t + 1 == last,
        })
        .collect())
}

fn sac(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let word = args.reward.as_deref().ok_or_else(|| {
        Usage("sac needs a reward: --reward DIR, or --reward true to compare".into())
    })?;
    let learned = if word == "true" {
        None
    } else {
        Some(super::reward::open_reward(word.as_ref(), args.device)?)
    };
    let size = demonstration_size(args)?;
    // A run keeps what it practises in, as it keeps everything else.
    let kept = args.out.join("simulation.toml");
    let mut environment = args.environment.clone();
    if args.resume && environment.simulation.is_none() && kept.exists() {
        environment.simulation = Some(kept.clone());
    }
    let resolved = toml::to_string(&environment.config()?)?;
    let mut practice = environment.practice(size)?;
    let spec = schema::policy_spec(&mut practice)?;
    let mut learner = if args.resume {
        Sac::resume(&args.out)?
    } else {
        run_dir::create(&args.out, "train", args.seed, args)?;
        run_dir::write_atomically(&kept, resolved.as_bytes())?;
        let config = SacConfig {
            hidden: vec![args.hidden; 2],
            critic_norm: HiddenNorm::Layer,
            discount: args.discount,
            batch: 128,
            update_to_data: args.update_to_data,
            initial_random_steps: 500,
            demonstration_share: 0.5,
            ..SacConfig::default()
        };
        let mut learner = Sac::new(spec, config, args.seed)?;
        seed_with_demonstrations(
            args,
            learned.as_ref().map(|(reward, _)| reward),
            &mut learner,
            ui,
        )?;
        learner
    };
    let fps = practice.policy_hz();
    let mut reward = match learned {
        None => RewardSource::Truth,
        Some((reward, encoder)) => {
            RewardSource::Learned(Box::new(Labeller::new(encoder, reward.model, fps)))
        }
    };
    let config = TrainingConfig {
        steps: args.steps,
        reward_scale: args.reward_scale,
        seed: args.seed,
        ..TrainingConfig::default()
    };
    let mut log = MetricsLog::open(&args.out)?;
    let bar = ui.bar(args.steps, &format!("sac on {}", args.environment.env));
    let summary = train(
        &mut practice,
        &mut reward,
        &mut learner,
        &config,
        &args.out,
        &mut log,
        |steps, word| {
            bar.set_position(steps);
            bar.set_message(word.to_owned());
        },
    )?;
    bar.finish_and_clear();
    ui.result(&summary, || {
        let end = if summary.interrupted {
            "; stopped, go on with --resume"
        } else {
            ""
        };
        format!(
            "sac: {} steps, {} updates in {:.0} s -> {}{end}",
            summary.steps,
            summary.updates,
            summary.seconds,
            args.out.display()
        )
    })
}

/// Pictures in practice are as large as the demonstrations', so that both reach the encoder alike.
fn demonstration_size(args: &Args) -> anyhow::Result<(u32, u32)> {
    let Some(dir) = &args.dataset else {
        return Ok((112, 112));
    };
    let dataset = rapport::dataset::Dataset::open(dir)?;
    let frame = dataset.frame(
        0,
        &camera_of(&dataset, args.environment.camera.as_deref())?,
        0,
    )?;
    Ok(frame.dimensions())
}

/// Puts demonstrations, labelled with the same reward as practice, beside the replay buffer.
fn seed_with_demonstrations(
    args: &Args,
    reward: Option<&LoadedReward>,
    learner: &mut dyn rapport::policy::Learner,
    ui: Ui,
) -> anyhow::Result<()> {
    let Some(dir) = &args.dataset else {
        return Ok(());
    };
    let dataset = rapport::dataset::Dataset::open(dir)?;
    let library = match reward {
        Some(reward) => {
            let mut encoder = rapport::perception::open(&reward.encoder.name, args.device)?;
            Some(Library::encode(
                dir,
                args.environment.camera.as_deref(),
                &mut *encoder,
                ui,
            )?)
        }
        None => None,
    };
    for index in 0..dataset.len() {
        let episode = dataset.episode_columns(index)?;
        let (observations, actions) = schema::observations_and_actions(&episode)?;
        // Row t holds what was seen before action t: the reward of action t is that of row t + 1.
        let rewards: Vec<f64> = match (&library, reward) {
            (Some(library), Some(reward)) => {
                let features = &library.features()[index];
                let after = features.select(&(1..features.len()).collect::<Vec<_>>());
                let steps = observations.iter().skip(1).zip(&actions);
                let clip = rapport::reward::Clip {
                    columns: columns(steps.map(|(state, action)| (&state[..], &action[..]))),
                    ..rapport::reward::Clip::from_features(after, f64::from(dataset.info().fps))
                };
                rapport::reward::RewardModel::score(&*reward.model, &clip, &Default::default())?
                    .per_step
            }
            _ => {
                let column = episode.columns.get("next.reward");
                column
                    .with_context(|| format!("{} has no column next.reward", dir.display()))?
                    .values
                    .iter()
                    .map(|&r| f64::from(r))
                    .collect()
            }
        };
        let transitions = transitions(
            &observations,
            &actions,
            &rewards,
            args.reward_scale,
            learner.spec(),
            dir,
        )?;
        learner.observe_demonstration(&transitions)?;
    }
    Ok(())
}
