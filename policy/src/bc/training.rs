//! How [`Bc`] is fitted: minibatches of normalised steps, whole episodes held out, the best parameters kept.

use std::ops::ControlFlow;

use super::{Bc, BcConfig, BcLoss, LOG_STD_RANGE, MaskedView, mixture};
use crate::checkpoint::PolicySpec;
use crate::demonstrations;
use crate::gaussian;
use crate::policy::{Metrics, PolicyError, Transition};
use crate::small::adam::Adam;
use crate::small::mlp::Tape;

/// What came of a fit. Losses are in units of the demonstrated actions' standard deviations.
#[derive(Clone, Debug, PartialEq)]
pub struct BcReport {
    /// Passes made over the data.
    pub epochs: u64,
    /// The pass whose parameters were kept, counted from 1.
    pub best_epoch: u64,
    /// Training loss of the last pass.
    pub training_loss: f64,
    /// Smallest loss on the held-out episodes, where some were held out.
    pub validation_loss: Option<f64>,
}

/// Steps ready for the network.
struct Data {
    /// Scaled observations, `[steps, obs_dim]`.
    inputs: Vec<f32>,
    /// Normalised actions from this step on, `[steps, chunk, action_dim]`, zeros past the end of the episode.
    targets: Vec<f32>,
    /// How many actions of each chunk lie within the episode, `[steps]`.
    within: Vec<usize>,
    /// How much each step counts, `[steps]`.
    weights: Vec<f32>,
}

impl Data {
    /// Scaled observations of some steps, `[rows, width]`.
    fn gather(&self, rows: &[usize], width: usize) -> Vec<f32> {
        rows.iter()
            .flat_map(|row| &self.inputs[row * width..][..width])
            .copied()
            .collect()
    }
}

/// What came of the masked view.
struct Covered {
    /// Mean of `ln(1 + S)`, `S` the divergence of the two views in nats per number of an action.
    divergence: f64,
    /// Mean `ln std` of the actions, in units of the demonstrated actions' deviations.
    entropy: f64,
    /// By the heads of the masked view.
    gradient: Vec<f32>,
}

/// An episode and how much each of its steps counts.
type Weighted<'e> = (&'e [Transition], &'e [f32]);

impl Bc {
    /// Fits to the actions of `episodes`; rewards are not looked at. `progress` gets the number of each pass and its losses, and
    /// can stop the fit, which then keeps the best parameters so far.
    pub fn fit(
        spec: PolicySpec,
        config: BcConfig,
        seed: u64,
        episodes: &[Vec<Transition>],
        progress: impl FnMut(u64, &Metrics) -> ControlFlow<()>,
    ) -> Result<(Self, BcReport), PolicyError> {
        let weights: Vec<Vec<f32>> = episodes.iter().map(|e| vec![1.0; e.len()]).collect();
        Self::fit_weighted(spec, config, seed, episodes, &weights, progress)
    }

    /// [`Bc::fit`] where every step counts as much as its weight says, by episode and step: the loss is the weighted mean, as in
    /// reward-aligned cloning (RA-BC of SARM, arXiv:2509.25358, equation 8), whose weights come from progress. Scaling is by all
    /// steps alike. Refuses weights that are negative, not finite, not one for each step, or all zero.
    pub fn fit_weighted(
        spec: PolicySpec,
        config: BcConfig,
        seed: u64,
        episodes: &[Vec<Transition>],
        weights: &[Vec<f32>],
        mut progress: impl FnMut(u64, &Metrics) -> ControlFlow<()>,
    ) -> Result<(Self, BcReport), PolicyError> {
        let mut bc = Self::new(&spec, &config, seed)?;
        demonstrations::check(episodes, &spec)?;
        check_weights(episodes, weights)?;
        let (training, held_out) = bc.split(episodes, weights);
        bc.measure(&training);
        let (training, held_out) = (bc.prepare(&training), bc.prepare(&held_out));

        let mut adam = Adam::new(config.adam.clone(), bc.network.parameters.len());
        let mut gradient = vec![0.0; bc.network.parameters.len()];
        let (mut tape, mut masked) = (Tape::default(), Tape::default());
        let mut best = (f64::INFINITY, 0, bc.network.parameters.clone());
        let mut order: Vec<usize> = (0..training.within.len()).collect();
        let mut training_loss = 0.0;
        let mut epoch = 0;
        while epoch < config.epochs {
            epoch += 1;
            demonstrations::shuffle(&mut order, &mut bc.rng);
            training_loss = 0.0;
            let (mut looking, mut entropy) = (0.0, 0.0);
            for rows in order.chunks(config.batch) {
                let (loss, mut output_gradient) = bc.loss(&training, rows, &mut tape);
                let share = rows.len() as f64 / order.len() as f64;
                training_loss += loss * share;
                gradient.fill(0.0);
                if let Some(view) = config.masked_view {
                    let own = &tape;
                    let covered = bc.cover(
                        view,
                        &training,
                        rows,
                        own,
                        &mut output_gradient,
                        &mut masked,
                    );
                    looking += covered.divergence * share;
                    entropy += covered.entropy * share;
                    bc.network
                        .backward(&mut masked, &covered.gradient, Some(&mut gradient), None);
                }
                bc.network
                    .backward(&mut tape, &output_gradient, Some(&mut gradient), None);
                bc.network
                    .check_gradient("network", &gradient, bc.updates)?;
                adam.step(&mut bc.network.parameters, &mut gradient);
                bc.updates += 1;
            }
            let mut metrics = Metrics::from([("training_loss".into(), training_loss)]);
            if config.masked_view.is_some() {
                metrics.insert("divergence_when_masked".into(), looking);
                metrics.insert("entropy".into(), entropy);
            }
            let steps = held_out.within.len();
            if steps > 0 {
                let all: Vec<usize> = (0..steps).collect();
                let validation: f64 = all
                    .chunks(1024)
                    .map(|rows| {
                        bc.loss(&held_out, rows, &mut tape).0 * rows.len() as f64 / steps as f64
                    })
                    .sum();
                metrics.insert("validation_loss".into(), validation);
                if validation < best.0 {
                    best = (validation, epoch, bc.network.parameters.clone());
                }
            } else {
                best = (training_loss, epoch, bc.network.parameters.clone());
            }
            if progress(epoch, &metrics).is_break() || epoch - best.1 >= config.patience {
                break;
            }
        }
        let (loss, best_epoch, parameters) = best;
        bc.network.parameters = parameters;
        let report = BcReport {
            epochs: epoch,
            best_epoch,
            training_loss,
            validation_loss: (!held_out.within.is_empty()).then_some(loss),
        };
        Ok((bc, report))
    }

    /// The same rows with part of the picture covered, passed through the network on `masked`; adds to the gradient of the heads of
    /// the pass on `seen`.
    fn cover(
        &mut self,
        view: MaskedView,
        data: &Data,
        rows: &[usize],
        seen: &Tape,
        by_seen: &mut [f32],
        masked: &mut Tape,
    ) -> Covered {
        let width = self.spec.observation_dim;
        let mut inputs = data.gather(rows, width);
        view.cover(&mut inputs, width, &mut self.rng);
        self.network.forward(&inputs, masked);
        let (heads, numbers) = (seen.output(), self.spec.action_dim * self.config.chunk);
        let mut gradient = vec![0.0; heads.len()];
        let outputs = [by_seen, &mut gradient[..]];
        let divergence = view.differentiate([heads, masked.output()], outputs, numbers);
        let spreads = heads
            .chunks_exact(2 * numbers)
            .flat_map(|head| &head[numbers..]);
        let log_stds = spreads.map(|s| f64::from(gaussian::log_std(*s, LOG_STD_RANGE).0));
        let entropy = log_stds.sum::<f64>() * 2.0 / heads.len() as f64;
        Covered {
            divergence,
            entropy,
            gradient,
        }
    }

    /// Whole episodes, some of them held out: steps of one episode are too alike to be on both sides.
    fn split<'e>(
        &mut self,
        episodes: &'e [Vec<Transition>],
        weights: &'e [Vec<f32>],
    ) -> (Vec<Weighted<'e>>, Vec<Weighted<'e>>) {
        let share = self.config.validation_share;
        let (training, held_out) = demonstrations::hold_out(episodes.len(), share, &mut self.rng);
        let pick = |order: Vec<usize>| {
            let weighted = order
                .into_iter()
                .map(|n| (&episodes[n][..], &weights[n][..]));
            weighted.collect()
        };
        (pick(training), pick(held_out))
    }

    /// Mean and deviation of observations and actions.
    fn measure(&mut self, episodes: &[Weighted]) {
        let episodes: Vec<&[Transition]> = episodes.iter().map(|(episode, _)| *episode).collect();
        let steps = episodes.iter().copied().flatten();
        steps.for_each(|step| self.normaliser.observe(&step.observation));
        self.normaliser.refresh();
        (self.action_mean, self.action_std) =
            demonstrations::action_scales(&episodes, self.spec.action_dim);
    }

    fn prepare(&self, episodes: &[Weighted]) -> Data {
        let mut data = Data {
            inputs: Vec::new(),
            targets: Vec::new(),
            within: Vec::new(),
            weights: Vec::new(),
        };
        let (chunk, dim) = (self.config.chunk, self.spec.action_dim);
        for (episode, weights) in episodes {
            data.weights.extend_from_slice(weights);
            for t in 0..episode.len() {
                self.normaliser
                    .append(&episode[t].observation, &mut data.inputs);
                let ahead = &episode[t..episode.len().min(t + chunk)];
                for step in ahead {
                    let scales = self.action_mean.iter().zip(&self.action_std);
                    data.targets.extend(
                        step.action
                            .iter()
                            .zip(scales)
                            .map(|(a, (mean, std))| (a - mean) / std),
                    );
                }
                data.targets
                    .resize(data.targets.len() + (chunk - ahead.len()) * dim, 0.0);
                data.within.push(ahead.len());
            }
        }
        data
    }

    /// Weighted mean loss of some steps over the actions within their episodes, and its gradient by the outputs; zeros where none of
    /// the steps counts.
    fn loss(&self, data: &Data, rows: &[usize], tape: &mut Tape) -> (f64, Vec<f32>) {
        let (inputs, dim) = (self.spec.observation_dim, self.spec.action_dim);
        let means = dim * self.config.chunk;
        self.network.forward(&data.gather(rows, inputs), tape);
        let outputs = self.network.outputs();
        let counts = rows
            .iter()
            .map(|&row| data.weights[row] * (data.within[row] * dim) as f32);
        let count = counts.sum::<f32>();
        let mut gradient = vec![0.0; tape.output().len()];
        let mut loss = 0.0;
        if count == 0.0 {
            return (loss, gradient);
        }
        let heads = tape
            .output()
            .chunks_exact(outputs)
            .zip(gradient.chunks_exact_mut(outputs));
        for ((head, gradient), &row) in heads.zip(rows) {
            let weight = data.weights[row];
            let within = data.within[row] * dim;
            if let BcLoss::Mixture { components } = self.config.loss {
                let target = &data.targets[row * means..][..within];
                let scale = weight / count;
                let own = mixture::loss(head, components, means, target, scale, gradient);
                loss += f64::from(scale * own);
                continue;
            }
            for i in 0..within {
                let error = head[i] - data.targets[row * means + i];
                match self.config.loss {
                    BcLoss::Mse => {
                        loss += f64::from(weight * error * error / count);
                        gradient[i] = 2.0 * weight * error / count;
                    }
                    BcLoss::Mixture { .. } => {}
                    BcLoss::GaussianNll => {
                        // error^2 / (2 std^2) + ln std, without the constant.
                        let (log_std, slope) = gaussian::log_std(head[means + i], LOG_STD_RANGE);
                        let precision = (-2.0 * log_std).exp();
                        loss +=
                            f64::from(weight * (0.5 * error * error * precision + log_std) / count);
                        gradient[i] = weight * error * precision / count;
                        gradient[means + i] =
                            weight * (1.0 - error * error * precision) * slope / count;
                    }
                }
            }
        }
        (loss, gradient)
    }
}

fn check_weights(episodes: &[Vec<Transition>], weights: &[Vec<f32>]) -> Result<(), PolicyError> {
    let fits = episodes.len() == weights.len()
        && episodes
            .iter()
            .zip(weights)
            .all(|(e, w)| e.len() == w.len());
    let usable = |w: &f32| w.is_finite() && *w >= 0.0;
    let fault = if !fits {
        "needs one weight for every step of every episode"
    } else if !weights.iter().flatten().all(usable) {
        "has a weight that is negative or not finite"
    } else if !weights.iter().flatten().any(|w| *w > 0.0) {
        "has no step that counts: all weights are 0"
    } else {
        return Ok(());
    };
    Err(PolicyError::Other(format!("weighted cloning {fault}")))
}

#[cfg(test)]
mod tests;
