//! How [`Diffusion`] is fitted: chunks of demonstrations with noise put on, and a running average of the weights that acts.

use std::ops::ControlFlow;

use rand::RngExt as _;

use super::weights::{tensor, values};
use super::{Diffusion, DiffusionConfig};
use crate::checkpoint::PolicySpec;
use crate::gaussian;
use crate::policy::{Metrics, PolicyError, Transition};
use crate::replay::check_episode;
use crate::small::adam::Adam;
use crate::small::kernels;

/// What came of a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffusionReport {
    /// Gradient steps made.
    pub updates: u64,
    /// Mean squared error of the prediction over the last stretch of the fit.
    pub training_loss: f64,
}

/// Smallest half width of an action's range: an action that never changes is not divided by zero.
const REACH_FLOOR: f32 = 1e-3;

/// Demonstrations ready for the network.
struct Data {
    /// Scaled observations of all episodes, `[steps, obs_dim]`.
    observations: Vec<f32>,
    /// Actions within -1..=1, `[steps, action_dim]`.
    actions: Vec<f32>,
    /// First step and one past the last of the episode of each step.
    episode: Vec<(usize, usize)>,
    /// How much each step counts.
    weight: Vec<f32>,
}

/// What one gradient step looks at.
struct Batch {
    noisy: Vec<f32>,
    target: Vec<f32>,
    steps: Vec<usize>,
    conditions: Vec<f32>,
    weights: Vec<f32>,
}

impl Diffusion {
    /// Fits to the actions of `episodes`; rewards are not looked at. `progress` gets the number of gradient steps and the mean loss
    /// since the last call, every [`DiffusionConfig::report_every`] steps, and can stop the fit.
    pub fn fit(
        spec: PolicySpec,
        config: DiffusionConfig,
        seed: u64,
        episodes: &[Vec<Transition>],
        progress: impl FnMut(u64, &Metrics) -> ControlFlow<()>,
    ) -> Result<(Self, DiffusionReport), PolicyError> {
        let even: Vec<Vec<f32>> = episodes.iter().map(|e| vec![1.0; e.len()]).collect();
        Self::fit_weighted(spec, config, seed, episodes, &even, progress)
    }

    /// [`Diffusion::fit`] where the chunk at step `t` of episode `e` counts `weights[e][t]`, 0 or more: reward-aligned cloning
    /// takes them from progress (`rapport_reward::progress::ra_bc`).
    pub fn fit_weighted(
        spec: PolicySpec,
        config: DiffusionConfig,
        seed: u64,
        episodes: &[Vec<Transition>],
        weights: &[Vec<f32>],
        mut progress: impl FnMut(u64, &Metrics) -> ControlFlow<()>,
    ) -> Result<(Self, DiffusionReport), PolicyError> {
        let mut policy = Self::new(&spec, &config, seed)?;
        for episode in episodes {
            check_episode(episode, spec.observation_dim, spec.action_dim, 0)?;
        }
        policy.measure(episodes);
        let data = policy.prepare(episodes, weights)?;
        let mut average = policy.parameters.clone();
        let mut adam = Adam::new(config.adam.clone(), average.len());
        let mut gradient = vec![0.0; average.len()];
        let (mut stretch, mut since) = (0.0, 0);
        let mut report = DiffusionReport {
            updates: 0,
            training_loss: 0.0,
        };
        while report.updates < config.updates {
            let rate = learning_rate(&config, report.updates);
            let batch = policy.draw_batch(&data);
            stretch += policy.descend(&batch, &mut adam, &mut gradient, rate)?;
            report.updates += 1;
            since += 1;
            policy.updates = report.updates;
            let kept = 1.0 - (report.updates as f64 + 1.0).powf(-config.ema_power);
            let rate_of_average = 1.0 - kept.min(config.ema_decay);
            kernels::polyak(&mut average, &policy.parameters, rate_of_average as f32);
            if report.updates.is_multiple_of(config.report_every)
                || report.updates == config.updates
            {
                report.training_loss = stretch / since as f64;
                (stretch, since) = (0.0, 0);
                let metrics = Metrics::from([
                    ("training_loss".into(), report.training_loss),
                    ("learning_rate".into(), rate),
                ]);
                if progress(report.updates, &metrics).is_break() {
                    break;
                }
            }
        }
        policy.set_parameters(average)?;
        Ok((policy, report))
    }

    /// Mean and deviation of observations, range of actions.
    fn measure(&mut self, episodes: &[Vec<Transition>]) {
        let steps = || episodes.iter().flatten();
        steps().for_each(|step| self.normaliser.observe(&step.observation));
        self.normaliser.refresh();
        for i in 0..self.spec.action_dim {
            let of =
                |f: fn(f32, f32) -> f32, start| steps().map(|step| step.action[i]).fold(start, f);
            let (low, high) = (of(f32::min, f32::INFINITY), of(f32::max, f32::NEG_INFINITY));
            if low <= high {
                self.action_middle[i] = 0.5 * (low + high);
                self.action_reach[i] = (0.5 * (high - low)).max(REACH_FLOOR);
            }
        }
    }

    fn prepare(
        &self,
        episodes: &[Vec<Transition>],
        weights: &[Vec<f32>],
    ) -> Result<Data, PolicyError> {
        let mut data = Data {
            observations: Vec::new(),
            actions: Vec::new(),
            episode: Vec::new(),
            weight: weights.iter().flatten().copied().collect(),
        };
        for episode in episodes {
            let from = data.episode.len();
            for step in episode {
                self.normaliser
                    .append(&step.observation, &mut data.observations);
                let scales = self.action_middle.iter().zip(&self.action_reach);
                data.actions.extend(
                    step.action
                        .iter()
                        .zip(scales)
                        .map(|(a, (middle, reach))| (a - middle) / reach),
                );
                data.episode.push((from, from + episode.len()));
            }
        }
        let lengths = |count: usize, of: &dyn Fn(usize) -> usize| (0..count).map(of).sum::<usize>();
        let same = episodes.len() == weights.len()
            && episodes
                .iter()
                .zip(weights)
                .all(|(e, w)| e.len() == w.len());
        if data.episode.is_empty() {
            return Err(PolicyError::Other(
                "there is no demonstration to clone".into(),
            ));
        }
        if !same {
            return Err(PolicyError::Other(format!(
                "{} weights for {} steps",
                lengths(weights.len(), &|e| weights[e].len()),
                data.episode.len()
            )));
        }
        if data.weight.iter().any(|w| !w.is_finite() || *w < 0.0)
            || data.weight.iter().all(|w| *w == 0.0)
        {
            return Err(PolicyError::Other(
                "weights of steps must be finite, 0 or more, and not all 0".into(),
            ));
        }
        Ok(data)
    }

    /// Random chunks with random noise. The ends of an episode stand for what lies beyond them.
    fn draw_batch(&mut self, data: &Data) -> Batch {
        let (seen, dim) = (self.spec.observation_dim, self.spec.action_dim);
        let (looks, horizon) = (
            self.config.observation_horizon,
            self.config.prediction_horizon,
        );
        let chunk = horizon * dim;
        let mut batch = Batch {
            noisy: Vec::with_capacity(self.config.batch * chunk),
            target: Vec::with_capacity(self.config.batch * chunk),
            steps: Vec::with_capacity(self.config.batch),
            conditions: Vec::with_capacity(self.config.batch * looks * seen),
            weights: Vec::with_capacity(self.config.batch),
        };
        let mut noise = vec![0.0; chunk];
        for _ in 0..self.config.batch {
            let at = self.rng.random_range(0..data.episode.len() as u64) as usize;
            let (from, to) = data.episode[at];
            let within = |k: usize| (at + k + 1).saturating_sub(looks).clamp(from, to - 1);
            for look in 0..looks {
                let t = within(look);
                batch
                    .conditions
                    .extend_from_slice(&data.observations[t * seen..][..seen]);
            }
            let step = self.rng.random_range(0..self.schedule.steps() as u64) as usize;
            gaussian::fill_normal(&mut noise, &mut self.rng);
            for (k, noise) in noise.chunks_exact(dim).enumerate() {
                let t = within(k);
                for (&clean, &noise) in data.actions[t * dim..][..dim].iter().zip(noise) {
                    batch
                        .noisy
                        .push(self.schedule.add_noise(clean, noise, step));
                    batch.target.push(self.schedule.target(clean, noise));
                }
            }
            batch.steps.push(step);
            batch.weights.push(data.weight[at]);
        }
        batch
    }

    /// One gradient step; the loss before it.
    fn descend(
        &mut self,
        batch: &Batch,
        adam: &mut Adam,
        gradient: &mut [f32],
        rate: f64,
    ) -> Result<f64, PolicyError> {
        let rows = batch.steps.len();
        let total: f32 = batch.weights.iter().sum();
        if total == 0.0 {
            return Ok(0.0);
        }
        let weights = self.layout.track(&self.parameters);
        let out = self.forward(&weights, &batch.noisy, &batch.steps, &batch.conditions);
        let (shape, device) = (out.dims(), weights.device());
        let share = 1.0 / (total * self.chunk_dim() as f32);
        let counts: Vec<f32> = batch.weights.iter().map(|w| w * share).collect();
        let off = out - tensor(&batch.target, shape, &device);
        let loss = (off.clone() * off * tensor(&counts, [rows, 1, 1], &device)).sum();
        let value = f64::from(values(loss.clone().detach())?[0]);
        if !value.is_finite() {
            return Err(PolicyError::NotFinite {
                tensor: "the training loss".into(),
                update: self.updates,
            });
        }
        self.layout
            .gather(&weights, loss.backward(), gradient, self.updates)?;
        adam.set_learning_rate(rate);
        adam.step(&mut self.parameters, gradient);
        Ok(value)
    }
}

/// Up in a line, down like half a cosine.
fn learning_rate(config: &DiffusionConfig, update: u64) -> f64 {
    let full = config.adam.learning_rate;
    if update < config.warmup {
        return full * (update + 1) as f64 / config.warmup as f64;
    }
    let left = config.updates.saturating_sub(config.warmup).max(1) as f64;
    let done = (update - config.warmup) as f64 / left;
    full * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
}
