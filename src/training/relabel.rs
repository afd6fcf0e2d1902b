//! New rewards for old experience, when a reward was learned anew.

use rapport::policy::{EpisodeView, Learner, PolicyError};

use super::{RewardSource, TrainingConfig, episode, episode_seed};
use crate::practice::Practice;

/// Gives the stored experience of a run the rewards of `reward` as it is now. Pictures are not kept, but a simulation gives the same ones
/// again: each episode is played once more from its seed with the actions that it had. Returns how many there were; fails, with
/// some relabelled and some not, where an episode takes another course than it did.
pub fn relabel(
    practice: &mut dyn Practice,
    reward: &mut RewardSource,
    learner: &mut dyn Learner,
    config: &TrainingConfig,
    mut progress: impl FnMut(),
) -> anyhow::Result<usize> {
    let Some(replay) = learner.replays().into_iter().next() else {
        anyhow::bail!("this learner keeps no experience to relabel; use sac or td3");
    };
    let mut failure = None;
    let count = replay.relabel(|stored| {
        if failure.is_some() {
            return None;
        }
        let rewards = rewards_again(practice, reward, stored, config);
        progress();
        rewards.map_err(|error| failure = Some(error)).ok()
    })?;
    failure.map_or(Ok(count), Err)
}

fn rewards_again(
    practice: &mut dyn Practice,
    reward: &mut RewardSource,
    stored: EpisodeView,
    config: &TrainingConfig,
) -> anyhow::Result<Vec<f32>> {
    let other = || {
        format!(
            "episode {} takes another course than it did; relabel in the simulation that the run practised in",
            stored.id()
        )
    };
    let mut steps = stored.steps();
    let mut played = episode::play(
        practice,
        &mut |seen: &[f32]| match steps.next() {
            Some(step) if step.observation == seen => Ok(step.action.to_vec()),
            _ => Err(PolicyError::Other(other())),
        },
        reward,
        episode_seed(config.seed, stored.id()),
    )?;
    anyhow::ensure!(played.transitions.len() == stored.len(), other());
    played.scale(config.reward_scale);
    Ok(played.transitions.iter().map(|t| t.reward).collect())
}
