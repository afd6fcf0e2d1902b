//! How much the actor imitates: a weight that is learned (AMFT, methods row 54, from memory of the paper).
//!
//! The actor's loss is `(1 - mu) L_RL / mean |Q| + mu L_BC`; `mu` follows a meta-gradient: which of the two losses' gradients points more
//! to where the newest episodes' returns say that the policy should go. That direction is the score function's,
//! `mean A grad ln pi(a|s)`, with the returns that were really earned, against their mean at the same time of the episode: the critics, which
//! are the reinforcement's own opinion, have no part in it. Departures: the three gradients count by their directions alone; the
//! entropy guard is off by default, as soft actor-critic's temperature holds the entropy already.

use rapport_reward::combine::MetaWeight;
use serde::{Deserialize, Serialize};

use super::Sac;
use super::step::clone_gradient;
use crate::gaussian;
use crate::policy::{Metrics, PolicyError};
use crate::small::both::Threads;
use crate::small::kernels;
use crate::small::mlp::Tape;

/// Settings of a learned weight of imitation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnedImitation {
    /// Where the weight starts and how it moves; the target entropy is the learner's own.
    pub weight: MetaWeight,
    /// Updates between its moves.
    pub every: u64,
    /// Newest episodes that are looked at.
    pub episodes: usize,
}

impl Default for LearnedImitation {
    fn default() -> Self {
        Self {
            weight: MetaWeight {
                value: 0.9,
                rate: 0.2,
                ..MetaWeight::default()
            },
            every: 20,
            episodes: 16,
        }
    }
}

/// Fewer episodes say nothing of each other.
const LEAST_EPISODES: usize = 4;

/// Steps of the newest episodes, and how much better they went on than the others did from the same time on.
#[derive(Debug, Default)]
struct HeldOut {
    observations: Vec<f32>,
    actions: Vec<f32>,
    advantages: Vec<f32>,
}

impl Sac {
    /// Turns the gradient of the heads from that of `L_RL` into that of the whole loss, and moves the weight where it is time.
    pub(super) fn weigh_imitation(
        &mut self,
        learned: LearnedImitation,
        metrics: &mut Metrics,
    ) -> Result<(), PolicyError> {
        let dim = self.policy.spec.action_dim;
        let rows = self.experience.batch.demonstrations;
        if rows == 0 {
            return Ok(());
        }
        let size: f32 = self.values.iter().map(|v| v.abs()).sum();
        let scale = self.values.len() as f32 / size.max(f32::MIN_POSITIVE);
        kernels::scale(&mut self.head_gradient, scale.min(1e6));
        let mut cloning = vec![0.0; self.head_gradient.len()];
        let loss = clone_gradient(
            &self.actor_tape.output()[..rows * 2 * dim],
            &self.experience.batch.actions[..rows * dim],
            dim,
            1.0,
            &mut cloning,
        );
        if self.experience.updates.is_multiple_of(learned.every) {
            self.move_weight(learned, &cloning)?;
        }
        let weight = self.imitation.value as f32;
        for (whole, cloning) in self.head_gradient.iter_mut().zip(&cloning) {
            *whole = (1.0 - weight) * *whole + weight * cloning;
        }
        metrics.insert("behaviour_cloning_loss".into(), f64::from(loss));
        metrics.insert("imitation".into(), self.imitation.value);
        Ok(())
    }

    fn move_weight(
        &mut self,
        learned: LearnedImitation,
        cloning: &[f32],
    ) -> Result<(), PolicyError> {
        let held_out = self.held_out(learned.episodes);
        if held_out.advantages.is_empty() {
            return Ok(());
        }
        let mut tape = Tape::new(Threads::Two);
        let towards_return = self.score(&held_out, &mut tape);
        let network = &self.policy.network;
        let direction = |tape: &mut Tape, head: &[f32]| -> Vec<f64> {
            let mut gradient = vec![0.0; network.parameters.len()];
            network.backward(tape, head, Some(&mut gradient), None);
            let norm = f64::from(kernels::norm(&gradient)).max(f64::MIN_POSITIVE);
            gradient.iter().map(|&g| f64::from(g) / norm).collect()
        };
        let by_return = direction(&mut tape, &towards_return);
        let reinforcement = direction(&mut self.actor_tape, &self.head_gradient);
        let imitation = direction(&mut self.actor_tape, cloning);
        let log_probs = &self.draws.log_probs;
        let entropy = -log_probs.iter().sum::<f32>() / log_probs.len() as f32;
        self.imitation
            .update(
                &by_return,
                &reinforcement,
                &imitation,
                1.0,
                f64::from(entropy),
            )
            .map_err(|error| PolicyError::Other(format!("the weight of imitation: {error}")))
    }

    /// The gradient of `mean A ln pi(a|s)` by the heads, `[steps, 2 A]`; the pass is left on the tape.
    fn score(&self, held_out: &HeldOut, tape: &mut Tape) -> Vec<f32> {
        let dim = self.policy.spec.action_dim;
        self.policy.network.forward(&held_out.observations, tape);
        let mut gradient = vec![0.0; tape.output().len()];
        let rows = tape.output().chunks_exact(2 * dim);
        let steps = held_out.actions.chunks_exact(dim).zip(&held_out.advantages);
        for ((head, (action, advantage)), gradient) in
            rows.zip(steps).zip(gradient.chunks_exact_mut(2 * dim))
        {
            for i in 0..dim {
                let (log_std, slope) = gaussian::log_std(head[dim + i], self.policy.log_std_range);
                let std = log_std.exp();
                let noise = (gaussian::unsquash(action[i]) - head[i]) / std;
                gradient[i] = advantage * noise / std;
                gradient[dim + i] = advantage * (noise * noise - 1.0) * slope;
            }
        }
        gradient
    }

    /// What the newest whole episodes did; nothing where they all went alike, or are too few.
    fn held_out(&self, episodes: usize) -> HeldOut {
        let stored = self.experience.replay.episodes();
        let skipped = stored.len().saturating_sub(episodes + 1);
        let whole: Vec<_> = stored
            .skip(skipped)
            .filter(|episode| {
                let last = episode.step(episode.len() - 1);
                last.terminated || last.truncated
            })
            .collect();
        let mut held_out = HeldOut::default();
        if whole.len() < LEAST_EPISODES {
            return held_out;
        }
        let discount = self.config.discount as f32;
        let returns = whole.iter().map(|episode| {
            let (mut after, mut returns) = (0.0, Vec::new());
            for t in (0..episode.len()).rev() {
                after = episode.step(t).reward + discount * after;
                returns.push(after);
            }
            returns.reverse();
            returns
        });
        let returns: Vec<Vec<f32>> = returns.collect();
        for (episode, own) in whole.iter().zip(&returns) {
            for (t, step) in episode.steps().enumerate() {
                let (mut sum, mut count) = (0.0, 0.0);
                for other in returns.iter().filter_map(|returns| returns.get(t)) {
                    sum += other;
                    count += 1.0;
                }
                self.policy
                    .normaliser
                    .append(step.observation, &mut held_out.observations);
                held_out.actions.extend(step.action);
                held_out.advantages.push(own[t] - sum / count);
            }
        }
        if held_out
            .advantages
            .iter()
            .all(|advantage| *advantage == 0.0)
        {
            return HeldOut::default();
        }
        held_out
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::checkpoint::PolicySpec;
    use crate::policy::{Learner as _, Mode, Policy as _, Transition};
    use crate::sac::SacConfig;

    /// One state, one action: the reward is 1 near `0.6`, and nothing elsewhere.
    fn reward(action: f32) -> f32 {
        if (action - 0.6).abs() < 0.25 {
            1.0
        } else {
            0.0
        }
    }

    fn step(action: f32) -> Transition {
        Transition {
            observation: vec![0.5],
            action: vec![action],
            reward: reward(action),
            next_observation: vec![0.5],
            terminated: true,
            truncated: false,
        }
    }

    fn practise(shown: f32, seed: u64) -> (Sac, Vec<f64>, f32) {
        let config = SacConfig {
            hidden: vec![32, 32],
            batch: 32,
            initial_random_steps: 20,
            learned_imitation: Some(LearnedImitation {
                every: 5,
                ..LearnedImitation::default()
            }),
            ..SacConfig::default()
        };
        let mut sac = Sac::new(PolicySpec::new(1, 1), config, seed).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..20 {
            sac.observe_demonstration(&[step(shown + rng.random_range(-0.05..0.05))])
                .unwrap();
        }
        let mut course = Vec::new();
        for _ in 0..1_500 {
            let action = sac.act(&[0.5], Mode::Explore).unwrap()[0];
            sac.observe(&[step(action)]).unwrap();
            while sac.updates_due() > 0 {
                course.extend(sac.update().unwrap().get("imitation"));
            }
        }
        let best = sac.policy().act(&[0.5], Mode::Exploit).unwrap()[0];
        (sac, course, reward(best))
    }

    #[test]
    fn good_demonstrations_keep_their_weight_for_longer_than_bad_ones() {
        let mean = |course: &[f64]| course.iter().sum::<f64>() / course.len() as f64;
        let (mut good, mut bad) = (0.0, 0.0);
        for seed in 0..3 {
            let (_, course, reached) = practise(0.6, seed);
            assert!(course[0] > 0.7, "it starts high: {course:?}");
            assert_eq!(reached, 1.0);
            good += mean(&course) / 3.0;
            let (_, course, reached) = practise(-0.7, seed);
            assert!(course.last().unwrap() < &0.2, "{course:?}");
            assert_eq!(reached, 1.0, "bad demonstrations do not hold it back");
            bad += mean(&course) / 3.0;
        }
        assert!(good > bad + 0.1, "{good} {bad}");
    }

    #[test]
    fn a_resumed_learner_keeps_the_weight_and_goes_on_to_the_same_bits() {
        let (mut straight, _, _) = practise(0.6, 1);
        let dir = tempfile::tempdir().unwrap();
        straight.save(dir.path()).unwrap();
        let mut resumed = Sac::resume(dir.path()).unwrap();
        for _ in 0..12 {
            assert_eq!(straight.update().unwrap(), resumed.update().unwrap());
        }
    }
}
