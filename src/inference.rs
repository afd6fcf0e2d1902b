//! When a policy on an arm thinks: between two ticks, or ahead on a thread of its own.

use std::collections::VecDeque;

use rapport::policy::chunk_queue::{Asynchronous, Blend, Counts, Starvation, Worker};
use rapport::policy::{ChunkQueue, ChunkQueueConfig, Mode, Policy};
use serde::{Deserialize, Serialize};

use crate::cli::Usage;

/// When a policy thinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Ahead, if it thinks in chunks of actions; else in between.
    #[default]
    Auto,
    /// Between two ticks: right for what takes microseconds.
    Sync,
    /// Ahead, on a thread of its own: the arm never waits, and each action has its moment.
    Async,
}

/// A policy that is asked for one action after another, at its times.
pub enum Inference {
    /// Thinks when asked.
    Sync(Box<dyn Policy>),
    /// Has thought before.
    Async(Box<Ahead>),
}

/// Actions that were thought of before they are needed.
pub struct Ahead {
    actions: Asynchronous,
    /// The newest observations, oldest first.
    recent: VecDeque<Vec<f32>>,
    looks: usize,
}

impl Inference {
    /// For decisions `period` seconds apart.
    pub fn new(policy: Box<dyn Policy>, when: When, period: f64) -> anyhow::Result<Self> {
        let length = policy.chunk_len();
        match when {
            When::Auto if length > 1 => Self::ahead(policy, period),
            When::Async if length == 1 => Err(Usage(
                "this policy gives one action a look, which is over before it could be thought of ahead; use --inference sync".into(),
            )
            .into()),
            When::Async => Self::ahead(policy, period),
            When::Auto | When::Sync => Ok(Self::Sync(policy)),
        }
    }

    fn ahead(mut policy: Box<dyn Policy>, period: f64) -> anyhow::Result<Self> {
        let (looks, width) = (policy.looks(), policy.observation_dim());
        let config = ChunkQueueConfig {
            period,
            // What was seen last counts most, and no action jumps.
            blend: Blend::Weighted { share: 0.7 },
            starvation: Starvation::Hold,
            refill: policy.chunk_len() / 2,
        };
        let queue = ChunkQueue::new(config, policy.action_dim())?;
        let worker = Worker::spawn(move |seen| {
            let recent: Vec<&[f32]> = seen.chunks_exact(width).collect();
            policy.chunk(&recent)
        })?;
        Ok(Self::Async(Box::new(Ahead {
            actions: Asynchronous::new(queue, worker),
            recent: VecDeque::new(),
            looks,
        })))
    }

    /// At the start of an episode.
    pub fn reset(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Sync(policy) => policy.reset(),
            Self::Async(ahead) => {
                ahead.recent.clear();
                ahead.actions.reset()?;
            }
        }
        Ok(())
    }

    /// The action for the moment `now`, in seconds of the arm's time grid, at which this was observed.
    pub fn act(&mut self, observation: Vec<f32>, now: f64) -> anyhow::Result<Vec<f32>> {
        match self {
            Self::Sync(policy) => Ok(policy.act(&observation, Mode::Exploit)?),
            Self::Async(ahead) => {
                if ahead.recent.len() == ahead.looks {
                    ahead.recent.pop_front();
                }
                ahead.recent.push_back(observation);
                let seen = ahead.recent.make_contiguous().concat();
                Ok(ahead.actions.act(&seen, now)?.0)
            }
        }
    }

    /// How often an action was in time, where the policy thinks ahead.
    pub fn counts(&self) -> Option<Counts> {
        match self {
            Self::Sync(_) => None,
            Self::Async(ahead) => Some(ahead.actions.queue().counts()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rapport::policy::PolicyError;

    use super::*;

    /// Says when it looked last, and how many looks back it was shown.
    struct Slow {
        think: Duration,
    }

    impl Policy for Slow {
        fn observation_dim(&self) -> usize {
            1
        }

        fn action_dim(&self) -> usize {
            2
        }

        fn act(&mut self, observation: &[f32], _: Mode) -> Result<Vec<f32>, PolicyError> {
            Ok(vec![observation[0], 1.0])
        }

        fn looks(&self) -> usize {
            3
        }

        fn chunk_len(&self) -> usize {
            8
        }

        fn chunk(&mut self, recent: &[&[f32]]) -> Result<Vec<f32>, PolicyError> {
            std::thread::sleep(self.think);
            let newest = recent[recent.len() - 1][0];
            Ok((0..8)
                .flat_map(|ahead| [newest + ahead as f32, recent.len() as f32])
                .collect())
        }
    }

    #[test]
    fn a_slow_policy_thinks_ahead_and_its_actions_keep_their_moments() {
        let slow = |think| -> Box<dyn Policy> { Box::new(Slow { think }) };
        let period = 0.01;
        let mut ahead =
            Inference::new(slow(Duration::from_millis(15)), When::Auto, period).unwrap();
        for episode in 0..2 {
            ahead.reset().unwrap();
            for moment in 0..40 {
                let now = f64::from(moment) * period;
                let begin = std::time::Instant::now();
                let action = ahead.act(vec![moment as f32], now).unwrap();
                // Actions are moments: whoever looked when, this is the one meant for now.
                assert!(
                    (action[0] - moment as f32).abs() < 1e-3,
                    "{episode}: {action:?}"
                );
                std::thread::sleep(Duration::from_millis(10).saturating_sub(begin.elapsed()));
            }
            // By now it is shown as many looks as it asked for.
            assert_eq!(ahead.act(vec![40.0], 0.4).unwrap()[1], 3.0);
        }
        let counts = ahead.counts().unwrap();
        assert!(counts.given >= 82 && counts.stale > 0, "{counts:?}");

        struct OneByOne;
        impl Policy for OneByOne {
            fn observation_dim(&self) -> usize {
                1
            }

            fn action_dim(&self) -> usize {
                1
            }

            fn act(&mut self, observation: &[f32], _: Mode) -> Result<Vec<f32>, PolicyError> {
                Ok(observation.to_vec())
            }
        }
        assert!(Inference::new(Box::new(OneByOne), When::Async, period).is_err());

        let mut sync = Inference::new(slow(Duration::ZERO), When::Sync, period).unwrap();
        assert_eq!(sync.act(vec![7.0], 0.0).unwrap(), [7.0, 1.0]);
        assert!(sync.counts().is_none());
    }
}
