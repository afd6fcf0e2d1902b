//! Experience kept for learning from it again: a ring of whole episodes.

use std::collections::VecDeque;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::policy::{PolicyError, Transition};
use crate::state::{StateDict, StateReader};

pub(crate) mod priorities;
#[cfg(test)]
mod tests;

const TERMINATED: u8 = 1;
const TRUNCATED: u8 = 2;

/// Where an episode lies in the ring.
#[derive(Clone, Copy, Debug)]
struct Span {
    id: u64,
    start: usize,
    len: usize,
}

/// A ring buffer of transitions that knows its episodes. The oldest episodes leave whole when room is needed.
///
/// `terminated` and `truncated` are kept apart, so that learners can bootstrap through the end of the clock.
#[derive(Clone, Debug)]
pub struct Replay {
    capacity: usize,
    observation_dim: usize,
    action_dim: usize,
    observations: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    next_observations: Vec<f32>,
    ends: Vec<u8>,
    episodes: VecDeque<Span>,
    /// Where the next transition goes.
    head: usize,
    /// Transitions that can be sampled: from the oldest episode's start to the head.
    len: usize,
    /// Transitions that have left.
    gone: u64,
    next_id: u64,
}

/// One stored transition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// Observation, `[obs_dim]`.
    pub observation: &'a [f32],
    /// Action in `-1..=1`, `[action_dim]`.
    pub action: &'a [f32],
    /// Reward of the step.
    pub reward: f32,
    /// Observation after it, `[obs_dim]`.
    pub next_observation: &'a [f32],
    /// The task ended here: no value after it.
    pub terminated: bool,
    /// The clock ended the episode here: the value goes on.
    pub truncated: bool,
}

/// A transition over several steps: `R = sum_k discount^k r_k`, then the value of what follows, discounted as often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ahead<'a> {
    /// Observation, `[obs_dim]`.
    pub(crate) observation: &'a [f32],
    /// First action, `[action_dim]`.
    pub(crate) action: &'a [f32],
    /// Discounted sum of rewards.
    pub(crate) reward: f32,
    /// Observation after the last step, `[obs_dim]`.
    pub(crate) next_observation: &'a [f32],
    /// What its value counts: 0 where the task ended.
    pub(crate) discount: f32,
}

/// One stored episode.
#[derive(Clone, Copy, Debug)]
pub struct EpisodeView<'a> {
    replay: &'a Replay,
    span: Span,
}

impl<'a> EpisodeView<'a> {
    /// Number given by [`Replay::push`], counted from 0; it stays when older episodes leave.
    pub fn id(&self) -> u64 {
        self.span.id
    }

    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.span.len
    }

    /// Episodes are never empty; here for form's sake.
    pub fn is_empty(&self) -> bool {
        self.span.len == 0
    }

    /// Transition `t`; `t` must be below [`EpisodeView::len`].
    pub fn step(&self, t: usize) -> Step<'a> {
        assert!(
            t < self.span.len,
            "step {t} of an episode of {}",
            self.span.len
        );
        self.replay
            .slot((self.span.start + t) % self.replay.capacity)
    }

    /// All transitions in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Step<'a>> + use<'a> {
        let episode = *self;
        (0..self.span.len).map(move |t| episode.step(t))
    }
}

/// Says which number of an episode cannot be used, if any.
pub(crate) fn check_episode(
    episode: &[Transition],
    observation_dim: usize,
    action_dim: usize,
    update: u64,
) -> Result<(), PolicyError> {
    if episode.is_empty() {
        return Err(PolicyError::Other(
            "an episode without steps cannot be stored".into(),
        ));
    }
    for (t, step) in episode.iter().enumerate() {
        let widths = [
            ("observation", step.observation.len(), observation_dim),
            (
                "next observation",
                step.next_observation.len(),
                observation_dim,
            ),
            ("action", step.action.len(), action_dim),
        ];
        if let Some((what, found, expected)) = widths
            .into_iter()
            .find(|(_, found, expected)| found != expected)
        {
            return Err(PolicyError::Other(format!(
                "{what} at step {t} has {found} numbers, the policy has {expected}"
            )));
        }
        let tensors = [
            ("observation", step.observation.as_slice()),
            ("next observation", &step.next_observation),
            ("action", &step.action),
            ("reward", std::slice::from_ref(&step.reward)),
        ];
        for (what, values) in tensors {
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                return Err(PolicyError::NotFinite {
                    tensor: format!("{what}[{at}] at step {t} of the episode"),
                    update,
                });
            }
        }
        if let Some(action) = step.action.iter().find(|a| a.abs() > 1.001) {
            return Err(PolicyError::Other(format!(
                "action {action} at step {t} is outside -1..=1; scale actions to the action space first"
            )));
        }
        if step.terminated && t + 1 < episode.len() {
            return Err(PolicyError::Other(format!(
                "step {t} of {} terminates the episode before its end; pass one episode at a time",
                episode.len()
            )));
        }
    }
    Ok(())
}

impl Replay {
    /// Room for `capacity` transitions; memory is taken as it fills.
    pub fn new(capacity: usize, observation_dim: usize, action_dim: usize) -> Self {
        Self {
            capacity,
            observation_dim,
            action_dim,
            observations: Vec::new(),
            actions: Vec::new(),
            rewards: Vec::new(),
            next_observations: Vec::new(),
            ends: Vec::new(),
            episodes: VecDeque::new(),
            head: 0,
            len: 0,
            gone: 0,
            next_id: 0,
        }
    }

    /// Number of transitions that can be sampled.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Transitions that have left to make room: the oldest one's number, counted from 0 over all that were ever stored.
    pub(crate) fn gone(&self) -> u64 {
        self.gone
    }

    /// Largest number of transitions.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Stored episodes, oldest first.
    pub fn episodes(&self) -> impl ExactSizeIterator<Item = EpisodeView<'_>> {
        self.episodes
            .iter()
            .map(|&span| EpisodeView { replay: self, span })
    }

    /// Stores an episode, or the next piece of the newest one where that has not ended, and returns its number. Refuses wrong
    /// widths, numbers that are not finite, actions outside `-1..=1` and episodes longer than the capacity; then nothing changes.
    pub fn push(&mut self, episode: &[Transition]) -> Result<u64, PolicyError> {
        check_episode(episode, self.observation_dim, self.action_dim, 0)?;
        let newest = self.episodes.back().copied();
        let begun = newest.filter(|span| {
            let last = (span.start + span.len - 1) % self.capacity;
            self.ends[last] == 0
        });
        let whole = begun.map_or(0, |span| span.len) + episode.len();
        if whole > self.capacity {
            return Err(PolicyError::Other(format!(
                "an episode of {whole} steps does not fit a replay of {}; raise replay_capacity",
                self.capacity
            )));
        }
        while self.len + episode.len() > self.capacity {
            let oldest = self
                .episodes
                .pop_front()
                .expect("what is stored is in episodes");
            self.len -= oldest.len;
            self.gone += oldest.len as u64;
        }
        let span = Span {
            id: begun.map_or(self.next_id, |span| span.id),
            start: begun.map_or(self.head, |span| span.start),
            len: whole,
        };
        for step in episode {
            let ends =
                u8::from(step.terminated) * TERMINATED + u8::from(step.truncated) * TRUNCATED;
            self.write(
                &step.observation,
                &step.action,
                step.reward,
                &step.next_observation,
                ends,
            );
        }
        if begun.is_some() {
            self.episodes.pop_back();
        } else {
            self.next_id += 1;
        }
        self.episodes.push_back(span);
        Ok(span.id)
    }

    fn write(&mut self, observation: &[f32], action: &[f32], reward: f32, next: &[f32], ends: u8) {
        let at = self.head;
        if at == self.rewards.len() {
            self.observations.extend_from_slice(observation);
            self.actions.extend_from_slice(action);
            self.rewards.push(reward);
            self.next_observations.extend_from_slice(next);
            self.ends.push(ends);
        } else {
            let (o, a) = (self.observation_dim, self.action_dim);
            self.observations[at * o..][..o].copy_from_slice(observation);
            self.actions[at * a..][..a].copy_from_slice(action);
            self.rewards[at] = reward;
            self.next_observations[at * o..][..o].copy_from_slice(next);
            self.ends[at] = ends;
        }
        self.head = (at + 1) % self.capacity;
        self.len += 1;
    }

    fn slot(&self, at: usize) -> Step<'_> {
        let (o, a) = (self.observation_dim, self.action_dim);
        Step {
            observation: &self.observations[at * o..][..o],
            action: &self.actions[at * a..][..a],
            reward: self.rewards[at],
            next_observation: &self.next_observations[at * o..][..o],
            terminated: self.ends[at] & TERMINATED != 0,
            truncated: self.ends[at] & TRUNCATED != 0,
        }
    }

    /// A transition, each with the same chance; `None` when empty.
    pub fn sample(&self, rng: &mut ChaCha8Rng) -> Option<Step<'_>> {
        self.draw(rng).map(|at| self.nth(at))
    }

    /// The age of a transition, each with the same chance; `None` when empty.
    pub(crate) fn draw(&self, rng: &mut ChaCha8Rng) -> Option<usize> {
        (self.len > 0).then(|| rng.random_range(0..self.len as u64) as usize)
    }

    /// The transition that is `at`th by age, with what came of the `n` steps from it on, fewer where the episode or what is stored
    /// of it ends before.
    pub(crate) fn ahead(&self, at: usize, n: usize, discount: f32) -> Ahead<'_> {
        let first = self.nth(at);
        let (mut last, mut reward, mut factor) = (first, first.reward, discount);
        for later in at + 1..(at + n).min(self.len) {
            if last.terminated || last.truncated {
                break;
            }
            last = self.nth(later);
            reward += factor * last.reward;
            factor *= discount;
        }
        Ahead {
            observation: first.observation,
            action: first.action,
            reward,
            next_observation: last.next_observation,
            discount: if last.terminated { 0.0 } else { factor },
        }
    }

    /// The transition that is `at`th by age; `at` must be below [`Replay::len`].
    pub(crate) fn nth(&self, at: usize) -> Step<'_> {
        assert!(at < self.len, "step {at} of {}", self.len);
        let first = self.episodes.front().map_or(0, |span| span.start);
        self.slot((first + at) % self.capacity)
    }

    /// Gives episodes new rewards, in place: `reward` returns `[episode.len()]` numbers, or `None` to leave an episode as it
    /// is. Returns how many episodes changed. On an error (wrong length, not finite) the episodes before it keep their new rewards.
    pub fn relabel(
        &mut self,
        mut reward: impl FnMut(EpisodeView) -> Option<Vec<f32>>,
    ) -> Result<usize, PolicyError> {
        let mut changed = 0;
        for index in 0..self.episodes.len() {
            let span = self.episodes[index];
            let Some(rewards) = reward(EpisodeView { replay: self, span }) else {
                continue;
            };
            if rewards.len() != span.len {
                return Err(PolicyError::Other(format!(
                    "episode {} has {} steps but was given {} rewards",
                    span.id,
                    span.len,
                    rewards.len()
                )));
            }
            if let Some(t) = rewards.iter().position(|r| !r.is_finite()) {
                return Err(PolicyError::NotFinite {
                    tensor: format!("new reward at step {t} of episode {}", span.id),
                    update: 0,
                });
            }
            for (t, reward) in rewards.into_iter().enumerate() {
                self.rewards[(span.start + t) % self.capacity] = reward;
            }
            changed += 1;
        }
        Ok(changed)
    }

    /// Everything, oldest first. Sampling goes by age, so a restored ring gives the same draws.
    pub(crate) fn save(&self, state: &mut StateDict) {
        let steps = || self.episodes().flat_map(|episode| episode.steps());
        let rows = |row: fn(Step) -> &[f32]| steps().flat_map(row).copied().collect::<Vec<f32>>();
        let observation = rows(|step| step.observation);
        let action = rows(|step| step.action);
        let next = rows(|step| step.next_observation);
        let reward: Vec<f32> = steps().map(|step| step.reward).collect();
        let ends: Vec<u8> = steps()
            .map(|s| u8::from(s.terminated) * TERMINATED + u8::from(s.truncated) * TRUNCATED)
            .collect();
        state.f32(
            "observation",
            &[self.len, self.observation_dim],
            &observation,
        );
        state.f32("action", &[self.len, self.action_dim], &action);
        state.f32("reward", &[self.len], &reward);
        state.f32("next_observation", &[self.len, self.observation_dim], &next);
        state.u8("end", &ends);
        let numbers = |f: fn(&Span) -> u64| self.episodes.iter().map(f).collect::<Vec<u64>>();
        state.u64("episode.id", &numbers(|span| span.id));
        state.u64("episode.len", &numbers(|span| span.len as u64));
        state.u64("next_id", &[self.next_id, self.gone]);
    }

    /// What [`Replay::save`] wrote, into an empty ring.
    pub(crate) fn load(&mut self, state: &StateReader) -> Result<(), PolicyError> {
        let (ids, lengths) = (state.u64s("episode.id")?, state.u64s("episode.len")?);
        let total = lengths
            .iter()
            .fold(0u64, |sum, len| sum.saturating_add(*len)) as usize;
        let (observation, action) = (state.f32("observation")?, state.f32("action")?);
        let (reward, next) = (state.f32("reward")?, state.f32("next_observation")?);
        let ends = state.u8s("end")?;
        let (o, a) = (self.observation_dim, self.action_dim);
        let fits = ids.len() == lengths.len()
            && total <= self.capacity
            && !lengths.contains(&0)
            && [reward.len(), ends.len()] == [total; 2]
            && [observation.len(), next.len()] == [total * o; 2]
            && action.len() == total * a;
        if !fits {
            return Err(state.fault(format!(
                "its tensors do not make episodes of {o} observations and {a} actions within {} steps; policy.toml does not belong to this file",
                self.capacity
            )));
        }
        let mut start = 0;
        for (&id, &len) in ids.iter().zip(&lengths) {
            let len = len as usize;
            self.episodes.push_back(Span { id, start, len });
            start += len;
        }
        [self.next_id, self.gone] = state.u64("next_id")?;
        (self.observations, self.actions, self.rewards) = (observation, action, reward);
        (self.next_observations, self.ends) = (next, ends);
        self.len = total;
        self.head = total % self.capacity;
        Ok(())
    }
}
