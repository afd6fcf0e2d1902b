//! Many environments side by side.

use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use image::RgbImage;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::crew::Crew;
use crate::env::{EnvConfig, EnvError};
use crate::environment::{self, Description, Environment, Outcome};
use crate::world::WorldError;

/// What a step of all environments led to. Row `i` belongs to environment `i`. Steps write into it in place: make one and
/// keep it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Observations to act on next, SI units, `[n, observation_len]`: of the new episode where one ended.
    pub observations: Vec<f64>,
    /// Observations that the actions led to, `[n, observation_len]`: of the old episode where one ended.
    pub next_observations: Vec<f64>,
    /// What the steps led to, `[n]`.
    pub outcomes: Vec<Outcome>,
    /// Whether the simulation came apart, `[n]`. Such a row holds no result: the environment was reset, and the step, whose
    /// `next_observations` repeat the new episode's first, must not be used.
    pub diverged: Vec<bool>,
}

impl Batch {
    /// Whether an episode of environment `i` ended with this step, in whatever way.
    pub fn ended(&self, i: usize) -> bool {
        self.outcomes[i].terminated || self.outcomes[i].truncated || self.diverged[i]
    }
}

/// One environment and where its episodes come from.
struct Lane {
    env: Box<dyn Environment>,
    seeds: ChaCha8Rng,
    picture: RgbImage,
}

/// Environments of one kind over one shared model, stepped by a pool of threads. Each begins a new episode by itself when
/// one ends. The results do not depend on the number of threads, bit for bit.
pub struct VecEnv {
    lanes: Vec<Lane>,
    crew: Crew,
    stepping: Effort,
    drawing: Effort,
}

impl std::fmt::Debug for VecEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VecEnv")
            .field("len", &self.lanes.len())
            .field("threads", &self.crew.len())
            .finish_non_exhaustive()
    }
}

impl VecEnv {
    /// `count` environments called `name` on `threads` threads; 0 threads: as many as the machine has. Call
    /// [`VecEnv::reset`] before the first step.
    ///
    /// Errors: as [`environment::make`]; [`EnvError::Config`] for no environments, or when the system gives no threads.
    pub fn new(
        name: &str,
        config: &EnvConfig,
        count: usize,
        threads: usize,
    ) -> Result<Self, EnvError> {
        let maker = environment::Maker::new(name, config)?;
        Self::from_maker(&maker, count, threads)
    }

    /// As [`VecEnv::new`], from a maker that has compiled the model already.
    ///
    /// Errors: as [`VecEnv::new`].
    pub fn from_maker(
        maker: &environment::Maker,
        count: usize,
        threads: usize,
    ) -> Result<Self, EnvError> {
        let Some(count) = NonZero::new(count) else {
            return Err(EnvError::Config("count must be above 0".into()));
        };
        let lanes = (0..count.get())
            .map(|_| {
                Ok(Lane {
                    env: maker.make()?,
                    seeds: ChaCha8Rng::seed_from_u64(0),
                    picture: RgbImage::new(0, 0),
                })
            })
            .collect::<Result<Vec<_>, EnvError>>()?;
        let description = lanes[0].env.description();
        if description.observation_len() == 0 {
            return Err(EnvError::Config(format!(
                "{} has nothing to observe",
                description.name
            )));
        }
        let threads = match NonZero::new(threads) {
            Some(threads) => threads,
            None => std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
        };
        Ok(Self {
            lanes,
            crew: Crew::new(threads).map_err(|error| EnvError::Config(error.to_string()))?,
            stepping: Effort::default(),
            drawing: Effort::default(),
        })
    }

    /// Number of environments, at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// What the environments are.
    pub fn description(&self) -> &Description {
        self.lanes[0].env.description()
    }

    /// Length of one action.
    pub fn action_len(&self) -> usize {
        self.description().action_len()
    }

    /// Length of one observation.
    pub fn observation_len(&self) -> usize {
        self.description().observation_len()
    }

    /// One environment.
    pub fn env(&self, i: usize) -> Option<&dyn Environment> {
        self.lanes.get(i).map(|lane| &*lane.env)
    }

    /// One environment, to save it, to put it back to a saved state, or to change it.
    pub fn env_mut(&mut self, i: usize) -> Option<&mut Box<dyn Environment>> {
        self.lanes.get_mut(i).map(|lane| &mut lane.env)
    }

    /// A batch with room for the results of a step.
    pub fn batch(&self) -> Batch {
        let (n, width) = (self.len(), self.observation_len());
        Batch {
            observations: vec![0.0; n * width],
            next_observations: vec![0.0; n * width],
            outcomes: vec![Outcome::default(); n],
            diverged: vec![false; n],
        }
    }

    /// Begins an episode everywhere; returns a batch whose `observations` are the first ones. Environment `i` draws the
    /// seeds of this and all later episodes from stream `i` of `seed`.
    ///
    /// Errors: [`EnvError::World`].
    pub fn reset(&mut self, seed: u64) -> Result<Batch, EnvError> {
        let mut batch = self.batch();
        let width = self.observation_len();
        let work = self
            .lanes
            .iter_mut()
            .zip(batch.observations.chunks_mut(width))
            .enumerate();
        // A reset may compile a model: never too little work to share.
        let effort = &mut Effort::default();
        effort.spread(&mut self.crew, work, |(i, (lane, row))| {
            lane.seeds = ChaCha8Rng::seed_from_u64(seed);
            lane.seeds.set_stream(i as u64);
            lane.begin(row)
        })?;
        batch.next_observations.copy_from_slice(&batch.observations);
        Ok(batch)
    }

    /// Takes one action everywhere, `[n, action_len]`, and writes what came of it into `batch`.
    ///
    /// Errors: [`EnvError::Action`] for actions that do not fit, [`EnvError::Config`] for the wrong number of them or for a
    /// batch of another size. A simulation that comes apart is reported in [`Batch::diverged`] and does not disturb the
    /// others.
    pub fn step(&mut self, actions: &[f64], batch: &mut Batch) -> Result<(), EnvError> {
        let (n, action_len, width) = (self.len(), self.action_len(), self.observation_len());
        if actions.len() != n * action_len {
            return Err(EnvError::Config(format!(
                "{n} environments need {n} x {action_len} action components, there are {}",
                actions.len()
            )));
        }
        if batch.outcomes.len() != n || batch.observations.len() != n * width {
            return Err(EnvError::Config(
                "the batch is of other environments".into(),
            ));
        }
        let work = self
            .lanes
            .iter_mut()
            .zip(actions.chunks(action_len.max(1)))
            .zip(batch.observations.chunks_mut(width))
            .zip(batch.next_observations.chunks_mut(width))
            .zip(batch.outcomes.iter_mut())
            .zip(batch.diverged.iter_mut());
        self.stepping.spread(
            &mut self.crew,
            work,
            |(((((lane, action), now), next), outcome), diverged)| {
                (*outcome, *diverged) = lane.step(action, now, next)?;
                Ok(())
            },
        )
    }

    /// What the cameras of this name see now, `(width, height)` pixels each, 8-bit RGB, written into `out`,
    /// `[n, height, width, 3]`.
    ///
    /// Errors: as [`Environment::render`]; [`EnvError::Config`] where `out` has another length.
    pub fn render(
        &mut self,
        camera: &str,
        (width, height): (u32, u32),
        out: &mut [u8],
    ) -> Result<(), EnvError> {
        let size = 3 * width as usize * height as usize;
        if size == 0 || out.len() != size * self.len() {
            return Err(EnvError::Config(format!(
                "{} pictures of {width} x {height} need {} bytes, there are {}",
                self.len(),
                size * self.len(),
                out.len()
            )));
        }
        let work = self.lanes.iter_mut().zip(out.chunks_mut(size));
        self.drawing.spread(&mut self.crew, work, |(lane, row)| {
            if lane.picture.dimensions() != (width, height) {
                lane.picture = RgbImage::new(width, height);
            }
            lane.env.render(camera, &mut lane.picture)?;
            row.copy_from_slice(&lane.picture);
            Ok(())
        })
    }
}

/// How long one kind of work takes, by which it is shared out or not.
#[derive(Debug, Default)]
struct Effort {
    /// One environment's, lately; none before the first time.
    each: Option<Duration>,
}

impl Effort {
    /// Work that is done sooner is not worth the telling: handing it over and hearing of its end takes about so long.
    const LEAST: Duration = Duration::from_micros(10);

    /// Does the work of all environments. Each thread begins with its own, always the same ones, so that their state stays in
    /// that core's cache, and then takes what others have left, from their end. Very little work is done by the caller alone.
    fn spread<W: Send>(
        &mut self,
        crew: &mut Crew,
        mut work: impl ExactSizeIterator<Item = W>,
        each: impl Fn(W) -> Result<(), EnvError> + Sync,
    ) -> Result<(), EnvError> {
        let (count, threads) = (work.len(), crew.len());
        let alone = self
            .each
            .is_some_and(|each| each * (count as u32) < Self::LEAST);
        if alone || threads == 1 {
            let began = Instant::now();
            let done = work.try_for_each(each);
            self.note(began.elapsed(), count);
            return done;
        }
        let lanes: Vec<Mutex<Option<W>>> = work.map(|lane| Mutex::new(Some(lane))).collect();
        let (failed, own) = (Mutex::new(None), Mutex::new((Duration::ZERO, 0)));
        let share = count.div_ceil(threads);
        crew.run(&|thread| {
            let (began, mut done) = (Instant::now(), 0);
            let first = thread * share;
            let others = (0..count).rev().filter(|i| i / share != thread);
            for i in (first..count.min(first + share)).chain(others) {
                let Some(lane) = lock(&lanes[i]).take() else {
                    continue;
                };
                done += 1;
                if let Err(error) = each(lane) {
                    lock(&failed).get_or_insert(error);
                }
            }
            if thread == 0 {
                *lock(&own) = (began.elapsed(), done);
            }
        });
        let (time, done) = *lock(&own);
        self.note(time, done);
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(()), Err)
    }

    fn note(&mut self, time: Duration, count: usize) {
        if count > 0 {
            let each = time / count as u32;
            self.each = Some(self.each.map_or(each, |lately| (7 * lately + each) / 8));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    /// Takes an action; writes what comes next into `now` and what came of the action into `next`.
    fn step(
        &mut self,
        action: &[f64],
        now: &mut [f64],
        next: &mut [f64],
    ) -> Result<(Outcome, bool), EnvError> {
        match self.env.step(action) {
            Ok(outcome) => {
                self.env.observe(next);
                if outcome.terminated || outcome.truncated {
                    self.begin(now)?;
                } else {
                    now.copy_from_slice(next);
                }
                Ok((outcome, false))
            }
            Err(EnvError::World(WorldError::Diverged { .. })) => {
                self.begin(now)?;
                next.copy_from_slice(now);
                Ok((Outcome::default(), true))
            }
            Err(error) => Err(error),
        }
    }

    fn begin(&mut self, observation: &mut [f64]) -> Result<(), EnvError> {
        let seed = self.seeds.next_u64();
        self.env.reset(seed)?;
        self.env.observe(observation);
        Ok(())
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

    fn actions(n: usize, t: usize) -> Vec<f64> {
        (0..n * 2)
            .map(|k| ((k * 7 + t * 3) as f64 * 0.37).sin())
            .collect()
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let run = |threads: usize| {
            let mut envs = VecEnv::new("so101-push", &short(), 5, threads).unwrap();
            let mut batch = envs.reset(9).unwrap();
            let mut all = vec![batch.clone()];
            for t in 0..16 {
                envs.step(&actions(5, t), &mut batch).unwrap();
                all.push(batch.clone());
            }
            let mut pictures = vec![0; 5 * 24 * 16 * 3];
            envs.render("front", (24, 16), &mut pictures).unwrap();
            (all, pictures)
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(4));
    }

    #[test]
    fn a_lane_is_the_environment_it_would_be_alone() {
        let mut envs = VecEnv::new("so101-push", &short(), 3, 2).unwrap();
        let mut batch = envs.reset(4).unwrap();
        let mut seeds = ChaCha8Rng::seed_from_u64(4);
        seeds.set_stream(2);
        let mut alone = environment::make("so101-push", &short()).unwrap();
        let length = envs.observation_len();
        let mut expected = vec![0.0; length];
        alone.reset(seeds.next_u64()).unwrap();
        alone.observe(&mut expected);
        assert_eq!(batch.observations[2 * length..], expected);
        envs.step(&actions(3, 0), &mut batch).unwrap();
        let outcome = alone.step(&actions(3, 0)[4..]).unwrap();
        alone.observe(&mut expected);
        assert_eq!(batch.observations[2 * length..], expected);
        assert_eq!(batch.outcomes[2], outcome);
    }

    #[test]
    fn an_ended_episode_gives_its_last_observation_and_the_next_ones_first() {
        let mut envs = VecEnv::new("so101-push", &short(), 2, 1).unwrap();
        let mut batch = envs.reset(0).unwrap();
        for t in 1..=15 {
            envs.step(&actions(2, t), &mut batch).unwrap();
            for i in 0..2 {
                assert_eq!(batch.ended(i), t % 7 == 0);
                assert_eq!(batch.outcomes[i].truncated, t % 7 == 0);
            }
            assert_eq!(batch.observations == batch.next_observations, t % 7 != 0);
        }
    }

    #[test]
    fn a_world_that_comes_apart_is_marked_and_replaced() {
        let mut envs = VecEnv::new("so101-push", &short(), 3, 2).unwrap();
        let mut batch = envs.reset(0).unwrap();
        let env: &dyn std::any::Any = envs.env(1).unwrap();
        env.downcast_ref::<crate::Env>().unwrap().world().shatter();
        envs.step(&actions(3, 0), &mut batch).unwrap();
        assert_eq!(batch.diverged, [false, true, false]);
        assert!(batch.ended(1));
        assert!(batch.observations.iter().all(|value| value.is_finite()));
        envs.step(&actions(3, 1), &mut batch).unwrap();
        assert_eq!(batch.diverged, [false; 3]);
    }

    #[test]
    fn the_wrong_number_of_actions_or_bytes_is_refused() {
        let mut envs = VecEnv::new("so101-push", &short(), 2, 1).unwrap();
        let mut batch = envs.reset(0).unwrap();
        assert!(envs.step(&[0.0; 3], &mut batch).is_err());
        assert!(envs.step(&[0.0; 4], &mut Batch::default()).is_err());
        assert!(envs.render("front", (8, 8), &mut [0; 7]).is_err());
        assert!(envs.render("front", (0, 8), &mut []).is_err());
        assert!(VecEnv::new("so101-push", &short(), 0, 1).is_err());
    }
}
