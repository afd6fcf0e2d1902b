//! Measuring: does a policy do the task, and does a reward mean the task?

use image::RgbImage;
use rapport::policy::{Mode, Policy};
use rapport::reward::eval::{Interval, spearman, wilson};
use serde::Serialize;

use crate::labelling::Labeller;
use crate::practice::{Practice, SimPractice};

/// How often a policy succeeds.
#[derive(Clone, Debug, Serialize)]
pub struct SuccessRate {
    /// Episodes that ended in success by the task's own test.
    pub successes: usize,
    /// Episodes tried.
    pub episodes: usize,
    /// Share, with its Wilson 95 % interval.
    pub rate: Interval,
    /// Mean ground-truth return.
    pub true_return: f64,
}

/// Runs a policy without exploration on `episodes` episodes that no training run has seen.
pub fn success_rate(
    policy: &mut dyn Policy,
    practice: &mut dyn Practice,
    episodes: usize,
    seed: u64,
    mut film: impl FnMut(usize, Vec<RgbImage>, bool) -> anyhow::Result<()>,
    films: usize,
    mut progress: impl FnMut(),
) -> anyhow::Result<SuccessRate> {
    let (mut successes, mut total) = (0, 0.0);
    for episode in 0..episodes {
        let mut observation = practice.reset(evaluation_seed(seed, episode))?;
        policy.reset();
        let mut frames = Vec::new();
        let mut success = false;
        loop {
            if episode < films {
                frames.push(practice.picture()?);
            }
            let outcome = practice.step(&policy.act(&observation, Mode::Exploit)?)?;
            observation = outcome.observation;
            if let Some(truth) = outcome.truth {
                total += truth.reward;
                success = truth.success;
            }
            if outcome.terminated || outcome.truncated {
                break;
            }
        }
        successes += usize::from(success);
        if episode < films {
            film(episode, frames, success)?;
        }
        progress();
    }
    let rate = wilson(successes, episodes)
        .ok_or_else(|| anyhow::anyhow!("an evaluation needs at least one episode"))?;
    Ok(SuccessRate {
        successes,
        episodes,
        rate,
        true_return: total / episodes as f64,
    })
}

/// Far away from the seeds of training episodes.
pub fn evaluation_seed(seed: u64, episode: usize) -> u64 {
    (1 << 40) + seed * 100_003 + episode as u64
}

/// How well a reward follows the truth on states where arm and object are independent.
#[derive(Clone, Debug, Serialize)]
pub struct StateCorrelation {
    /// Random states.
    pub states: usize,
    /// Spearman's rank correlation of the reward of the state, as a clip of one frame, with the task's true progress.
    pub spearman: f64,
}

/// Random states with arm and object placed independently: their pictures and true progress (m from done, negative).
pub fn independent_states(
    practice: &mut SimPractice,
    states: usize,
    seed: u64,
) -> anyhow::Result<(Vec<RgbImage>, Vec<f64>)> {
    let (mut frames, mut truth) = (Vec::new(), Vec::new());
    for state in 0..states {
        practice
            .arm()?
            .reset_independently(evaluation_seed(seed, state) ^ (1 << 50))?;
        frames.push(practice.picture()?);
        let env = practice.arm()?;
        truth.push(env.task().progress(&env.reading()?));
    }
    Ok((frames, truth))
}

/// Correlates a reward with the truth over the given states.
pub fn state_correlation(
    labeller: &mut Labeller,
    frames: &[RgbImage],
    truth: &[f64],
) -> anyhow::Result<StateCorrelation> {
    let features = labeller.encode(frames)?;
    let rewards = (0..features.len())
        .map(|t| Ok(labeller.score(features.select(&[t]))?.per_step[0]))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    let spearman = spearman(&rewards, truth)
        .ok_or_else(|| anyhow::anyhow!("the reward is the same for every state"))?;
    Ok(StateCorrelation {
        states: frames.len(),
        spearman,
    })
}
