//! How [`Diffusion`] is fitted: chunks of demonstrations with noise put on, and a running average of the weights that acts.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use rand::RngExt as _;

use super::weights::{Layout, Weights, tensor, values};
use super::{Diffusion, DiffusionConfig};
use crate::checkpoint::PolicySpec;
use crate::deep::resident::{Look, Resident, fetch, place};
use crate::fit::Fit;
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
    /// Mean squared error of the prediction over the last stretch of the fit; not a number where the fit was done when it was taken up again.
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

/// [`Diffusion`] on its way.
pub struct DiffusionFit {
    /// Its parameters are the newest.
    pub(super) policy: Diffusion,
    /// The running average that acts in the end.
    pub(super) average: Vec<f32>,
    pub(super) adam: Adam,
    gradient: Vec<f32>,
    /// What is on another device while it trains there.
    away: Option<Away>,
    data: Data,
    training_loss: f64,
}

/// Parameters, their running average and Adam's memory on another device. What stands beside them in [`DiffusionFit`] is renewed at
/// every report.
struct Away {
    parameters: Vec<Tensor<1>>,
    average: Vec<Tensor<1>>,
    adam: Resident,
}

impl DiffusionFit {
    /// Ready for the first step. With `weights` the chunk at step `t` of episode `e` counts `weights[e][t]`, 0 or more.
    pub fn new(
        spec: PolicySpec,
        config: DiffusionConfig,
        seed: u64,
        episodes: &[Vec<Transition>],
        weights: Option<&[Vec<f32>]>,
    ) -> Result<Self, PolicyError> {
        let mut policy = Diffusion::new(&spec, &config, seed)?;
        for episode in episodes {
            check_episode(episode, spec.observation_dim, spec.action_dim, 0)?;
        }
        policy.measure(episodes);
        let data = match weights {
            Some(weights) => policy.prepare(episodes, weights)?,
            None => policy.prepare(episodes, &even(episodes))?,
        };
        Ok(Self {
            average: policy.parameters.clone(),
            adam: Adam::new(config.adam, policy.parameters.len()),
            gradient: vec![0.0; policy.parameters.len()],
            away: None,
            policy,
            data,
            training_loss: f64::NAN,
        })
    }

    /// Takes the gradient steps on another device from here on, such as a graphics adapter's. The same steps on another device differ
    /// by rounding.
    #[must_use]
    pub fn on(mut self, device: &Device) -> Self {
        let lengths = self.policy.layout.lengths();
        let put = |whole: &[f32]| place(whole, &lengths, device);
        self.away = Some(Away {
            parameters: put(&self.policy.parameters),
            average: put(&self.average),
            adam: Resident::of(&self.adam, &lengths, device),
        });
        self
    }

    /// Brings home what was learned on another device.
    fn bring_home(&mut self) -> Result<(), PolicyError> {
        let Some(away) = &self.away else {
            return Ok(());
        };
        self.policy.parameters = fetch(&away.parameters)?;
        self.average = fetch(&away.average)?;
        away.adam.give_back(&mut self.adam)
    }

    /// How many steps there are to draw from.
    pub(super) fn drawn_from(&self) -> usize {
        self.data.episode.len()
    }

    /// The policy, acting with the running average.
    pub fn finish(self) -> Result<(Diffusion, DiffusionReport), PolicyError> {
        let report = DiffusionReport {
            updates: self.steps(),
            training_loss: self.training_loss,
        };
        let mut policy = self.policy;
        policy.set_parameters(self.average)?;
        Ok((policy, report))
    }
}

impl Fit for DiffusionFit {
    fn steps(&self) -> u64 {
        self.policy.updates
    }

    fn planned(&self) -> u64 {
        self.policy.config.updates
    }

    fn advance(&mut self) -> Result<Metrics, PolicyError> {
        let (mut stretch, mut since, mut rate) = (0.0, 0, 0.0);
        while !self.is_done() {
            let policy = &mut self.policy;
            rate = learning_rate(&policy.config, policy.updates);
            let batch = policy.draw_batch(&self.data);
            self.adam.set_learning_rate(rate);
            stretch += match &mut self.away {
                None => policy.descend(&batch, &mut self.adam, &mut self.gradient)?,
                Some(away) => policy.descend_there(&batch, &mut self.adam, away)?,
            };
            policy.updates += 1;
            since += 1;
            let kept = 1.0 - (policy.updates as f64 + 1.0).powf(-policy.config.ema_power);
            let follow = 1.0 - kept.min(policy.config.ema_decay);
            match &mut self.away {
                None => kernels::polyak(&mut self.average, &policy.parameters, follow as f32),
                Some(away) => away.follow(follow),
            }
            if policy.updates.is_multiple_of(policy.config.report_every) {
                break;
            }
        }
        self.bring_home()?;
        self.training_loss = stretch / f64::from(since.max(1));
        Ok(Metrics::from([
            ("training_loss".into(), self.training_loss),
            ("learning_rate".into(), rate),
        ]))
    }

    fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        self.write(dir)
    }
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
        let even = even(episodes);
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
        let mut fit = DiffusionFit::new(spec, config, seed, episodes, Some(weights))?;
        while !fit.is_done() {
            let report = fit.advance()?;
            if progress(fit.steps(), &report).is_break() {
                break;
            }
        }
        fit.finish()
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

    /// The loss of a batch under these weights, or none where no step of it counts.
    fn loss(&self, weights: &Weights, batch: &Batch) -> Option<Tensor<1>> {
        let total: f32 = batch.weights.iter().sum();
        if total == 0.0 {
            return None;
        }
        let rows = batch.steps.len();
        let out = self.forward(weights, &batch.noisy, &batch.steps, &batch.conditions);
        let (shape, device) = (out.dims(), weights.device());
        let share = 1.0 / (total * self.chunk_dim() as f32);
        let counts: Vec<f32> = batch.weights.iter().map(|w| w * share).collect();
        let off = out - tensor(&batch.target, shape, &device);
        Some((off.clone() * off * tensor(&counts, [rows, 1, 1], &device)).sum())
    }

    /// One gradient step; the loss before it.
    fn descend(
        &mut self,
        batch: &Batch,
        adam: &mut Adam,
        gradient: &mut [f32],
    ) -> Result<f64, PolicyError> {
        let weights = self.layout.track(&self.parameters);
        let Some(loss) = self.loss(&weights, batch) else {
            return Ok(0.0);
        };
        let value = f64::from(values(loss.clone().detach())?[0]);
        if !value.is_finite() {
            return Err(PolicyError::NotFinite {
                tensor: "the training loss".into(),
                update: self.updates,
            });
        }
        self.layout
            .gather(&weights, loss.backward(), gradient, self.updates)?;
        adam.step(&mut self.parameters, gradient);
        Ok(value)
    }

    /// As [`Diffusion::descend`], on another device.
    fn descend_there(
        &self,
        batch: &Batch,
        adam: &mut Adam,
        away: &mut Away,
    ) -> Result<f64, PolicyError> {
        let weights = self.layout.track_there(&away.parameters);
        let Some(loss) = self.loss(&weights, batch) else {
            return Ok(0.0);
        };
        let gradients = Layout::gather_there(&weights, loss.backward());
        let name = |at| self.layout.name(at).to_owned();
        let look = Look::at(loss.inner(), &gradients, self.updates, name)?;
        let shortening = look.shortening(adam.config().max_gradient_norm);
        let step = adam.begin(1.0);
        let moving = away.parameters.iter_mut().zip(gradients).enumerate();
        for (at, (parameter, gradient)) in moving {
            let gradient = match shortening {
                Some(factor) => gradient * factor,
                None => gradient,
            };
            *parameter = away.adam.descend(at, parameter.clone(), gradient, &step);
        }
        Ok(look.loss)
    }
}

impl Away {
    /// The running average takes this share of the newest parameters.
    fn follow(&mut self, share: f64) {
        for (average, parameter) in self.average.iter_mut().zip(&self.parameters) {
            *average = average.clone() * (1.0 - share) + parameter.clone() * share;
        }
    }
}

/// Every step counts alike.
fn even(episodes: &[Vec<Transition>]) -> Vec<Vec<f32>> {
    episodes.iter().map(|e| vec![1.0; e.len()]).collect()
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
