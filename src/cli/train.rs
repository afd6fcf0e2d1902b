//! `rapport train`: a policy from demonstrations, or from a reward.

mod act;
mod bc;
mod copying;
mod dagger;
mod diffusion;
mod iql;
mod online;
mod sight;
mod sweep;

use std::path::PathBuf;

use anyhow::Context as _;
use rapport::perception::DeviceChoice;
use rapport::policy::{PolicySpec, Transition};
use rapport::reward::LoadedReward;
use serde::{Deserialize, Serialize};

use super::Usage;
use super::environment::EnvironmentArgs;
use crate::clips::Library;
use crate::labelling::columns;
use crate::schema;
use crate::ui::Ui;

/// Train a policy: `bc`, `act` and `diffusion` copy demonstrations, `dagger` copies an expert who watches, `iql` learns from recorded episodes and a reward, `sac`,
/// `td3`, `ppo` and, from pixels alone, `drq` practise in simulation on a reward.
///
/// The run's directory holds the resolved configuration, `metrics.jsonl` and a checkpoint; Ctrl-C saves, `--resume` goes on
/// exactly where it stopped.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// How to learn.
    #[arg(long, value_enum, default_value_t = Learner::Sac)]
    pub policy: Learner,
    /// A reward's directory; `true` for the simulator's own reward (for comparison); or `adversary`: `sac`, `td3` and `ppo` then learn it from
    /// the demonstrations of --dataset while they practise, as SAM and GAIL do. `bc` copies steps the more, the more progress
    /// the reward sees after them.
    #[arg(long, value_name = "DIR|true|adversary")]
    pub reward: Option<String>,
    /// Demonstrations: what `bc`, `act` and `diffusion` copy, what `iql` learns from, what `sac` and `td3` start from, what
    /// an adversary compares with.
    #[arg(long, value_name = "DIR")]
    pub dataset: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub environment: EnvironmentArgs,
    /// Steps in the task (`sac`, `td3`, `ppo`).
    #[arg(long, default_value_t = 15_000)]
    pub steps: u64,
    /// Gradient steps per step in the task (`sac`, `td3`).
    #[arg(long, default_value_t = 1.0)]
    pub update_to_data: f64,
    /// Discount per step (`sac`, `td3`, `ppo`, `iql`).
    #[arg(long, default_value_t = 0.97)]
    pub discount: f64,
    /// Gradient steps on demonstrations: 3000 for `act` and `diffusion`, 20000 for `iql`, unless said otherwise.
    #[arg(long)]
    #[serde(default)]
    pub updates: Option<u64>,
    /// What copying minimises (`bc`).
    #[arg(long, value_enum, default_value_t = bc::Loss::Mse)]
    #[serde(default)]
    pub loss: bc::Loss,
    /// Width of the two hidden layers.
    #[arg(long, default_value_t = 128)]
    pub hidden: usize,
    /// Rewards are multiplied by this before the learner sees them (`sac`, `td3`, `ppo`, `iql`).
    #[arg(long, default_value_t = 10.0)]
    pub reward_scale: f64,
    #[command(flatten)]
    #[serde(flatten)]
    pub online: online::OnlineArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub act: act::ActArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub dagger: dagger::DaggerArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub diffusion: diffusion::DiffusionArgs,
    /// Seed of networks, exploration and episodes.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where to compute features, and the gradient steps of `act` and `diffusion`; small networks are quicker on the processor.
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
    /// Run the same with other settings, each in a folder of OUT: `vary.hidden = [64, 128]` in a TOML file tries both; several such lines
    /// try all combinations; with `samples = 20` so many are drawn, also from ranges (`{ low = 1e-4, high = 1e-2, log = true }`).
    #[arg(long, value_name = "FILE.toml", conflicts_with = "resume")]
    #[serde(skip)]
    pub sweep: Option<PathBuf>,
    /// Runs of a sweep at a time; 0: as many as there are processors.
    #[arg(long, default_value_t = 0, value_name = "N")]
    #[serde(skip)]
    pub jobs: usize,
    /// With --resume, when the reward was learned anew: give everything stored its rewards first (`sac`, `td3`).
    #[arg(long, requires = "resume")]
    #[serde(skip)]
    pub relabel: bool,
}

/// Gradient steps of `act` and `diffusion`, if nobody says how many.
const COPYING_UPDATES: u64 = 3_000;

/// How to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learner {
    /// Action chunking with transformers.
    Act,
    /// Behaviour cloning.
    Bc,
    /// Dataset aggregation with the task's scripted operator as the expert.
    Dagger,
    /// Diffusion policy.
    Diffusion,
    /// DrQ-v2: from pixels, the encoder learned too.
    Drq,
    /// Implicit Q-learning.
    Iql,
    /// Proximal policy optimisation.
    Ppo,
    /// Soft actor-critic.
    Sac,
    /// Twin delayed deep deterministic policy gradient.
    Td3,
}

impl Learner {
    /// Whether a stopped run can be resumed.
    fn goes_on(self) -> bool {
        !matches!(self, Self::Bc | Self::Dagger)
    }
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if let Some(file) = &args.sweep {
        return sweep::run(args, file, ui);
    }
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
        Learner::Act => act::run(args, ui),
        Learner::Bc => bc::run(args, ui),
        Learner::Dagger => dagger::run(args, ui),
        Learner::Diffusion => diffusion::run(args, ui),
        Learner::Iql => iql::run(args, ui),
        Learner::Drq | Learner::Ppo | Learner::Sac | Learner::Td3 => online::run(args, ui),
    }
}

/// What an imitation learner called `name` copies, and what its policy will see and do.
fn demonstrations(args: &Args, name: &str) -> anyhow::Result<(PolicySpec, Vec<Vec<Transition>>)> {
    let dir = args.dataset.as_deref().ok_or_else(|| {
        Usage(format!(
            "{name} copies demonstrations: give them with --dataset"
        ))
    })?;
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
    Ok((spec, demonstrations))
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

/// Demonstrations, labelled with the same reward as practice.
fn labelled_demonstrations(
    args: &Args,
    reward: Option<&LoadedReward>,
    spec: &PolicySpec,
    ui: Ui,
) -> anyhow::Result<Vec<Vec<Transition>>> {
    let Some(dir) = &args.dataset else {
        return Ok(Vec::new());
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
    let labelled = |index: usize| {
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
        transitions(
            &observations,
            &actions,
            &rewards,
            args.reward_scale,
            spec,
            dir,
        )
    };
    (0..dataset.len()).map(labelled).collect()
}
