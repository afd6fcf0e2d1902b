//! What learners from a replay buffer share: experience and demonstrations, batches of both, and the count of updates owed.

use rand_chacha::ChaCha8Rng;

use crate::checkpoint::{Manifest, PolicySpec};
use crate::normaliser::Normaliser;
use crate::policy::{PolicyError, Rewarder, Transition};
use crate::replay::priorities::{Priorities, PriorityConfig};
use crate::replay::{Replay, check_episode};
use crate::rewarder::Asked;
use crate::state::{StateDict, StateReader};

/// The part of a learner's settings that is about experience.
#[derive(Clone, Debug)]
pub(crate) struct ExperienceConfig {
    pub(crate) capacity: usize,
    pub(crate) batch: usize,
    pub(crate) demonstration_share: f64,
    pub(crate) update_to_data: f64,
    pub(crate) initial_random_steps: u64,
    pub(crate) discount: f64,
    pub(crate) n_step: usize,
    pub(crate) priority: Option<PriorityConfig>,
}

impl ExperienceConfig {
    /// Says what is wrong with these settings, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let faults = [
            (self.capacity == 0, "replay_capacity must be above 0"),
            (self.batch == 0, "batch must be above 0"),
            (
                !(0.0..=1.0).contains(&self.demonstration_share),
                "demonstration_share must be in 0..=1",
            ),
            (
                !(self.update_to_data >= 0.0 && self.update_to_data.is_finite()),
                "update_to_data must not be negative",
            ),
            (
                !(0.0..=1.0).contains(&self.discount),
                "discount must be in 0..=1",
            ),
            (self.n_step == 0, "n_step must be above 0"),
            (
                self.priority.is_some_and(|p| {
                    ![p.exponent, p.importance]
                        .iter()
                        .all(|x| (0.0..=1.0).contains(x))
                }),
                "priority.exponent and priority.importance must be in 0..=1",
            ),
        ];
        faults
            .into_iter()
            .find_map(|(wrong, fault)| wrong.then_some(fault))
    }
}

/// The transitions of one update; the first `demonstrations` rows are from demonstrations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) demonstrations: usize,
    /// Scaled, `[batch, obs_dim]`.
    pub(crate) observations: Vec<f32>,
    /// `[batch, action_dim]`.
    pub(crate) actions: Vec<f32>,
    /// Discounted sum over the steps looked ahead, `[batch]`.
    pub(crate) rewards: Vec<f32>,
    /// Scaled, after those steps, `[batch, obs_dim]`.
    pub(crate) next_observations: Vec<f32>,
    /// What the value after those steps counts: 0 where the task ended, `[batch]`.
    pub(crate) discounts: Vec<f32>,
    /// What each error counts, `[batch]`; empty where all count 1.
    pub(crate) weights: Vec<f32>,
    /// Numbers of the transitions after the demonstrations, where they are drawn by priority.
    numbers: Vec<u64>,
}

/// Experience, and how far learning is behind it.
#[derive(Clone, Debug)]
pub(crate) struct Experience {
    config: ExperienceConfig,
    pub(crate) replay: Replay,
    pub(crate) demonstrations: Replay,
    pub(crate) updates: u64,
    /// Steps observed in the task, demonstrations not counted.
    pub(crate) steps: u64,
    /// Episodes whose end was observed, demonstrations not counted.
    pub(crate) episodes: u64,
    /// Exploring actions given.
    explored: u64,
    /// Updates that the observed steps ask for and that were not made yet.
    owed: f64,
    rewarder: Option<Asked>,
    priorities: Option<Priorities>,
    pub(crate) batch: Batch,
}

impl Experience {
    pub(crate) fn new(spec: &PolicySpec, config: ExperienceConfig) -> Self {
        let (o, a) = (spec.observation_dim, spec.action_dim);
        Self {
            replay: Replay::new(config.capacity, o, a),
            demonstrations: Replay::new(config.capacity, o, a),
            updates: 0,
            steps: 0,
            episodes: 0,
            explored: 0,
            owed: 0.0,
            rewarder: None,
            priorities: config
                .priority
                .map(|priority| Priorities::new(priority, config.capacity)),
            batch: Batch::default(),
            config,
        }
    }

    /// Whether this exploring action is one of the random ones at the start.
    pub(crate) fn explores_at_random(&mut self) -> bool {
        self.explored += 1;
        self.explored <= self.config.initial_random_steps
    }

    /// Whether exploring is still at random.
    pub(crate) fn begins(&self) -> bool {
        self.steps < self.config.initial_random_steps
    }

    /// Steps of the task.
    pub(crate) fn observe(
        &mut self,
        steps: &[Transition],
        spec: &PolicySpec,
        normaliser: &mut Normaliser,
    ) -> Result<(), PolicyError> {
        check_episode(steps, spec.observation_dim, spec.action_dim, self.updates)?;
        self.replay.push(steps)?;
        if let Some(priorities) = &mut self.priorities {
            let gone = self.replay.gone();
            priorities.follow(gone, gone + self.replay.len() as u64);
        }
        count(steps, normaliser);
        let before = self.steps.max(self.config.initial_random_steps);
        self.steps += steps.len() as u64;
        self.episodes += u64::from(steps.last().is_some_and(|s| s.terminated || s.truncated));
        let after = self.steps.max(self.config.initial_random_steps);
        self.owed += (after - before) as f64 * self.config.update_to_data;
        Ok(())
    }

    /// A demonstration, which is never pushed out by experience.
    pub(crate) fn observe_demonstration(
        &mut self,
        episode: &[Transition],
        spec: &PolicySpec,
        normaliser: &mut Normaliser,
    ) -> Result<(), PolicyError> {
        check_episode(episode, spec.observation_dim, spec.action_dim, self.updates)?;
        if self.demonstrations.len() + episode.len() > self.demonstrations.capacity() {
            return Err(PolicyError::Other(format!(
                "demonstrations of more than {} steps do not fit; raise replay_capacity",
                self.demonstrations.capacity()
            )));
        }
        self.demonstrations.push(episode)?;
        count(episode, normaliser);
        Ok(())
    }

    /// From now on, rewards are asked for when a batch is drawn.
    pub(crate) fn set_rewarder(&mut self, rewarder: Rewarder) -> Result<(), PolicyError> {
        if self.config.n_step > 1 {
            return Err(PolicyError::Other(format!(
                "rewards that change are asked for one step at a time; set n_step to 1, it is {}",
                self.config.n_step
            )));
        }
        self.rewarder = Some(Asked(rewarder));
        Ok(())
    }

    /// Draws the next batch, symmetric between demonstrations and experience as configured.
    pub(crate) fn sample(
        &mut self,
        normaliser: &Normaliser,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), PolicyError> {
        let size = self.config.batch;
        let wanted = (self.config.demonstration_share * size as f64).round() as usize;
        let demonstrations = match (self.demonstrations.is_empty(), self.replay.is_empty()) {
            (true, true) => {
                return Err(PolicyError::Other(
                    "there is nothing to learn from yet; observe an episode first".into(),
                ));
            }
            (true, false) => 0,
            (false, true) => size,
            (false, false) => wanted,
        };
        let batch = &mut self.batch;
        batch.demonstrations = demonstrations;
        for buffer in [
            &mut batch.observations,
            &mut batch.actions,
            &mut batch.rewards,
            &mut batch.next_observations,
            &mut batch.discounts,
            &mut batch.weights,
        ] {
            buffer.clear();
        }
        let (n, discount) = (self.config.n_step, self.config.discount as f32);
        let mut seen = Vec::new();
        batch.numbers.clear();
        for row in 0..size {
            let source = if row < demonstrations {
                &self.demonstrations
            } else {
                &self.replay
            };
            let at = match &self.priorities {
                Some(priorities) if row >= demonstrations => {
                    let (number, weight) = priorities.draw(rng);
                    batch.numbers.push(number);
                    batch.weights.push(weight);
                    (number - source.gone()) as usize
                }
                _ => source.draw(rng).expect("checked above: not empty"),
            };
            let step = source.ahead(at, n, discount);
            normaliser.append(step.observation, &mut batch.observations);
            batch.actions.extend_from_slice(step.action);
            if self.rewarder.is_some() {
                seen.extend_from_slice(step.observation);
                seen.extend_from_slice(step.action);
            }
            batch.rewards.push(step.reward);
            normaliser.append(step.next_observation, &mut batch.next_observations);
            batch.discounts.push(step.discount);
        }
        if !batch.weights.is_empty() {
            let most = batch.weights.iter().copied().fold(0.0, f32::max);
            batch.weights.iter_mut().for_each(|w| *w /= most);
            // Demonstrations are drawn evenly.
            let drawn = batch.weights.len();
            batch.weights.resize(size, 1.0);
            batch.weights.rotate_right(size - drawn);
        }
        if let Some(rewarder) = &self.rewarder {
            batch.rewards = rewarder.rewards(seen, size)?;
        }
        Ok(())
    }

    /// How large the critics' errors on the batch were, `[batch]`.
    pub(crate) fn learned(&mut self, errors: &[f32]) {
        if let Some(priorities) = &mut self.priorities {
            let errors = &errors[self.batch.demonstrations..];
            for (&number, &error) in self.batch.numbers.iter().zip(errors) {
                priorities.learned(number, error);
            }
        }
    }

    /// Updates that are owed by now.
    pub(crate) fn updates_due(&self) -> u64 {
        self.owed as u64
    }

    /// An update was made.
    pub(crate) fn count_update(&mut self) {
        self.updates += 1;
        self.owed = (self.owed - 1.0).max(0.0);
    }

    /// The counters, beside the learner's own tensors.
    pub(crate) fn save(&self, state: &mut StateDict) {
        state.u64(
            "counters",
            &[self.updates, self.steps, self.episodes, self.explored],
        );
        state.f64("owed", &[self.owed]);
        if let Some(priorities) = &self.priorities {
            priorities.save(state);
        }
    }

    /// The stored transitions, as the parts `replay` and `demonstrations` of a checkpoint.
    pub(crate) fn parts(&self) -> Result<[(&'static str, Vec<u8>); 2], PolicyError> {
        let bytes = |replay: &Replay| {
            let mut state = StateDict::default();
            replay.save(&mut state);
            state.to_bytes(self.updates)
        };
        Ok([
            ("replay", bytes(&self.replay)?),
            ("demonstrations", bytes(&self.demonstrations)?),
        ])
    }

    /// What [`Experience::save`] and [`Experience::parts`] wrote.
    pub(crate) fn load(
        &mut self,
        state: &StateReader,
        manifest: &Manifest,
        dir: &std::path::Path,
    ) -> Result<(), PolicyError> {
        [self.updates, self.steps, self.episodes, self.explored] = state.u64("counters")?;
        let owed = state.f64("owed")?;
        self.owed = owed.first().copied().unwrap_or_default();
        if let Some(priorities) = &mut self.priorities {
            priorities.load(state)?;
        }
        for (name, replay) in [
            ("replay", &mut self.replay),
            ("demonstrations", &mut self.demonstrations),
        ] {
            let (path, bytes) = manifest.part(dir, name)?;
            replay.load(&StateReader::new(&path, &bytes)?)?;
        }
        Ok(())
    }
}

fn count(episode: &[Transition], normaliser: &mut Normaliser) {
    for step in episode {
        normaliser.observe(&step.observation);
    }
    if let Some(last) = episode.last() {
        normaliser.observe(&last.next_observation);
    }
    normaliser.refresh();
}

/// Rows of `left` `[batch, l]` and `right` `[batch, r]` side by side.
pub(crate) fn join(left: &[f32], l: usize, right: &[f32], r: usize, target: &mut Vec<f32>) {
    target.clear();
    if r == 0 {
        target.extend_from_slice(left);
        return;
    }
    for (left, right) in left.chunks_exact(l).zip(right.chunks_exact(r)) {
        target.extend_from_slice(left);
        target.extend_from_slice(right);
    }
}
