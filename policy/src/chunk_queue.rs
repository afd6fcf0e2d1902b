//! Chunks of actions with target times: a policy may take longer than a control period to think, and the robot does not wait.
//!
//! Each action of a chunk is meant for a moment: that of the observation it was predicted from, and one period more for each
//! that follows. The control loop asks for the action whose moment is now; what comes late loses its stale head, and chunks that
//! overlap are blended. Time is an argument, in seconds on any clock that does not go back, so all of it can be tested without one.
//! [`Worker`] does the thinking on a thread of its own. (LeRobot's asynchronous inference counts steps instead: a step there is
//! due when it is reached, however late that is.)

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::PolicyError;

mod worker;

pub use worker::{Asynchronous, Worker};

/// What becomes of two actions for one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Blend {
    /// The one that came last.
    Newest,
    /// The mean of all that came.
    Mean,
    /// `(1 - share) old + share new`, as each comes.
    Weighted {
        /// In `0..=1`; LeRobot's weighted average has 0.7.
        share: f64,
    },
}

/// What is done when there is no action for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Starvation {
    /// The last action again: right for position targets.
    Hold,
    /// An error: right where an old action does harm, such as velocities.
    Fail,
}

/// Settings of a [`ChunkQueue`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChunkQueueConfig {
    /// Seconds between two actions of a chunk.
    pub period: f64,
    /// What becomes of two actions for one moment.
    pub blend: Blend,
    /// What is done when there is no action for now.
    pub starvation: Starvation,
    /// A new look is due when this many actions or fewer are left.
    pub refill: usize,
}

impl Default for ChunkQueueConfig {
    fn default() -> Self {
        Self {
            period: 1.0 / 30.0,
            blend: Blend::Weighted { share: 0.7 },
            starvation: Starvation::Hold,
            refill: 10,
        }
    }
}

impl ChunkQueueConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if !(self.period > 0.0 && self.period.is_finite()) {
            return Err(PolicyError::Other(
                "chunk queue: period must be above 0 seconds".into(),
            ));
        }
        match self.blend {
            Blend::Weighted { share } if !(0.0..=1.0).contains(&share) => Err(PolicyError::Other(
                "chunk queue: the share of a weighted blend must be in 0..=1".into(),
            )),
            _ => Ok(()),
        }
    }
}

/// What is known of one moment.
#[derive(Clone, Debug)]
struct Slot {
    action: Vec<f32>,
    /// Chunks that had a say.
    voices: u32,
}

/// Where an action came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A chunk meant it for this moment.
    Chunk,
    /// Nothing was meant for this moment: it is the last one again.
    Held,
}

/// Counts since the start, for metrics and for choosing a period, a chunk length and a refill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Actions given that were meant for their moment.
    pub given: u64,
    /// Times the last action was given again, or an error.
    pub starved: u64,
    /// Actions that came after their moment.
    pub stale: u64,
    /// Actions whose moment passed without being asked for.
    pub skipped: u64,
}

/// Actions by the moment they are meant for.
///
/// Moments are whole periods from the first chunk's start; a chunk that starts between two is taken to start at the nearer one, at
/// most half a period off.
#[derive(Clone, Debug)]
pub struct ChunkQueue {
    config: ChunkQueueConfig,
    action_dim: usize,
    /// Time of moment 0.
    origin: Option<f64>,
    slots: BTreeMap<i64, Slot>,
    /// Moments before this one are over.
    next: i64,
    last: Option<Vec<f32>>,
    counts: Counts,
}

impl ChunkQueue {
    /// An empty queue for actions of this width.
    pub fn new(config: ChunkQueueConfig, action_dim: usize) -> Result<Self, PolicyError> {
        config.validate()?;
        if action_dim == 0 {
            return Err(PolicyError::Other(
                "chunk queue: an action must have at least one number".into(),
            ));
        }
        Ok(Self {
            config,
            action_dim,
            origin: None,
            slots: BTreeMap::new(),
            next: i64::MIN,
            last: None,
            counts: Counts::default(),
        })
    }

    /// Takes in a chunk, `[k, action_dim]`, predicted from an observation made at `observed`; `now` is not before that. Gives
    /// how many of its actions were in time.
    pub fn push(&mut self, actions: &[f32], observed: f64, now: f64) -> Result<usize, PolicyError> {
        if actions.is_empty() || !actions.len().is_multiple_of(self.action_dim) {
            return Err(PolicyError::Other(format!(
                "a chunk of {} numbers does not hold actions of {}",
                actions.len(),
                self.action_dim
            )));
        }
        check_time(observed)?;
        check_time(now)?;
        if let Some(at) = actions.iter().position(|a| !a.is_finite()) {
            return Err(PolicyError::NotFinite {
                tensor: format!("chunk[{at}]"),
                update: 0,
            });
        }
        self.origin.get_or_insert(observed);
        let first = self.moment(observed);
        let open = self.next.max(self.moment(now));
        let mut used = 0;
        for (moment, action) in (first..).zip(actions.chunks_exact(self.action_dim)) {
            if moment < open {
                self.counts.stale += 1;
                continue;
            }
            used += 1;
            match self.slots.get_mut(&moment) {
                Some(slot) => slot.blend(action, self.config.blend),
                None => {
                    let slot = Slot {
                        action: action.to_vec(),
                        voices: 1,
                    };
                    self.slots.insert(moment, slot);
                }
            }
        }
        Ok(used)
    }

    /// The action whose moment is now. Each is given once; asked twice within one moment, the queue gives the last again as
    /// [`Source::Chunk`]. Fails before the first chunk, and, where so configured, when nothing is meant for now.
    pub fn pop(&mut self, now: f64) -> Result<(Vec<f32>, Source), PolicyError> {
        check_time(now)?;
        let moment = self.moment(now);
        let later = self.slots.split_off(&moment);
        self.counts.skipped += self.slots.len() as u64;
        self.slots = later;
        if let Some(slot) = self.slots.remove(&moment) {
            self.next = moment + 1;
            self.counts.given += 1;
            self.last = Some(slot.action.clone());
            return Ok((slot.action, Source::Chunk));
        }
        let again = moment < self.next;
        match (&self.last, self.config.starvation) {
            (Some(last), _) if again => Ok((last.clone(), Source::Chunk)),
            (Some(last), Starvation::Hold) => {
                self.counts.starved += 1;
                Ok((last.clone(), Source::Held))
            }
            _ => {
                self.counts.starved += 1;
                Err(PolicyError::Other(format!(
                    "no action is meant for {now:.3} s: the policy is slower than its chunks are long; lengthen the chunks or the period"
                )))
            }
        }
    }

    /// Actions meant for now or later.
    pub fn remaining(&self, now: f64) -> usize {
        self.slots.range(self.moment(now)..).count()
    }

    /// Whether it is time for a new look.
    pub fn needs_chunk(&self, now: f64) -> bool {
        self.remaining(now) <= self.config.refill
    }

    /// Whether no chunk has arrived since the start or [`ChunkQueue::clear`].
    pub fn is_new(&self) -> bool {
        self.origin.is_none()
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Forgets all actions, at the start of an episode; counts go on.
    pub fn clear(&mut self) {
        self.origin = None;
        self.slots.clear();
        self.next = i64::MIN;
        self.last = None;
    }

    /// The moment nearest to a time.
    fn moment(&self, time: f64) -> i64 {
        let origin = self.origin.unwrap_or(time);
        ((time - origin) / self.config.period).round() as i64
    }
}

impl Slot {
    fn blend(&mut self, new: &[f32], blend: Blend) {
        self.voices += 1;
        let share = match blend {
            Blend::Newest => 1.0,
            Blend::Mean => 1.0 / f64::from(self.voices),
            Blend::Weighted { share } => share,
        };
        for (a, &n) in self.action.iter_mut().zip(new) {
            *a = ((1.0 - share) * f64::from(*a) + share * f64::from(n)) as f32;
        }
    }
}

fn check_time(time: f64) -> Result<(), PolicyError> {
    if time.is_finite() {
        return Ok(());
    }
    Err(PolicyError::Other(
        "a time that is not a number reached the chunk queue".into(),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queue(blend: Blend, starvation: Starvation) -> ChunkQueue {
        let config = ChunkQueueConfig {
            period: 0.1,
            blend,
            starvation,
            refill: 2,
        };
        ChunkQueue::new(config, 1).unwrap()
    }

    #[test]
    fn late_chunks_lose_their_head_and_overlaps_blend() {
        let mut queue = queue(Blend::Weighted { share: 0.75 }, Starvation::Fail);
        assert!(queue.pop(5.0).is_err(), "nothing has arrived");
        assert_eq!(queue.push(&[0.0, 1.0, 2.0, 3.0], 5.0, 5.0).unwrap(), 4);
        assert_eq!(queue.pop(5.0).unwrap(), (vec![0.0], Source::Chunk));
        assert_eq!(queue.pop(5.04).unwrap().0, [0.0], "the same moment still");
        // Seen at 5.1, arrives at 5.2: its first action is stale.
        assert_eq!(queue.pop(5.1).unwrap().0, [1.0]);
        assert_eq!(queue.push(&[90.0, 4.0, 5.0, 6.0], 5.1, 5.2).unwrap(), 3);
        assert_eq!(queue.pop(5.2).unwrap().0, [0.25 * 2.0 + 0.75 * 4.0]);
        assert_eq!(queue.remaining(5.3), 2);
        assert!(queue.needs_chunk(5.3));
        assert_eq!(queue.pop(5.4).unwrap().0, [6.0]);
        let error = queue.pop(5.5).unwrap_err().to_string();
        assert!(error.contains("no action is meant for 5.500 s"), "{error}");
        let counts = Counts {
            given: 4,
            starved: 2,
            stale: 1,
            skipped: 1,
        };
        assert_eq!(queue.counts(), counts);
    }

    #[test]
    fn a_starving_queue_holds_where_asked_to_and_says_so() {
        let mut queue = queue(Blend::Newest, Starvation::Hold);
        queue.push(&[0.5], 0.0, 0.0).unwrap();
        assert_eq!(queue.pop(0.0).unwrap(), (vec![0.5], Source::Chunk));
        assert_eq!(queue.pop(0.1).unwrap(), (vec![0.5], Source::Held));
        // Wholly stale: nothing of it is used.
        assert_eq!(queue.push(&[1.0, 1.0], 0.0, 0.3).unwrap(), 0);
        assert_eq!(queue.pop(0.3).unwrap().1, Source::Held);
        queue.clear();
        assert!(queue.is_new() && queue.pop(0.4).is_err());
    }

    #[test]
    fn what_is_no_action_and_no_time_is_refused() {
        let mut queue = queue(Blend::Newest, Starvation::Hold);
        assert!(queue.push(&[f32::NAN], 0.0, 0.0).is_err());
        assert!(queue.push(&[], 0.0, 0.0).is_err());
        assert!(queue.push(&[0.0], f64::NAN, 0.0).is_err());
        assert!(queue.pop(f64::INFINITY).is_err());
        let config = ChunkQueueConfig {
            period: 0.0,
            ..ChunkQueueConfig::default()
        };
        assert!(ChunkQueue::new(config, 1).is_err());
    }

    /// Chunks by when they were seen, how long they took and how long they are.
    fn chunks() -> impl Strategy<Value = Vec<(i64, i64, usize)>> {
        prop::collection::vec((0i64..30, 0i64..12, 1usize..15), 1..20)
    }

    proptest! {
        /// Every action given was meant for its moment, by the chunks that had arrived, blended as asked.
        #[test]
        fn an_action_is_given_at_its_moment_only(chunks in chunks(), jitter in -0.04f64..0.04) {
            for blend in [Blend::Newest, Blend::Mean] {
                let mut queue = queue(blend, Starvation::Fail);
                // The first chunk sets the clock.
                queue.push(&[0.0], 0.0, 0.0).unwrap();
                let mut arrivals: Vec<_> = chunks.iter().enumerate().map(|(n, &(seen, took, length))| (seen + took, n, seen, length)).collect();
                arrivals.sort_unstable();
                for now in 0..60i64 {
                    let time = now as f64 * 0.1 + jitter;
                    for &(_, n, seen, length) in arrivals.iter().filter(|a| a.0 == now) {
                        // The number of the chunk in thousands, and the moment.
                        let actions: Vec<f32> = (0..length as i64).map(|j| (1000 * n as i64 + seen + j) as f32).collect();
                        let used = queue.push(&actions, seen as f64 * 0.1, time).unwrap();
                        prop_assert_eq!(used as i64, (seen + length as i64 - now).clamp(0, length as i64));
                    }
                    let mut voices: Vec<usize> = arrivals.iter().filter(|a| a.0 <= now && a.2 <= now && now < a.2 + a.3 as i64).map(|a| a.1).collect();
                    if blend == Blend::Newest {
                        voices = voices.pop().into_iter().collect();
                    }
                    let given = queue.pop(time);
                    if voices.is_empty() && now > 0 {
                        prop_assert!(given.is_err());
                    } else if now > 0 {
                        let mean = voices.iter().map(|&n| 1000.0 * n as f64).sum::<f64>() / voices.len() as f64 + now as f64;
                        prop_assert!((f64::from(given.unwrap().0[0]) - mean).abs() < 0.05);
                    }
                }
                let counts = queue.counts();
                prop_assert_eq!(counts.skipped, 0);
                prop_assert_eq!(counts.given + counts.starved, 60);
            }
        }

        /// However chunks overlap, no action leaves the range of what was predicted.
        #[test]
        fn a_blend_stays_between_what_it_is_made_of(chunks in chunks(), share in 0.0f64..=1.0, stride in 1i64..4) {
            let mut queue = queue(Blend::Weighted { share }, Starvation::Hold);
            let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
            for (n, &(seen, took, length)) in chunks.iter().enumerate() {
                let now = (n as i64 * stride).max(seen + took);
                let value = (n as f32 * 0.7).sin();
                (low, high) = (low.min(value), high.max(value));
                queue.push(&vec![value; length], seen as f64 * 0.1, now as f64 * 0.1).unwrap();
                if let Ok((action, _)) = queue.pop(now as f64 * 0.1) {
                    prop_assert!(action[0] >= low - 1e-6 && action[0] <= high + 1e-6);
                }
            }
        }
    }
}
