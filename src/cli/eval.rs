//! `rapport eval`: success rate of a policy, and how far rewards follow the truth.

use std::path::PathBuf;

use rapport::dataset::{VideoCodec, video};
use rapport::perception::DeviceChoice;
use rapport::policy::{Manifest, load_policy};
use serde::Serialize;

use super::Usage;
use super::environment::EnvironmentArgs;
use crate::evaluation::{
    StateCorrelation, SuccessRate, independent_states, state_correlation, success_rate,
};
use crate::labelling::Labeller;
use crate::pictures::{Eye, SeenPractice};
use crate::practice::Practice;
use crate::station::PICTURE;
use crate::ui::Ui;

/// Measure a policy by the task's own success test, with a 95 % interval; measure rewards on states where arm and object are independent.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A policy's directory.
    #[arg(long, value_name = "DIR")]
    pub policy: Option<PathBuf>,
    #[command(flatten)]
    pub environment: EnvironmentArgs,
    /// Episodes, none of which training has seen.
    #[arg(long, default_value_t = 50)]
    pub episodes: usize,
    /// A reward's directory: its rank correlation with the truth on random states; may be given several times.
    #[arg(long = "reward", value_name = "DIR")]
    pub rewards: Vec<PathBuf>,
    /// Random states for --reward.
    #[arg(long, default_value_t = 400)]
    pub states: usize,
    /// Films of the first so many episodes.
    #[arg(long, default_value_t = 0)]
    pub videos: usize,
    /// Folder for the films.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where to compute features.
    #[arg(long, default_value = "cpu", value_name = "cpu|wgpu")]
    pub device: DeviceChoice,
    /// Seed of the episodes and states.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// The task.
    pub env: String,
    /// The policy, if one was given.
    pub policy: Option<SuccessRate>,
    /// Each reward given.
    pub rewards: Vec<RewardEvaluation>,
}

/// One reward.
#[derive(Debug, Serialize)]
pub struct RewardEvaluation {
    /// Its directory.
    pub reward: PathBuf,
    /// Its kind.
    pub kind: String,
    /// On states where arm and object are independent.
    #[serde(flatten)]
    pub independent: StateCorrelation,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let evaluation = evaluate(args, ui)?;
    ui.result(&evaluation, || {
        let mut text = String::new();
        if let Some(p) = &evaluation.policy {
            text += &format!(
                "{}: {} of {} episodes succeed, {:.0} % (95 % interval {:.0} .. {:.0}), true return {:.2}\n",
                evaluation.env,
                p.successes,
                p.episodes,
                100.0 * p.rate.value,
                100.0 * p.rate.low,
                100.0 * p.rate.high,
                p.true_return
            );
        }
        for r in &evaluation.rewards {
            text += &format!(
                "{} ({}): Spearman with the truth {:.3} on {} states with arm and object independent\n",
                r.reward.display(),
                r.kind,
                r.independent.spearman,
                r.independent.states
            );
        }
        text
    })
}

/// Measures.
pub fn evaluate(args: &Args, ui: Ui) -> anyhow::Result<Evaluation> {
    if args.policy.is_none() && args.rewards.is_empty() {
        return Err(Usage("give --policy DIR, --reward DIR, or both".into()).into());
    }
    let mut environment = args.environment.clone();
    let policy = match &args.policy {
        None => None,
        Some(dir) => {
            if !dir.exists() {
                return Err(Usage(format!(
                    "{} does not exist; give the directory of a policy (`rapport train`)",
                    dir.display()
                ))
                .into());
            }
            let mut policy = load_policy(dir)?;
            let spec = Manifest::read(dir)?.spec;
            environment = environment.of_policy(&spec);
            let eye = Eye::of(&spec, args.device)?;
            let size = match &eye {
                Some(eye) => eye.spec().size,
                None if args.videos > 0 => (480, 480),
                None => PICTURE,
            };
            let mut practice = environment.practice(size)?;
            let fps = practice.policy_hz();
            let bar = ui.bar(args.episodes as u64, "evaluating");
            let film = |episode: usize, frames: Vec<image::RgbImage>, success: bool| {
                let folder = args.out.clone().unwrap_or_else(|| dir.join("videos"));
                std::fs::create_dir_all(&folder)?;
                let name = format!(
                    "episode-{episode:03}-{}.mp4",
                    if success { "success" } else { "failure" }
                );
                Ok(video::write(
                    folder.join(name),
                    &frames,
                    fps.round() as u32,
                    VideoCodec::H264,
                )?)
            };
            let mut seen;
            let practice: &mut dyn Practice = match eye {
                Some(eye) => {
                    seen = SeenPractice {
                        practice: &mut practice,
                        eye,
                    };
                    &mut seen
                }
                None => &mut practice,
            };
            let rate = success_rate(
                &mut *policy,
                practice,
                args.episodes,
                args.seed,
                film,
                args.videos,
                || bar.inc(1),
            )?;
            bar.finish_and_clear();
            Some(rate)
        }
    };
    let mut rewards = Vec::new();
    if !args.rewards.is_empty() {
        let mut practice = environment.practice(PICTURE)?;
        let (frames, truth) = independent_states(&mut practice, args.states, args.seed)?;
        for dir in &args.rewards {
            let (reward, encoder) = super::reward::open_reward(dir, args.device)?;
            let kind = reward.kind.clone();
            let mut labeller = Labeller::new(encoder, reward.model, 1.0);
            rewards.push(RewardEvaluation {
                reward: dir.clone(),
                kind,
                independent: state_correlation(&mut labeller, &frames, &truth)?,
            });
        }
    }
    Ok(Evaluation {
        env: environment.env().to_owned(),
        policy,
        rewards,
    })
}
