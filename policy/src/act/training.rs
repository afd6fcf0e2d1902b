//! How [`Act`] is fitted: minibatches of steps with the chunks that followed, whole episodes held out, the best parameters kept.

use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module as _;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::network::{Deed, Losses, Network, Sight, Style};
use super::{Act, ActConfig, Scales};
use crate::checkpoint::PolicySpec;
use crate::deep::dropout::Dropout;
use crate::deep::optimiser::{AdamW, Place, Stepped};
use crate::deep::{acting_device, tensor, training_device, values};
use crate::demonstrations::{self, action_scales, hold_out};
use crate::fit::Fit;
use crate::gaussian::fill_normal;
use crate::policy::{Metrics, PolicyError, Transition};

#[cfg(test)]
mod tests;

/// What came of a fit. Losses are mean absolute errors in units of the demonstrated actions' standard deviations.
#[derive(Clone, Debug, PartialEq)]
pub struct ActReport {
    /// Gradient steps made.
    pub steps: u64,
    /// The step whose parameters were kept.
    pub best_step: u64,
    /// Training error, mean since the last report; not a number where the fit was done when it was taken up again.
    pub training_loss: f64,
    /// Smallest error on the held-out episodes, acting as in deployment, where some were held out.
    pub validation_loss: Option<f64>,
}

/// Some steps with what followed, ready for the network.
struct Batch {
    sight: Sight,
    deed: Deed,
    weights: Tensor<1>,
}

/// The steps to draw from.
struct Data<'e> {
    episodes: Vec<&'e [Transition]>,
    /// Weights of steps, episode by episode, or none.
    weights: Vec<&'e [f32]>,
    /// Episode and step, of all steps that count.
    steps: Vec<(usize, usize)>,
}

impl<'e> Data<'e> {
    fn new(
        order: &[usize],
        episodes: &'e [Vec<Transition>],
        weights: Option<&'e [Vec<f32>]>,
    ) -> Self {
        let episodes: Vec<_> = order.iter().map(|&n| &episodes[n][..]).collect();
        let weights: Vec<_> = weights
            .map(|weights| order.iter().map(|&n| &weights[n][..]).collect())
            .unwrap_or_default();
        let counts = |e: usize, t: usize| weights.get(e).is_none_or(|w: &&[f32]| w[t] > 0.0);
        let steps = (0..episodes.len())
            .flat_map(|e| (0..episodes[e].len()).map(move |t| (e, t)))
            .filter(|&(e, t)| counts(e, t))
            .collect();
        Self {
            episodes,
            weights,
            steps,
        }
    }

    fn batch(
        &self,
        rows: &[(usize, usize)],
        chunk: usize,
        scales: &Scales,
        device: &Device,
    ) -> Batch {
        let dim = scales.action_mean.len();
        let mut actions = Vec::with_capacity(rows.len() * chunk * dim);
        let mut within = Vec::with_capacity(rows.len() * chunk);
        for (row, &(episode, t)) in rows.iter().enumerate() {
            let episode = self.episodes[episode];
            for step in &episode[t..episode.len().min(t + chunk)] {
                scales.append_action(&step.action, &mut actions);
                within.push(1.0);
            }
            actions.resize((row + 1) * chunk * dim, 0.0);
            within.resize((row + 1) * chunk, 0.0);
        }
        let weights = rows
            .iter()
            .map(|&(e, t)| self.weights.get(e).map_or(1.0, |w| w[t]))
            .collect();
        let seen = rows
            .iter()
            .map(|&(e, t)| &self.episodes[e][t].observation[..]);
        Batch {
            sight: scales.sight(seen, device),
            deed: Deed {
                actions: tensor(actions, [rows.len(), chunk, dim], device),
                within: tensor(within, [rows.len(), chunk], device),
            },
            weights: tensor(weights, [rows.len()], device),
        }
    }
}

/// A network on its way to fit.
pub(super) struct Fitting {
    pub(super) network: Option<Network>,
    pub(super) adam: AdamW,
    config: ActConfig,
    device: Device,
    /// Its own dice for dropout and styles, apart from those that choose the steps.
    pub(super) noise: ChaCha8Rng,
}

impl Fitting {
    fn new(network: &Network, config: &ActConfig, seed: u64) -> Result<Self, PolicyError> {
        let network = network.clone().train();
        let mut noise = ChaCha8Rng::seed_from_u64(seed);
        noise.set_stream(1);
        Ok(Self {
            adam: AdamW::new(config.adam.clone(), config.schedule.clone(), &network),
            network: Some(network),
            config: config.clone(),
            device: training_device(),
            noise,
        })
    }

    /// One gradient step: what it saw, the error and the divergence.
    fn step(&mut self, batch: &Batch) -> Result<(Stepped, f64, f64), PolicyError> {
        let network = self.network.take().expect("put back after each step");
        let rows = batch.sight.state.dims()[0];
        let mut noise = vec![0.0; rows * self.config.latent];
        fill_normal(&mut noise, &mut self.noise);
        let noise = tensor(noise, [rows, self.config.latent], &self.device);
        let mut dropout = Dropout::new(self.config.dropout, &mut self.noise);
        let style = network.style(&batch.sight, &batch.deed, &mut dropout);
        let chunk = network.decode(&batch.sight, Some(style.sample(noise)), &mut dropout);
        let losses = Losses::new(chunk, &batch.deed, &style, batch.weights.clone());
        let parts = vec![losses.l1.clone().inner(), losses.kl.clone().inner()];
        let parts = values(Tensor::cat(parts, 0))?;
        let (network, stepped) = self
            .adam
            .step(network, losses.total(self.config.kl_weight))?;
        self.network = Some(network);
        Ok((stepped, f64::from(parts[0]), f64::from(parts[1])))
    }

    /// The network as it is, for acting: on the processor, without a graph.
    pub(super) fn acting(&self) -> Network {
        self.network
            .as_ref()
            .expect("put back after each step")
            .valid()
            .to_device(&acting_device())
    }

    /// Goes on with another network.
    pub(super) fn take_up(&mut self, network: Network) {
        self.network = Some(network.to_device(&self.device.clone().inner()).train());
    }
}

/// [`Act`] on its way. With held-out episodes the best parameters are kept, else the newest.
pub struct ActFit<'e> {
    /// The policy; its parameters are the best so far.
    pub(super) act: Act,
    pub(super) fitting: Fitting,
    /// The smallest error on the held-out episodes, and its step.
    pub(super) best: (f64, u64),
    /// Steps of this pass that are still to be drawn, as places in the training data.
    pub(super) order: Vec<usize>,
    training: Data<'e>,
    held_out: Data<'e>,
    report: Metrics,
}

impl<'e> ActFit<'e> {
    /// Ready for the first step. With `weights`, one of 0 or more for each step (reward-aligned behaviour cloning), a batch's loss is
    /// the weighted mean of those of its steps; held-out steps are weighted alike.
    pub fn new(
        spec: PolicySpec,
        config: ActConfig,
        seed: u64,
        episodes: &'e [Vec<Transition>],
        weights: Option<&'e [Vec<f32>]>,
    ) -> Result<Self, PolicyError> {
        let mut act = Act::new(&spec, &config, seed)?;
        demonstrations::check(episodes, &spec)?;
        check_weights(episodes, weights)?;
        let (training, held_out) = hold_out(episodes.len(), config.validation_share, &mut act.rng);
        let training = Data::new(&training, episodes, weights);
        let held_out = Data::new(&held_out, episodes, weights);
        if training.steps.is_empty() {
            return Err(PolicyError::Other(
                "no step of the training episodes has a weight above 0".into(),
            ));
        }
        act.measure(&training);
        Ok(Self {
            fitting: Fitting::new(&act.network, &config, seed)?,
            act,
            best: (f64::INFINITY, 0),
            order: Vec::new(),
            training,
            held_out,
            report: Metrics::new(),
        })
    }

    /// Takes the gradient steps on another device from here on, such as a graphics adapter's. The same steps on another device differ
    /// by rounding.
    #[must_use]
    pub fn on(mut self, device: &Device) -> Self {
        let network = self.fitting.acting();
        self.fitting.device = device.clone().autodiff();
        self.fitting.take_up(network);
        self.fitting.adam = self.fitting.adam.at(Place::There);
        self
    }

    /// How many steps there are to draw from.
    pub(super) fn drawn_from(&self) -> usize {
        self.training.steps.len()
    }

    fn batch(&mut self) -> Batch {
        let (steps, config) = (&self.training.steps, &self.act.config);
        let mut rows = Vec::with_capacity(config.batch);
        while rows.len() < config.batch.min(steps.len()) {
            if self.order.is_empty() {
                self.order = (0..steps.len()).collect();
                demonstrations::shuffle(&mut self.order, &mut self.act.rng);
            }
            rows.extend(self.order.pop().map(|n| steps[n]));
        }
        let (scales, device) = (&self.act.scales, &self.fitting.device);
        self.training.batch(&rows, config.chunk, scales, device)
    }

    fn keep_the_best(&mut self) -> Result<(), PolicyError> {
        let network = self.fitting.acting();
        let error = self.act.error(&network, &self.held_out)?;
        if let Some(error) = error {
            self.report.insert("validation_loss".into(), error);
        }
        // Without held-out episodes the newest parameters are the best.
        if error.is_none_or(|error| error < self.best.0) {
            self.best = (error.unwrap_or(f64::INFINITY), self.steps());
            self.act.network = network;
        }
        Ok(())
    }

    /// The policy with the best parameters so far.
    pub fn finish(self) -> (Act, ActReport) {
        let report = ActReport {
            steps: self.steps(),
            best_step: self.best.1,
            training_loss: self
                .report
                .get("training_loss")
                .copied()
                .unwrap_or(f64::NAN),
            validation_loss: self.best.0.is_finite().then_some(self.best.0),
        };
        (self.act, report)
    }
}

impl Fit for ActFit<'_> {
    fn steps(&self) -> u64 {
        self.act.updates
    }

    fn planned(&self) -> u64 {
        self.act.config.steps
    }

    fn advance(&mut self) -> Result<Metrics, PolicyError> {
        self.report = Metrics::new();
        let every = self.act.config.report_every;
        let mut since = 0.0;
        while !self.is_done() {
            let batch = self.batch();
            let (stepped, l1, kl) = self.fitting.step(&batch)?;
            self.act.updates += 1;
            since += 1.0;
            for (name, value) in [
                ("training_loss", l1),
                ("divergence", kl),
                ("gradient_norm", stepped.gradient_norm),
            ] {
                let mean = self.report.entry(name.into()).or_insert(0.0);
                *mean += (value - *mean) / since;
            }
            if self.steps().is_multiple_of(every) {
                break;
            }
        }
        self.keep_the_best()?;
        Ok(self.report.clone())
    }

    fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        self.write(dir)
    }
}

impl Act {
    /// Fits to the actions of `episodes`; rewards are not looked at. `progress` gets the number of gradient steps and what they
    /// saw, and can stop the fit, which then keeps the best parameters so far.
    pub fn fit(
        spec: PolicySpec,
        config: ActConfig,
        seed: u64,
        episodes: &[Vec<Transition>],
        progress: impl FnMut(u64, &Metrics) -> ControlFlow<()>,
    ) -> Result<(Self, ActReport), PolicyError> {
        Self::fit_weighted(spec, config, seed, episodes, None, progress)
    }

    /// As [`Act::fit`], with weights as in [`ActFit::new`].
    pub fn fit_weighted(
        spec: PolicySpec,
        config: ActConfig,
        seed: u64,
        episodes: &[Vec<Transition>],
        weights: Option<&[Vec<f32>]>,
        mut progress: impl FnMut(u64, &Metrics) -> ControlFlow<()>,
    ) -> Result<(Self, ActReport), PolicyError> {
        let mut fit = ActFit::new(spec, config, seed, episodes, weights)?;
        while !fit.is_done() {
            let report = fit.advance()?;
            if progress(fit.steps(), &report).is_break() {
                break;
            }
        }
        Ok(fit.finish())
    }

    /// Scales of the training episodes.
    fn measure(&mut self, data: &Data) {
        for step in data.episodes.iter().copied().flatten() {
            self.scales.observe(&step.observation);
        }
        self.scales.refresh();
        (self.scales.action_mean, self.scales.action_std) =
            action_scales(&data.episodes, self.spec.action_dim);
    }

    /// Mean absolute error with a style of zero, or none without steps.
    fn error(&self, network: &Network, data: &Data) -> Result<Option<f64>, PolicyError> {
        let (mut sum, mut total) = (0.0, 0.0);
        for rows in data.steps.chunks(256) {
            let batch = data.batch(rows, self.config.chunk, &self.scales, &acting_device());
            let chunk = network.decode(&batch.sight, None, &mut Dropout::none());
            let latent = Tensor::zeros([rows.len(), self.config.latent], &acting_device());
            let style = Style {
                mean: latent.clone(),
                log_variance: latent,
            };
            let losses = Losses::new(chunk, &batch.deed, &style, batch.weights.clone());
            let weight = f64::from(values(batch.weights.sum())?[0]);
            sum += f64::from(values(losses.l1)?[0]) * weight;
            total += weight;
        }
        Ok((total > 0.0).then(|| sum / total))
    }
}

fn check_weights(
    episodes: &[Vec<Transition>],
    weights: Option<&[Vec<f32>]>,
) -> Result<(), PolicyError> {
    let Some(weights) = weights else {
        return Ok(());
    };
    let lengths = |w: &[Vec<f32>]| w.iter().map(Vec::len).collect::<Vec<_>>();
    if lengths(weights) != episodes.iter().map(Vec::len).collect::<Vec<_>>() {
        return Err(PolicyError::Other(
            "there must be one weight for each step of each demonstration".into(),
        ));
    }
    match weights
        .iter()
        .flatten()
        .find(|w| !(w.is_finite() && **w >= 0.0))
    {
        Some(wrong) => Err(PolicyError::Other(format!(
            "the weight of a step is {wrong}, it must be a number of 0 or more"
        ))),
        None => Ok(()),
    }
}
