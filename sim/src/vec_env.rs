//! Many environments side by side.

use image::RgbImage;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::env::{Env, EnvConfig, EnvError};
use crate::scene::Scene;
use crate::tasks;
use crate::world::WorldError;

/// What a step of all environments led to. Row `i` belongs to environment `i`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Scaled observations to act on next, `[n, observation_len]`: of the new episode where one ended.
    pub observations: Vec<f32>,
    /// Scaled observations that the actions led to, `[n, observation_len]`: of the old episode where one ended.
    pub next_observations: Vec<f32>,
    /// Ground-truth rewards, `[n]`.
    pub rewards: Vec<f64>,
    /// Whether the task is done, `[n]`.
    pub successes: Vec<bool>,
    /// Whether nothing can follow, `[n]`.
    pub terminated: Vec<bool>,
    /// Whether the episode's time is over, `[n]`.
    pub truncated: Vec<bool>,
    /// Whether the simulation came apart, `[n]`. Such a row holds no result: the environment was reset, and the step, whose
    /// `next_observations` repeat the new episode's first, must not be used.
    pub diverged: Vec<bool>,
}

impl Batch {
    /// Whether an episode of environment `i` ended with this step, in whatever way.
    pub fn ended(&self, i: usize) -> bool {
        self.terminated[i] || self.truncated[i] || self.diverged[i]
    }
}

/// One environment and where its episodes come from.
struct Lane {
    env: Env,
    seeds: ChaCha8Rng,
}

/// What one lane returns.
struct Outcome {
    observation: Vec<f32>,
    next_observation: Vec<f32>,
    reward: f64,
    success: bool,
    terminated: bool,
    truncated: bool,
    diverged: bool,
}

/// Environments of one task over one shared model, stepped by a pool of threads. Each begins a new episode by itself when
/// one ends. The results do not depend on the number of threads, bit for bit.
pub struct VecEnv {
    lanes: Vec<Lane>,
    pool: ThreadPool,
}

impl std::fmt::Debug for VecEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VecEnv")
            .field("len", &self.lanes.len())
            .field("threads", &self.pool.current_num_threads())
            .finish_non_exhaustive()
    }
}

impl VecEnv {
    /// `count` environments of a task on `threads` threads; 0 threads: as many as the machine has. Call
    /// [`VecEnv::reset`] before the first step.
    ///
    /// Errors: as [`Env::new`]; [`EnvError::Config`] for no environments, or when the system gives no threads.
    pub fn new(
        task: &str,
        config: &EnvConfig,
        count: usize,
        threads: usize,
    ) -> Result<Self, EnvError> {
        if count == 0 {
            return Err(EnvError::Config("count must be above 0".into()));
        }
        let task = tasks::by_name(task)?;
        let scene = Scene::new(task.scene())?;
        let lanes = (0..count)
            .map(|_| {
                Ok(Lane {
                    env: Env::with_scene(task.clone(), scene.clone(), config.clone())?,
                    seeds: ChaCha8Rng::seed_from_u64(0),
                })
            })
            .collect::<Result<Vec<_>, EnvError>>()?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("env-{i}"))
            .build()
            .map_err(|error| EnvError::Config(error.to_string()))?;
        Ok(Self { lanes, pool })
    }

    /// Number of environments, at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Length of one action.
    pub fn action_len(&self) -> usize {
        self.lanes[0].env.action_len()
    }

    /// Length of one scaled observation.
    pub fn observation_len(&self) -> usize {
        self.lanes[0].env.observation_len()
    }

    /// One environment.
    pub fn env(&self, i: usize) -> Option<&Env> {
        self.lanes.get(i).map(|lane| &lane.env)
    }

    /// Begins an episode everywhere; returns the scaled observations, `[n, observation_len]`. Environment `i` draws the
    /// seeds of this and all later episodes from stream `i` of `seed`.
    ///
    /// Errors: [`EnvError::World`].
    pub fn reset(&mut self, seed: u64) -> Result<Vec<f32>, EnvError> {
        let lanes = &mut self.lanes;
        let rows: Vec<Vec<f32>> = self.pool.install(|| {
            lanes
                .par_iter_mut()
                .enumerate()
                .map(|(i, lane)| {
                    lane.seeds = ChaCha8Rng::seed_from_u64(seed);
                    lane.seeds.set_stream(i as u64);
                    lane.begin()
                })
                .collect::<Result<_, EnvError>>()
        })?;
        Ok(rows.concat())
    }

    /// Takes one action everywhere, `[n, action_len]`, components in `-1..=1`.
    ///
    /// Errors: [`EnvError::Action`] for actions that do not fit. A simulation that comes apart is reported in
    /// [`Batch::diverged`] and does not disturb the others.
    pub fn step(&mut self, actions: &[f32]) -> Result<Batch, EnvError> {
        let action_len = self.action_len();
        if actions.len() != self.len() * action_len {
            return Err(EnvError::Config(format!(
                "{} environments need {} x {action_len} action components, there are {}",
                self.len(),
                self.len(),
                actions.len()
            )));
        }
        let lanes = &mut self.lanes;
        let outcomes: Vec<Outcome> = self.pool.install(|| {
            lanes
                .par_iter_mut()
                .zip(actions.par_chunks(action_len))
                .map(|(lane, action)| lane.step(action))
                .collect::<Result<_, EnvError>>()
        })?;
        let mut batch = Batch::default();
        for outcome in outcomes {
            batch.observations.extend(outcome.observation);
            batch.next_observations.extend(outcome.next_observation);
            batch.rewards.push(outcome.reward);
            batch.successes.push(outcome.success);
            batch.terminated.push(outcome.terminated);
            batch.truncated.push(outcome.truncated);
            batch.diverged.push(outcome.diverged);
        }
        Ok(batch)
    }

    /// What the cameras of this name see now, one picture per environment.
    ///
    /// Errors: as [`Env::render`].
    pub fn render(&mut self, camera: &str) -> Result<Vec<RgbImage>, EnvError> {
        let lanes = &mut self.lanes;
        self.pool.install(|| {
            lanes
                .par_iter_mut()
                .map(|lane| lane.env.render(camera))
                .collect()
        })
    }
}

impl Lane {
    fn begin(&mut self) -> Result<Vec<f32>, EnvError> {
        let seed = self.seeds.next_u64();
        Ok(self.env.reset(seed)?.to_vec())
    }

    fn step(&mut self, action: &[f32]) -> Result<Outcome, EnvError> {
        let step = match self.env.step(action) {
            Ok(step) => step,
            Err(EnvError::World(WorldError::Diverged { .. })) => {
                let observation = self.begin()?;
                return Ok(Outcome {
                    next_observation: observation.clone(),
                    observation,
                    reward: 0.0,
                    success: false,
                    terminated: false,
                    truncated: false,
                    diverged: true,
                });
            }
            Err(error) => return Err(error),
        };
        let next_observation = step.observation.to_vec();
        let observation = if step.terminated || step.truncated {
            self.begin()?
        } else {
            next_observation.clone()
        };
        Ok(Outcome {
            observation,
            next_observation,
            reward: step.reward,
            success: step.success,
            terminated: step.terminated,
            truncated: step.truncated,
            diverged: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short() -> EnvConfig {
        EnvConfig {
            max_steps: Some(7),
            image_width: 24,
            image_height: 16,
            ..EnvConfig::default()
        }
    }

    fn actions(n: usize, t: usize) -> Vec<f32> {
        (0..n * 2)
            .map(|k| ((k * 7 + t * 3) as f32 * 0.37).sin())
            .collect()
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let run = |threads: usize| {
            let mut envs = VecEnv::new("so101-push", &short(), 5, threads).unwrap();
            let mut all = vec![envs.reset(9).unwrap()];
            for t in 0..16 {
                let batch = envs.step(&actions(5, t)).unwrap();
                all.push(batch.observations);
                all.push(batch.next_observations);
                all.push(batch.rewards.iter().map(|&r| r as f32).collect());
            }
            let pictures = envs.render("front").unwrap();
            (all, pictures)
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(4));
    }

    #[test]
    fn a_lane_is_the_environment_it_would_be_alone() {
        let mut envs = VecEnv::new("so101-push", &short(), 3, 2).unwrap();
        let first = envs.reset(4).unwrap();
        let mut seeds = ChaCha8Rng::seed_from_u64(4);
        seeds.set_stream(2);
        let mut alone = Env::new("so101-push", short()).unwrap();
        let length = envs.observation_len();
        let expected = alone.reset(seeds.next_u64()).unwrap();
        assert_eq!(&first[2 * length..], expected.scaled());
        let batch = envs.step(&actions(3, 0)).unwrap();
        let step = alone.step(&actions(3, 0)[4..]).unwrap();
        assert_eq!(&batch.observations[2 * length..], step.observation.scaled());
        assert_eq!(batch.rewards[2], step.reward);
    }

    #[test]
    fn an_ended_episode_gives_its_last_observation_and_the_next_ones_first() {
        let mut envs = VecEnv::new("so101-push", &short(), 2, 1).unwrap();
        envs.reset(0).unwrap();
        for t in 1..=15 {
            let batch = envs.step(&actions(2, t)).unwrap();
            for i in 0..2 {
                assert_eq!(batch.ended(i), t % 7 == 0);
                assert_eq!(batch.truncated[i], t % 7 == 0);
            }
            assert_eq!(batch.observations == batch.next_observations, t % 7 != 0);
        }
    }

    #[test]
    fn a_world_that_comes_apart_is_marked_and_replaced() {
        let mut envs = VecEnv::new("so101-push", &short(), 3, 2).unwrap();
        envs.reset(0).unwrap();
        envs.env(1).unwrap().world().shatter();
        let batch = envs.step(&actions(3, 0)).unwrap();
        assert_eq!(batch.diverged, [false, true, false]);
        assert!(batch.ended(1));
        assert!(batch.observations.iter().all(|value| value.is_finite()));
        let batch = envs.step(&actions(3, 1)).unwrap();
        assert_eq!(batch.diverged, [false; 3]);
    }

    #[test]
    fn the_wrong_number_of_actions_is_refused() {
        let mut envs = VecEnv::new("so101-push", &short(), 2, 1).unwrap();
        envs.reset(0).unwrap();
        assert!(envs.step(&[0.0; 3]).is_err());
        assert!(VecEnv::new("so101-push", &short(), 0, 1).is_err());
    }
}
