//! `--policy sac`, `td3`, `ppo` and `drq`: practice in simulation on a reward.

use rapport::policy::{Manifest, PolicySpec, Transition};
use serde::{Deserialize, Serialize};

use super::{Args, Learner, demonstrations, labelled_demonstrations, sight};
use crate::cli::Usage;
use crate::cli::environment::EnvironmentArgs;
use crate::clips::camera_of;
use crate::labelling::Labeller;
use crate::pictures::{Eye, PictureSpec, SeenPractice};
use crate::run_dir::{self, MetricsLog};
use crate::schema;
use crate::training::{
    AdversarialConfig, AdversarialReward, Bench, EvaluationConfig, Players, RewardSource,
    TrainingConfig, relabel, train,
};
use crate::ui::Ui;

mod learners;

/// Settings of what practises.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct OnlineArgs {
    /// Transitions per update (`sac`, `td3`, `ppo`).
    #[arg(long, default_value_t = 128)]
    pub batch: usize,
    /// Random steps before the first update (`sac`, `td3`).
    #[arg(long, default_value_t = 500)]
    pub random_steps: u64,
    /// Steps that the critics' targets look ahead: 1 for `sac` and `td3`, 3 for `drq`, unless said otherwise.
    #[arg(long)]
    pub n_step: Option<usize>,
    /// Normalisation in the critics: `layer` is steadier with demonstrations and many updates, `none` is as in the papers (`sac`, `td3`).
    #[arg(long, value_enum, default_value_t = Norm::Layer)]
    pub critic_norm: Norm,
    /// Step size of the optimisers (`sac`, `td3`, `ppo`).
    #[arg(long, default_value_t = 3e-4)]
    pub learning_rate: f64,
    /// Learn more often from what surprised the critics (`sac`, `td3`).
    #[arg(long)]
    #[serde(default)]
    pub prioritised: bool,
    /// Weight of the entropy at the start (`sac`), which then learns it.
    #[arg(long, default_value_t = 0.2)]
    #[serde(default = "usual_temperature")]
    pub temperature: f64,
    /// How much the actor copies the demonstrations besides (`sac`): a weight of the copying loss, or `learned`, which starts high and follows
    /// what the demonstrations turn out to be worth.
    #[arg(long, value_name = "WEIGHT|learned")]
    #[serde(default)]
    pub imitation: Option<String>,
    /// How observations are scaled: `running` by mean and deviation of what was seen so far, or `none` (`sac`, `td3`, `ppo`).
    #[arg(long, value_enum, default_value_t = Scaling::Running)]
    #[serde(default)]
    pub scaling: Scaling,
    /// Steps that are collected before they are learned from (`ppo`).
    #[arg(long, default_value_t = 2048)]
    #[serde(default = "usual_horizon")]
    pub horizon: usize,
    /// Threads that play episodes while the learner learns (`sac`, `td3`, `ppo`); 0: it plays itself, and where the reward is known at once
    /// learns after each step. The result depends on their number, not on their speed.
    #[arg(long, default_value_t = 0)]
    pub workers: usize,
    /// Steps between evaluations with the actor's best actions, 0: none; the best policy so far is kept in OUT/best (`sac`, `td3`, `ppo`).
    #[arg(long, default_value_t = 0, value_name = "STEPS")]
    pub eval_every: u64,
    /// Episodes of an evaluation (`sac`, `td3`, `ppo`).
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub eval_episodes: usize,
    /// Stop once this share of the episodes succeeds, by the task's own test, in two evaluations on end (`sac`, `td3`, `ppo`).
    #[arg(long, value_name = "SHARE")]
    pub stop_at_success: Option<f64>,
    /// Stop once the mean true return is this high in two evaluations on end (`sac`, `td3`, `ppo`).
    #[arg(long, value_name = "RETURN", allow_negative_numbers = true)]
    pub stop_at_return: Option<f64>,
}

/// Normalisation in the critics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// None.
    None,
    /// Layer normalisation.
    Layer,
}

/// How observations are scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// By mean and standard deviation of everything seen so far.
    #[default]
    Running,
    /// Not at all.
    None,
}

fn usual_temperature() -> f64 {
    rapport::policy::SacConfig::default().initial_temperature
}

fn usual_horizon() -> usize {
    rapport::policy::PpoConfig::default().horizon
}

/// The reward that is learned meanwhile.
const ADVERSARY: &str = "adversary";

/// Practises.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let name = match args.policy {
        Learner::Ppo => "ppo",
        Learner::Td3 => "td3",
        Learner::Drq => "drq",
        _ => "sac",
    };
    let word = args.reward.as_deref().ok_or_else(|| {
        Usage(format!(
            "{name} needs a reward: --reward DIR, --reward adversary to learn one from demonstrations meanwhile, or --reward true to compare"
        ))
    })?;
    let options = &args.online;
    let stops = options.stop_at_success.is_some() || options.stop_at_return.is_some();
    if stops && options.eval_every == 0 {
        return Err(
            Usage("--stop-at-success and --stop-at-return need --eval-every".into()).into(),
        );
    }
    if word == ADVERSARY && options.workers > 0 {
        return Err(Usage(
            "--reward adversary learns beside the policy in one place: it does not go with --workers".into(),
        )
        .into());
    }
    let encoder = sight::encoder(args);
    if encoder.is_some() && (options.workers > 0 || args.relabel || word == ADVERSARY) {
        return Err(Usage(
            "policies that see play themselves on a reward that stays: they go with none of --workers, --relabel and --reward adversary".into(),
        )
        .into());
    }
    let size = demonstration_size(args)?;
    // A run keeps what it practises in, as it keeps everything else.
    let kept = args.out.join("simulation.toml");
    let mut environment = args.environment.clone();
    if args.resume {
        environment = environment.of_policy(&Manifest::read(&args.out)?.spec);
    }
    if args.resume && environment.simulation.is_none() && kept.exists() {
        environment.simulation = Some(kept.clone());
    }
    let resolved = toml::to_string(&environment.config()?)?;
    let mut home = bench(args, word, &environment, size)?;
    let mut learner: Box<dyn rapport::policy::Learner> = if args.resume {
        let mut learner = learners::resume(args.policy, &args.out)?;
        home.reward.resume(&mut *learner, &args.out)?;
        learner
    } else {
        let mut spec = schema::policy_spec(&mut home.practice)?;
        if let Some(encoder) = encoder {
            spec = sight::seeing(args, encoder, &spec, &mut home.practice, size)?;
        }
        let mut learner = learners::fresh(args, spec)?;
        run_dir::create(&args.out, "train", args.seed, args)?;
        run_dir::write_atomically(&kept, resolved.as_bytes())?;
        for episode in seeds(args, word, learner.spec(), ui)? {
            learner.observe_demonstration(&episode)?;
        }
        learner
    };
    let config = TrainingConfig {
        steps: args.steps,
        reward_scale: args.reward_scale,
        seed: args.seed,
        evaluation: EvaluationConfig {
            every: options.eval_every,
            episodes: options.eval_episodes,
            stop_at_success: options.stop_at_success,
            stop_at_return: options.stop_at_return,
        },
        ..TrainingConfig::default()
    };
    if args.relabel {
        give_new_rewards(args, word, &mut home, &mut *learner, &config, ui)?;
    }
    let mut log = MetricsLog::open(&args.out)?;
    let bar = ui.bar(args.steps, &format!("{name} on {}", environment.env()));
    let mut seen;
    let players = if let Some(eye) = Eye::of(learner.spec(), args.device)? {
        let practice = &mut home.practice;
        seen = SeenPractice { practice, eye };
        Players::Own {
            practice: &mut seen,
            reward: &mut home.reward,
        }
    } else if options.workers == 0 {
        Players::Own {
            practice: &mut home.practice,
            reward: &mut home.reward,
        }
    } else {
        let workers = (0..options.workers).map(|_| bench(args, word, &environment, size));
        let benches = std::iter::once(Ok(home)).chain(workers);
        Players::Workers(benches.collect::<anyhow::Result<_>>()?)
    };
    let summary = train(
        players,
        &mut *learner,
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
        let end = match (summary.interrupted, summary.good_enough) {
            (true, _) => "; stopped, go on with --resume",
            (_, true) => "; good enough, stopped early",
            _ => "",
        };
        let measured = summary.evaluation.as_ref().map_or(String::new(), |e| {
            format!(
                ", success {:.0} %, return {:.1} at the last evaluation",
                100.0 * e.success_rate,
                e.true_return
            )
        });
        format!(
            "{name}: {} steps, {} updates in {:.0} s{measured} -> {}{end}",
            summary.steps,
            summary.updates,
            summary.seconds,
            args.out.display()
        )
    })
}

/// Demonstrations to start from, with their rewards. What an adversary will pay for one is not known yet.
fn seeds(
    args: &Args,
    word: &str,
    spec: &PolicySpec,
    ui: Ui,
) -> anyhow::Result<Vec<Vec<Transition>>> {
    let learned = match word {
        ADVERSARY => return Ok(Vec::new()),
        "true" => None,
        dir => Some(crate::cli::reward::open_reward(dir.as_ref(), args.device)?.0),
    };
    let Some(pictures) = PictureSpec::of(spec)? else {
        return labelled_demonstrations(args, learned.as_ref(), spec, ui);
    };
    if args.dataset.is_none() {
        return Ok(Vec::new());
    }
    let blind = schema::policy_spec(&mut args.environment.practice((32, 32))?)?;
    let mut seeds = labelled_demonstrations(args, learned.as_ref(), &blind, ui)?;
    let (encoder, reading) = (&pictures.encoder, pictures.reading);
    sight::see(args, encoder, reading, &blind, &mut seeds, ui)?;
    Ok(seeds)
}

/// Gives what a resumed learner has stored the rewards as they are now.
fn give_new_rewards(
    args: &Args,
    word: &str,
    home: &mut Bench,
    learner: &mut dyn rapport::policy::Learner,
    config: &TrainingConfig,
    ui: Ui,
) -> anyhow::Result<()> {
    let bar = ui.bar(learner.episodes(), "relabelling");
    let episodes = relabel(
        &mut home.practice,
        &mut home.reward,
        learner,
        config,
        || {
            bar.inc(1);
        },
    )?;
    bar.finish_and_clear();
    let seeds = seeds(args, word, &learner.spec().clone(), ui)?;
    for demonstrations in learner.replays().into_iter().skip(1) {
        demonstrations.relabel(|stored| {
            let labelled = seeds.get(usize::try_from(stored.id()).ok()?)?;
            Some(labelled.iter().map(|step| step.reward).collect())
        })?;
    }
    learner.save(&args.out)?;
    ui.say(format!(
        "{episodes} episodes have the rewards of {word} now"
    ));
    Ok(())
}

/// A place to practise, and what rewards there.
fn bench(
    args: &Args,
    word: &str,
    environment: &EnvironmentArgs,
    size: (u32, u32),
) -> anyhow::Result<Bench> {
    let practice = environment.practice(size)?;
    let reward = match word {
        "true" => RewardSource::Truth,
        ADVERSARY => {
            let (spec, demonstrations) = demonstrations(args, "--reward adversary")?;
            let config = AdversarialConfig {
                scale: args.reward_scale,
                ..AdversarialConfig::default()
            };
            let reward = AdversarialReward::new(&demonstrations, &spec, &config, args.seed)?;
            RewardSource::Adversarial(Box::new(reward))
        }
        dir => {
            let (reward, encoder) = crate::cli::reward::open_reward(dir.as_ref(), args.device)?;
            let labeller = Labeller::new(encoder, reward.model, practice.policy_hz());
            RewardSource::Learned(Box::new(labeller))
        }
    };
    Ok(Bench { practice, reward })
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
