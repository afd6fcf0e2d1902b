//! [`AdversarialReward`]: a reward that is learned while the policy practises, from demonstrations and from what the policy does
//! (SAM, arXiv 2006.16785; GAIL before it).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rapport::policy::{Learner, Metrics, PolicySpec, Transition};
use rapport::reward::adversary::UpdateReport;
use rapport::reward::{
    Adversary, AdversaryConfig, Clip, EncoderSpec, Features, FrozenAdversary, Relabel, RewardError,
    Steps,
};
use serde::{Deserialize, Serialize};

use crate::run_dir::write_atomically;
use crate::schema::ACTION;

/// How such a reward is learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdversarialConfig {
    /// The discriminator.
    pub adversary: AdversaryConfig,
    /// Its gradient steps per step in the task.
    pub updates_per_step: f64,
    /// Its pay is multiplied by this before the learner sees it.
    pub scale: f64,
}

impl Default for AdversarialConfig {
    fn default() -> Self {
        Self {
            adversary: AdversaryConfig::default(),
            updates_per_step: 0.5,
            scale: 1.0,
        }
    }
}

/// A discriminator of observations and actions, learned after each episode.
pub struct AdversarialReward {
    adversary: Adversary,
    updates_per_step: f64,
    scale: f64,
    owed: f64,
    last: UpdateReport,
}

/// The newest discriminator, for batches.
struct Scaled(Arc<FrozenAdversary>, f64);

impl Relabel for Scaled {
    fn relabel(&self, steps: &Steps) -> Result<Vec<f64>, RewardError> {
        let rewards = self.0.relabel(steps)?;
        Ok(rewards.into_iter().map(|r| r * self.1).collect())
    }
}

impl AdversarialReward {
    /// For demonstrations of the task. Fails without any.
    pub fn new(
        demonstrations: &[Vec<Transition>],
        spec: &PolicySpec,
        config: &AdversarialConfig,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let encoder = EncoderSpec {
            name: "observation".into(),
            dim: spec.observation_dim,
            fingerprint: "observation".into(),
        };
        let clips: Vec<Clip> = demonstrations
            .iter()
            .map(|episode| {
                let observations = episode.iter().flat_map(|t| t.observation.iter().copied());
                let actions = episode.iter().flat_map(|t| t.action.iter().copied());
                let observations = Features::new(spec.observation_dim, observations.collect());
                let actions = Features::new(spec.action_dim, actions.collect());
                let mut clip = Clip::from_features(observations, 1.0);
                clip.columns.insert(ACTION.into(), actions);
                clip
            })
            .collect();
        let settings = AdversaryConfig {
            columns: vec![ACTION.into()],
            ..config.adversary.clone()
        };
        let adversary = Adversary::new(&encoder, &clips, &settings, seed)?;
        Ok(Self {
            adversary,
            updates_per_step: config.updates_per_step,
            scale: config.scale,
            owed: 0.0,
            last: UpdateReport::default(),
        })
    }

    /// The newest discriminator rewards the learner's batches.
    fn pay(&self, learner: &mut dyn Learner) -> anyhow::Result<()> {
        let newest = Scaled(self.adversary.newest(), self.scale);
        Ok(learner.set_rewarder(Arc::new(newest))?)
    }

    /// Keeps what it has learned in the run's directory, beside the checkpoint of this step that is about to be written.
    pub fn save(&self, dir: &Path, step: u64) -> anyhow::Result<()> {
        let notes = HashMap::from([(OWED.to_owned(), self.owed.to_bits().to_string())]);
        let bytes = self.adversary.to_bytes(notes)?;
        write_atomically(&file(dir, step), &bytes)
    }

    /// Forgets all but the checkpoint of this step, which is complete now.
    pub fn forget_others(dir: &Path, step: u64) -> anyhow::Result<()> {
        let kept = file(dir, step);
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with(PREFIX) && path != kept {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Goes on where the learner's checkpoint of this step was written, to the same bits, and rewards it from now on.
    pub fn resume(
        &mut self,
        dir: &Path,
        step: u64,
        learner: &mut dyn Learner,
    ) -> anyhow::Result<()> {
        let path = file(dir, step);
        let bytes = std::fs::read(&path).with_context(|| {
            format!(
                "{} goes with the checkpoint and cannot be read; train anew",
                path.display()
            )
        })?;
        let notes = self.adversary.restore(&bytes)?;
        let owed = notes.get(OWED).and_then(|bits| bits.parse().ok());
        self.owed = f64::from_bits(owed.context("the adversary's file says not what is owed")?);
        self.pay(learner)
    }

    /// Rewards of an episode as the discriminator is now, `[time]`.
    pub fn label(&self, transitions: &[Transition]) -> anyhow::Result<Vec<f64>> {
        Ok(self.adversary.relabel(&steps(transitions))?)
    }

    /// Learns from an episode, and from now on rewards the learner's batches as it then is.
    pub fn learn(
        &mut self,
        transitions: &[Transition],
        learner: &mut dyn Learner,
    ) -> anyhow::Result<Metrics> {
        self.adversary.observe(&steps(transitions))?;
        self.owed += self.updates_per_step * transitions.len() as f64;
        let due = self.owed as usize;
        if due > 0 {
            self.owed -= due as f64;
            self.last = self.adversary.update(due)?;
        }
        self.pay(learner)?;
        let report = [
            ("adversary_loss", self.last.loss),
            ("adversary_demonstrations", self.last.demonstrations),
            ("adversary_rollouts", self.last.rollouts),
            ("adversary_gradient", self.last.gradient),
        ];
        Ok(report.map(|(name, value)| (name.into(), value)).into())
    }
}

const PREFIX: &str = "adversary-";
const OWED: &str = "owed";

fn file(dir: &Path, step: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{step}.safetensors"))
}

/// Observations with the actions taken there behind them.
fn steps(transitions: &[Transition]) -> Steps {
    let width = transitions
        .first()
        .map_or(0, |t| t.observation.len() + t.action.len());
    let rows = transitions
        .iter()
        .flat_map(|t| t.observation.iter().chain(&t.action).copied());
    Steps {
        inputs: Features::new(width, rows.collect()),
        absorbing: Vec::new(),
    }
}
