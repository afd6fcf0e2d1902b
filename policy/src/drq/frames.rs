//! [`Frames`]: experience with pictures, each kept once, as bytes.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::DrqConfig;
use crate::policy::{PolicyError, Transition};
use crate::state::{StateDict, StateReader};

/// The first picture of an episode.
const FIRST: u8 = 1;
/// An action followed.
const ACTED: u8 = 2;
/// The task ended after that action.
const ENDED: u8 = 4;

/// A ring of pictures with what was done at each, episode after episode. Numbers count from the first ever.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    config: DrqConfig,
    actions: usize,
    /// Number of the next picture.
    end: u64,
    /// Whether the newest picture waits for its action.
    open: bool,
    pictures: Vec<u8>,
    own: Vec<f32>,
    done: Vec<f32>,
    rewards: Vec<f32>,
    flags: Vec<u8>,
}

/// What an update learns from.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// Shifted, `[batch, side, side, stack * 3]` in `-0.5..=0.5`, older pictures first.
    pub(super) pictures: Vec<f32>,
    /// `[batch, own]`.
    pub(super) own: Vec<f32>,
    /// `[batch, action_dim]`.
    pub(super) actions: Vec<f32>,
    /// Discounted sums over the steps looked ahead, `[batch]`.
    pub(super) rewards: Vec<f32>,
    /// What the value after those steps counts, `[batch]`.
    pub(super) discounts: Vec<f32>,
    /// After those steps.
    pub(super) next_pictures: Vec<f32>,
    /// After those steps.
    pub(super) next_own: Vec<f32>,
}

/// The picture of an observation as bytes.
pub(super) fn bytes(picture: &[f32]) -> impl Iterator<Item = u8> + '_ {
    // A cast rounds down and keeps within 0..=255.
    picture.iter().map(|x| ((x + 1.0) * 127.5 + 0.5) as u8)
}

/// Appends the pictures of a stack, oldest first, channels together, moved by `shift` pixels (down, across); what comes in at the edges is
/// the edge.
pub(super) fn append_stack(stack: &[&[u8]], side: usize, shift: [i32; 2], target: &mut Vec<f32>) {
    let limit = side as i32 - 1;
    let moved = |at: usize, by: i32| (at as i32 + by).clamp(0, limit) as usize;
    for y in 0..side {
        let row = moved(y, shift[0]) * side;
        for x in 0..side {
            let at = (row + moved(x, shift[1])) * 3;
            for picture in stack {
                target.extend(
                    picture[at..at + 3]
                        .iter()
                        .map(|&b| f32::from(b) / 255.0 - 0.5),
                );
            }
        }
    }
}

impl Frames {
    pub(super) fn new(config: &DrqConfig, actions: usize) -> Self {
        Self {
            config: config.clone(),
            actions,
            end: 0,
            open: false,
            pictures: Vec::new(),
            own: Vec::new(),
            done: Vec::new(),
            rewards: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// Pictures held.
    pub(super) fn len(&self) -> usize {
        self.flags.len()
    }

    fn first(&self) -> u64 {
        self.end - self.len() as u64
    }

    fn slot(&self, number: u64) -> usize {
        (number % self.config.replay_capacity as u64) as usize
    }

    /// Takes in consecutive steps of one episode, which goes on from the steps before if it begins at the picture where those ended.
    pub(super) fn push(&mut self, steps: &[Transition]) {
        if self.open
            && let Some(step) = steps.first()
        {
            let seen = bytes(&step.observation[self.config.own..]);
            self.open = seen.eq(self.picture(self.end - 1).iter().copied());
        }
        for step in steps {
            if !self.open {
                self.add(&step.observation, FIRST);
            }
            let slot = self.slot(self.end - 1);
            self.flags[slot] |= ACTED | if step.terminated { ENDED } else { 0 };
            self.rewards[slot] = step.reward;
            self.done[slot * self.actions..][..self.actions].copy_from_slice(&step.action);
            self.add(&step.next_observation, 0);
            self.open = !(step.terminated || step.truncated);
        }
    }

    /// The episode that was going on is over.
    pub(super) fn close(&mut self) {
        self.open = false;
    }

    fn add(&mut self, observation: &[f32], flags: u8) {
        let (slot, picture, own) = (self.slot(self.end), self.config.picture(), self.config.own);
        if slot == self.len() {
            self.pictures.resize(self.pictures.len() + picture, 0);
            self.own.resize(self.own.len() + own, 0.0);
            self.done.resize(self.done.len() + self.actions, 0.0);
            self.rewards.push(0.0);
            self.flags.push(0);
        }
        let (numbers, seen) = observation.split_at(own);
        self.own[slot * own..][..own].copy_from_slice(numbers);
        let target = &mut self.pictures[slot * picture..][..picture];
        target
            .iter_mut()
            .zip(bytes(seen))
            .for_each(|(t, byte)| *t = byte);
        self.flags[slot] = flags;
        self.end += 1;
    }

    fn picture(&self, number: u64) -> &[u8] {
        let picture = self.config.picture();
        &self.pictures[self.slot(number) * picture..][..picture]
    }

    /// The pictures up to `number`, oldest first; the first of the episode stands for those before it.
    fn stack(&self, number: u64) -> Vec<&[u8]> {
        let (mut at, mut stack) = (number, Vec::new());
        for _ in 0..self.config.stack {
            stack.push(self.picture(at));
            if self.flags[self.slot(at)] & FIRST == 0 && at > self.first() {
                at -= 1;
            }
        }
        stack.reverse();
        stack
    }

    /// Draws a batch; each stack is shifted in a way of its own.
    pub(super) fn sample(
        &self,
        batch: &mut Batch,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), PolicyError> {
        if !self.flags.iter().any(|flags| flags & ACTED != 0) {
            return Err(PolicyError::Other(
                "there is nothing to learn from yet; observe an episode first".into(),
            ));
        }
        for buffer in [
            &mut batch.pictures,
            &mut batch.own,
            &mut batch.actions,
            &mut batch.rewards,
            &mut batch.discounts,
            &mut batch.next_pictures,
            &mut batch.next_own,
        ] {
            buffer.clear();
        }
        let (own, side) = (self.config.own, self.config.side);
        let most = self.config.shift as i32;
        for _ in 0..self.config.batch {
            let from = loop {
                let number = rng.random_range(self.first()..self.end);
                if self.flags[self.slot(number)] & ACTED != 0 {
                    break number;
                }
            };
            let (mut at, mut reward, mut discount) = (from, 0.0, 1.0);
            for _ in 0..self.config.n_step {
                let slot = self.slot(at);
                reward += discount * self.rewards[slot];
                discount *= self.config.discount as f32;
                at += 1;
                if self.flags[slot] & ENDED != 0 {
                    discount = 0.0;
                    break;
                }
                if self.flags[self.slot(at)] & ACTED == 0 {
                    break;
                }
            }
            let slot = self.slot(from);
            batch.rewards.push(reward);
            batch.discounts.push(discount);
            batch
                .actions
                .extend(&self.done[slot * self.actions..][..self.actions]);
            batch.own.extend(&self.own[slot * own..][..own]);
            batch
                .next_own
                .extend(&self.own[self.slot(at) * own..][..own]);
            for (number, target) in [(from, &mut batch.pictures), (at, &mut batch.next_pictures)] {
                let shift = [(); 2].map(|()| rng.random_range(-most..=most));
                append_stack(&self.stack(number), side, shift, target);
            }
        }
        Ok(())
    }

    pub(super) fn save(&self, state: &mut StateDict) {
        state.u64("frames", &[self.end, u64::from(self.open)]);
        state.u8("frames.pictures", &self.pictures);
        state.u8("frames.flags", &self.flags);
        for (name, values) in [
            ("frames.own", &self.own),
            ("frames.actions", &self.done),
            ("frames.rewards", &self.rewards),
        ] {
            state.f32(name, &[values.len()], values);
        }
    }

    pub(super) fn load(&mut self, state: &StateReader) -> Result<(), PolicyError> {
        let [end, open] = state.u64("frames")?;
        self.pictures = state.u8s("frames.pictures")?;
        self.flags = state.u8s("frames.flags")?;
        self.own = state.f32("frames.own")?;
        self.done = state.f32("frames.actions")?;
        self.rewards = state.f32("frames.rewards")?;
        let held = self.flags.len();
        let fits = held as u64 == end.min(self.config.replay_capacity as u64)
            && self.pictures.len() == held * self.config.picture()
            && self.own.len() == held * self.config.own
            && self.done.len() == held * self.actions
            && self.rewards.len() == held;
        if !fits {
            return Err(
                state.fault("holds experience of other sizes; use another checkpoint".into())
            );
        }
        (self.end, self.open) = (end, open != 0);
        Ok(())
    }
}
