//! The stages of the demo, in order.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use rapport::perception::DeviceChoice;
use rapport::reward::eval::{Interval, wilson};
use serde::Serialize;

use super::jobs::{self, Job};
use super::panda::{self, PandaClip};
use super::write_up;
use crate::cli::Usage;
use crate::cli::demo::Args;
use crate::cli::deploy::{self, Deployment};
use crate::cli::environment::EnvironmentArgs;
use crate::cli::eval::{self, RewardEvaluation};
use crate::cli::prefer::{self, Annotator};
use crate::cli::reward::{
    Adapt, AlignArgs, EvalArgs, Eyes, Kind, LearnArgs, Profile, evaluate_reward, run_align,
    run_learn,
};
use crate::cli::{record, reward};
use crate::evaluation::SuccessRate;
use crate::station::{CameraName, CameraSource, PICTURE, RobotName};
use crate::ui::Ui;

/// The task of the demo.
pub const TASK: &str = "so101-push";

/// A way to get a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// SAC on the transport reward aligned with answers.
    Aligned,
    /// SAC on the transport reward as the encoder has it.
    Unaligned,
    /// SAC on the simulator's own reward.
    TrueReward,
    /// Behaviour cloning of the demonstrations.
    Cloning,
}

impl Method {
    /// All, in the order of the report.
    pub const ALL: [Self; 4] = [
        Self::Aligned,
        Self::Unaligned,
        Self::TrueReward,
        Self::Cloning,
    ];

    /// As the report calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Aligned => "SAC, aligned reward",
            Self::Unaligned => "SAC, unaligned reward",
            Self::TrueReward => "SAC, true reward",
            Self::Cloning => "behaviour cloning",
        }
    }

    /// Its part of folder names.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Aligned => "aligned",
            Self::Unaligned => "unaligned",
            Self::TrueReward => "true",
            Self::Cloning => "bc",
        }
    }
}

/// How a method fared.
#[derive(Debug, Serialize)]
pub struct MethodResult {
    /// Which.
    pub method: Method,
    /// One evaluation per seed.
    pub seeds: Vec<SuccessRate>,
    /// All episodes of all seeds together, with the Wilson 95 % interval.
    pub pooled: Interval,
}

/// Everything the demo found.
#[derive(Debug, Serialize)]
pub struct Story {
    /// The folder.
    pub out: PathBuf,
    /// The page to open.
    pub report: PathBuf,
    /// Real demonstrations.
    pub panda: Vec<PandaClip>,
    /// Demonstrations recorded.
    pub demonstrations: usize,
    /// Answers given by the oracle.
    pub answers: usize,
    /// Rewards on states where arm and object are independent: unaligned, then aligned.
    pub rewards: Vec<RewardEvaluation>,
    /// Rewards on the demonstrations.
    pub on_demonstrations: Vec<reward::Evaluation>,
    /// The methods.
    pub methods: Vec<MethodResult>,
    /// On the twin.
    pub deployment: Deployment,
    /// Seconds of each stage.
    pub seconds: Vec<(String, f64)>,
}

impl Story {
    /// Runs every stage and writes the report.
    pub fn tell(args: &Args, ui: Ui) -> anyhow::Result<Self> {
        if args.out.exists() {
            return Err(Usage(format!(
                "{} already exists; give another --out, or delete it",
                args.out.display()
            ))
            .into());
        }
        std::fs::create_dir_all(&args.out)
            .with_context(|| format!("cannot make {}", args.out.display()))?;
        let out = |name: &str| args.out.join(name);
        let inner = Ui {
            json: false,
            quiet: ui.quiet,
        };
        let mut watch = Watch::new(ui);

        watch.stage("real demonstrations: steps and rewards");
        let panda = panda::look(&out("panda"), ui)?;

        watch.stage("recording demonstrations");
        record_episodes(
            &out("demos"),
            "script:push",
            args.demonstrations,
            None,
            inner,
        )?;
        watch.stage("recording clips to choose between");
        record_episodes(&out("play"), "script:play", args.clips, Some(4), inner)?;

        watch.stage("answers (by the oracle, in place of a person)");
        prefer::run(
            &prefer::Args {
                demonstrations: Some(out("demos")),
                answers: args.answers,
                annotator: Annotator::Oracle,
                user: "demo".into(),
                ..prefer::Args::new(out("play"), out("answers.jsonl"))
            },
            inner,
        )?;

        watch.stage("learning rewards");
        // The transport reward is what SAC practises on. The goal reward in the same two embeddings says what a single state is worth:
        // transport needs a whole episode.
        for kind in [Kind::Transport, Kind::Goal] {
            let learn = learn_args(kind, &out("demos"), &out(&reward_folder(kind, "unaligned")));
            run_learn(&learn, inner)?;
            run_align(
                &align_args(
                    &learn,
                    &out("play"),
                    &out("answers.jsonl"),
                    &out(&reward_folder(kind, "aligned")),
                ),
                inner,
            )?;
        }
        let state_rewards =
            ["unaligned", "aligned"].map(|name| out(&reward_folder(Kind::Goal, name)));
        let rewards = eval::evaluate(
            &eval::Args {
                policy: None,
                environment: EnvironmentArgs::named(TASK),
                episodes: args.episodes,
                rewards: state_rewards.to_vec(),
                states: 400,
                videos: 0,
                out: None,
                device: DeviceChoice::Cpu,
                seed: 0,
            },
            inner,
        )?
        .rewards;
        let on_demonstrations = state_rewards
            .iter()
            .map(|reward| {
                let (reward, dataset) = (reward.clone(), out("demos"));
                evaluate_reward(&EvalArgs::new(reward, dataset), inner)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;

        watch.stage("training");
        let jobs = training_jobs(args);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        jobs::run(&jobs, args.jobs.unwrap_or(cores), ui)?;

        watch.stage("evaluating");
        let methods = Method::ALL
            .iter()
            .map(|&method| evaluate_method(args, method, inner))
            .collect::<anyhow::Result<Vec<_>>>()?;

        watch.stage("deploying to the twin through the servo driver");
        let deployment = deploy::deploy(
            &deploy::Args {
                inference: Default::default(),
                policy: run_of(args, Method::Aligned, 0),
                robot: RobotName::Twin,
                seconds: args.deploy_seconds,
                control_hz: 50,
                policy_hz: 10,
                shadow: false,
                reward: Some(out(&reward_folder(Kind::Transport, "aligned"))),
                cameras: vec![CameraName {
                    name: "front".into(),
                    source: CameraSource::Sim(PICTURE.0, PICTURE.1),
                }],
                calibration: None,
                out: Some(out("demo.rrd")),
                seed: 7_000,
            },
            inner,
        )?;

        watch.stage("writing the report");
        let mut story = Self {
            report: out("report.html"),
            out: args.out.clone(),
            panda,
            demonstrations: args.demonstrations,
            answers: args.answers,
            rewards,
            on_demonstrations,
            methods,
            deployment,
            seconds: Vec::new(),
        };
        write_up::film(&story)?;
        story.seconds = watch.finish();
        write_up::write(&story, args)?;
        Ok(story)
    }

    /// The last lines of the demo.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for method in &self.methods {
            let p = &method.pooled;
            text += &format!(
                "{:<24}{:>4.0} % success  (95 % interval {:.0} .. {:.0}; seeds {})\n",
                method.method.title(),
                100.0 * p.value,
                100.0 * p.low,
                100.0 * p.high,
                method
                    .seeds
                    .iter()
                    .map(|s| format!("{}/{}", s.successes, s.episodes))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        }
        for r in &self.rewards {
            text += &format!(
                "{:<24}Spearman with the truth {:.2} (arm and cube independent)\n",
                folder(&r.reward),
                r.independent.spearman
            );
        }
        let d = &self.deployment;
        text += &format!(
            "twin: {}/{} episodes, {} ticks at 50 Hz, p99 {:.1} ms late, {} missed by over 10 ms, torque off and read back\n",
            d.successes,
            d.episodes,
            d.ticks,
            d.lateness_p99_us / 1e3,
            d.missed_deadlines
        );
        let total: f64 = self.seconds.iter().map(|(_, s)| s).sum();
        text + &format!(
            "{:.1} min in all; open {}",
            total / 60.0,
            self.report.display()
        )
    }
}

/// Last part of a path.
pub fn folder(path: &Path) -> String {
    path.file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Where a training of the demo is.
pub fn run_of(args: &Args, method: Method, seed: u64) -> PathBuf {
    args.out.join(format!("{}-{seed}", method.folder()))
}

fn record_episodes(
    dataset: &Path,
    teleop: &str,
    episodes: usize,
    length: Option<usize>,
    ui: Ui,
) -> anyhow::Result<()> {
    record::run(
        &record::Args {
            robot: RobotName::Sim,
            teleop: teleop.into(),
            task: TASK.into(),
            episodes,
            dataset: dataset.to_owned(),
            cameras: vec![CameraName {
                name: "front".into(),
                source: CameraSource::Sim(PICTURE.0, PICTURE.1),
            }],
            fps: 10,
            control_hz: 50,
            length,
            codec: "h264".into(),
            calibration: None,
            leader_calibration: None,
            seed: 0,
        },
        ui,
    )
}

/// `reward-transport-aligned` and so on.
fn reward_folder(kind: Kind, name: &str) -> String {
    let kind = if kind == Kind::Goal {
        "goal"
    } else {
        "transport"
    };
    format!("reward-{kind}-{name}")
}

fn learn_args(kind: Kind, demos: &Path, out: &Path) -> LearnArgs {
    LearnArgs {
        dataset: Some(demos.to_owned()),
        kind,
        eyes: Eyes {
            encoder: "efficientnet-lite0:block10@112".into(),
            device: DeviceChoice::Cpu,
            camera: None,
        },
        exemplars: 5,
        epsilon: 0.02,
        steps: 3,
        training: Default::default(),
        sentences: reward::Sentences::default(),
        out: out.to_owned(),
        seed: 0,
    }
}

fn align_args(learn: &LearnArgs, clips: &Path, answers: &Path, out: &Path) -> AlignArgs {
    AlignArgs {
        dataset: learn.dataset.clone().unwrap_or_default(),
        clips: Some(clips.to_owned()),
        answers: answers.to_owned(),
        limit: None,
        kind: learn.kind,
        eyes: learn.eyes.clone(),
        adapt: Adapt::Head,
        adapt_blocks: 2,
        rank: 8,
        adapt_epochs: 5,
        profile: Profile::Ours,
        exemplars: learn.exemplars,
        epsilon: learn.epsilon,
        components: 100,
        whiten: 0.0,
        epochs: 60,
        out: out.to_owned(),
        seed: 0,
    }
}

fn training_jobs(args: &Args) -> Vec<Job> {
    let path = |name: &str| args.out.join(name).display().to_string();
    let mut jobs = Vec::new();
    for seed in 0..args.seeds {
        for method in Method::ALL {
            let reward = match method {
                Method::Aligned => Some(path(&reward_folder(Kind::Transport, "aligned"))),
                Method::Unaligned => Some(path(&reward_folder(Kind::Transport, "unaligned"))),
                Method::TrueReward => Some("true".into()),
                Method::Cloning => None,
            };
            let mut words = vec![
                "--dataset".into(),
                path("demos"),
                "--env".into(),
                TASK.into(),
                "--seed".into(),
                seed.to_string(),
            ];
            let steps = match reward {
                Some(reward) => {
                    words.extend([
                        "--policy".into(),
                        "sac".into(),
                        "--reward".into(),
                        reward,
                        "--steps".into(),
                        args.steps.to_string(),
                    ]);
                    args.steps
                }
                None => {
                    words.extend(["--policy".into(), "bc".into()]);
                    1
                }
            };
            jobs.push(Job {
                name: format!("{} {seed}", method.folder()),
                words,
                out: run_of(args, method, seed),
                steps,
            });
        }
    }
    jobs
}

fn evaluate_method(args: &Args, method: Method, ui: Ui) -> anyhow::Result<MethodResult> {
    let mut seeds = Vec::new();
    for seed in 0..args.seeds {
        let evaluation = eval::evaluate(
            &eval::Args {
                policy: Some(run_of(args, method, seed)),
                environment: EnvironmentArgs::named(TASK),
                episodes: args.episodes,
                rewards: Vec::new(),
                states: 0,
                videos: if seed == 0 { 3 } else { 0 },
                out: Some(args.out.join("videos").join(method.folder())),
                device: DeviceChoice::Cpu,
                seed: 1_000 + seed,
            },
            ui,
        )?;
        seeds.extend(evaluation.policy);
    }
    let (wins, episodes) = seeds
        .iter()
        .fold((0, 0), |(w, e), s| (w + s.successes, e + s.episodes));
    let pooled =
        wilson(wins, episodes).context("the demo needs at least one seed and one episode")?;
    Ok(MethodResult {
        method,
        seeds,
        pooled,
    })
}

/// Says which stage runs and remembers how long each took.
struct Watch {
    ui: Ui,
    stages: Vec<(String, f64)>,
    current: Option<(String, Instant)>,
}

impl Watch {
    fn new(ui: Ui) -> Self {
        Self {
            ui,
            stages: Vec::new(),
            current: None,
        }
    }

    fn stage(&mut self, name: &str) {
        self.end();
        self.ui.say(format!("\n[{}] {name}", self.stages.len() + 1));
        self.current = Some((name.to_owned(), Instant::now()));
    }

    fn end(&mut self) {
        if let Some((name, begin)) = self.current.take() {
            self.stages.push((name, begin.elapsed().as_secs_f64()));
        }
    }

    fn finish(mut self) -> Vec<(String, f64)> {
        self.end();
        self.stages
    }
}
