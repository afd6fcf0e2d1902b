//! How [`Bc`] is fitted: minibatches of normalised steps, whole episodes held out, the best parameters kept.

use std::ops::ControlFlow;

use rand::RngExt as _;

use super::{Bc, BcConfig, BcLoss, LOG_STD_RANGE, mixture};
use crate::checkpoint::PolicySpec;
use crate::gaussian;
use crate::policy::{Metrics, PolicyError, Transition};
use crate::replay::check_episode;
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

/// An episode and how much each of its steps counts.
type Weighted<'e> = (&'e [Transition], &'e [f32]);

/// Added to a variance of actions: an action that never changes is not divided by zero.
const VARIANCE_FLOOR: f64 = 1e-6;

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
        if episodes.is_empty() {
            return Err(PolicyError::Other(
                "there is no demonstration to clone".into(),
            ));
        }
        for episode in episodes {
            check_episode(episode, spec.observation_dim, spec.action_dim, 0)?;
        }
        check_weights(episodes, weights)?;
        let (training, held_out) = bc.split(episodes, weights);
        bc.measure(&training);
        let (training, held_out) = (bc.prepare(&training), bc.prepare(&held_out));

        let mut adam = Adam::new(config.adam.clone(), bc.network.parameters.len());
        let mut gradient = vec![0.0; bc.network.parameters.len()];
        let mut tape = Tape::default();
        let mut best = (f64::INFINITY, 0, bc.network.parameters.clone());
        let mut order: Vec<usize> = (0..training.within.len()).collect();
        let mut training_loss = 0.0;
        let mut epoch = 0;
        while epoch < config.epochs {
            epoch += 1;
            for last in (1..order.len()).rev() {
                order.swap(last, bc.rng.random_range(0..=last as u64) as usize);
            }
            training_loss = 0.0;
            for rows in order.chunks(config.batch) {
                let (loss, output_gradient) = bc.loss(&training, rows, &mut tape);
                training_loss += loss * rows.len() as f64 / order.len() as f64;
                gradient.fill(0.0);
                bc.network
                    .backward(&mut tape, &output_gradient, Some(&mut gradient), None);
                bc.network
                    .check_gradient("network", &gradient, bc.updates)?;
                adam.step(&mut bc.network.parameters, &mut gradient);
                bc.updates += 1;
            }
            let mut metrics = Metrics::from([("training_loss".into(), training_loss)]);
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

    /// Whole episodes, some of them held out: steps of one episode are too alike to be on both sides.
    fn split<'e>(
        &mut self,
        episodes: &'e [Vec<Transition>],
        weights: &'e [Vec<f32>],
    ) -> (Vec<Weighted<'e>>, Vec<Weighted<'e>>) {
        let mut episodes: Vec<Weighted> = episodes
            .iter()
            .zip(weights)
            .map(|(episode, weights)| (episode.as_slice(), weights.as_slice()))
            .collect();
        for last in (1..episodes.len()).rev() {
            episodes.swap(last, self.rng.random_range(0..=last as u64) as usize);
        }
        let share = self.config.validation_share;
        let held_out = if episodes.len() < 2 || share == 0.0 {
            0
        } else {
            ((share * episodes.len() as f64).round() as usize).clamp(1, episodes.len() - 1)
        };
        let training = episodes.split_off(held_out);
        (training, episodes)
    }

    /// Mean and deviation of observations and actions.
    fn measure(&mut self, episodes: &[Weighted]) {
        let steps = || episodes.iter().flat_map(|(episode, _)| *episode);
        let count = steps().count() as f64;
        steps().for_each(|step| self.normaliser.observe(&step.observation));
        self.normaliser.refresh();
        for i in 0..self.spec.action_dim {
            let mean = steps().map(|step| f64::from(step.action[i])).sum::<f64>() / count;
            let variance = steps()
                .map(|step| (f64::from(step.action[i]) - mean).powi(2))
                .sum::<f64>()
                / count;
            self.action_mean[i] = mean as f32;
            self.action_std[i] = (variance + VARIANCE_FLOOR).sqrt() as f32;
        }
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
        let gathered: Vec<f32> = rows
            .iter()
            .flat_map(|row| &data.inputs[row * inputs..][..inputs])
            .copied()
            .collect();
        self.network.forward(&gathered, tape);
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
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::checkpoint::load_policy;
    use crate::policy::{Mode, Policy as _};

    /// A nonlinear law from two observations of different scales to two actions.
    fn law(x: &[f32]) -> [f32; 2] {
        let (a, b) = (x[0] / 10.0, (x[1] - 100.0) / 5.0);
        [(3.0 * a).sin() * 0.8, (a * b).tanh() * 0.3]
    }

    fn episodes(count: usize, length: usize, noise: f32) -> Vec<Vec<Transition>> {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        (0..count)
            .map(|_| {
                (0..length)
                    .map(|_| {
                        let observation =
                            vec![rng.random_range(-10.0..10.0), rng.random_range(95.0..105.0)];
                        let mut action = law(&observation).to_vec();
                        action[1] += noise * rng.random_range(-1.0f32..1.0);
                        Transition {
                            next_observation: observation.clone(),
                            observation,
                            action,
                            reward: 0.0,
                            terminated: false,
                            truncated: false,
                        }
                    })
                    .collect()
            })
            .collect()
    }

    fn config() -> BcConfig {
        BcConfig {
            hidden: vec![64, 64],
            epochs: 60,
            ..BcConfig::default()
        }
    }

    fn run(_: u64, _: &Metrics) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn fits_a_nonlinear_law_and_acts_the_same_after_saving() {
        let data = episodes(20, 100, 0.0);
        let (mut bc, report) = Bc::fit(PolicySpec::new(2, 2), config(), 1, &data, run).unwrap();
        assert!(report.validation_loss.unwrap() < 2e-3, "{report:?}");
        let dir = tempfile::tempdir().unwrap();
        bc.save(dir.path()).unwrap();
        let mut loaded = load_policy(dir.path()).unwrap();
        for step in &episodes(1, 50, 0.0)[0] {
            let action = bc.act(&step.observation, Mode::Exploit).unwrap();
            for (own, right) in action.iter().zip(law(&step.observation)) {
                assert!(
                    (own - right).abs() < 0.1,
                    "{:?}: {own} {right}",
                    step.observation
                );
            }
            assert_eq!(
                loaded.act(&step.observation, Mode::Exploit).unwrap(),
                action
            );
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_and_another_seed_does_not() {
        let data = episodes(4, 50, 0.0);
        let fit = |seed| {
            let config = BcConfig {
                epochs: 3,
                ..config()
            };
            Bc::fit(PolicySpec::new(2, 2), config, seed, &data, run)
                .unwrap()
                .0
                .network
                .parameters
        };
        assert_eq!(fit(3), fit(3));
        assert_ne!(fit(3), fit(4));
    }

    #[test]
    fn the_gaussian_learns_the_noise_of_the_demonstrator() {
        let config = BcConfig {
            loss: BcLoss::GaussianNll,
            ..config()
        };
        let data = episodes(20, 200, 0.3);
        let (mut bc, _) = Bc::fit(PolicySpec::new(2, 2), config, 1, &data, run).unwrap();
        let observation = [3.0, 101.0];
        let mean = bc.act(&observation, Mode::Exploit).unwrap();
        let draws: Vec<Vec<f32>> = (0..2000)
            .map(|_| bc.act(&observation, Mode::Explore).unwrap())
            .collect();
        let spread = |i: usize| {
            (draws.iter().map(|d| (d[i] - mean[i]).powi(2)).sum::<f32>() / draws.len() as f32)
                .sqrt()
        };
        // Uniform noise of +-0.3 has a standard deviation of 0.173.
        assert!((spread(1) - 0.173).abs() < 0.04, "{}", spread(1));
        assert!(spread(0) < 0.06, "{}", spread(0));
    }

    #[test]
    fn a_chunk_is_executed_to_its_end_unless_the_episode_is_new() {
        // The action ahead is known from the first observation: action at t is observation / 10 + t / 100.
        let data: Vec<Vec<Transition>> = (0..30)
            .map(|n| {
                let start = n as f32 / 30.0;
                (0..4)
                    .map(|t| Transition {
                        observation: vec![start + t as f32],
                        action: vec![(start + t as f32) / 10.0],
                        reward: 0.0,
                        next_observation: vec![0.0],
                        terminated: false,
                        truncated: t == 3,
                    })
                    .collect()
            })
            .collect();
        let config = BcConfig {
            chunk: 4,
            execute: 3,
            epochs: 200,
            ..config()
        };
        let (mut bc, _) = Bc::fit(PolicySpec::new(1, 1), config, 1, &data, run).unwrap();
        for expected in [0.05, 0.15, 0.25] {
            let action = bc.act(&[0.5], Mode::Exploit).unwrap()[0];
            assert!((action - expected).abs() < 0.02, "{action} {expected}");
        }
        bc.act(&[0.5], Mode::Exploit).unwrap();
        bc.reset();
        let action = bc.act(&[0.5], Mode::Exploit).unwrap()[0];
        assert!((action - 0.05).abs() < 0.02, "{action}");
    }

    #[test]
    fn stops_early_keeps_the_best_and_can_be_stopped() {
        let mut data = episodes(4, 30, 0.3);
        data.iter_mut()
            .flatten()
            .for_each(|step| step.action[0] = -step.action[1]);
        let config = BcConfig {
            patience: 5,
            epochs: 2000,
            ..config()
        };
        let mut losses = Vec::new();
        let (_, report) = Bc::fit(
            PolicySpec::new(2, 2),
            config.clone(),
            1,
            &data,
            |_, metrics| {
                losses.push(metrics["validation_loss"]);
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        let smallest = losses.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(
            report.epochs < 2000 && report.epochs == report.best_epoch + 5,
            "{report:?}"
        );
        assert_eq!(report.validation_loss, Some(smallest));
        let (_, stopped) = Bc::fit(PolicySpec::new(2, 2), config, 1, &data, |epoch, _| {
            if epoch == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
        assert_eq!(stopped.epochs, 2);
    }

    #[test]
    fn demonstrations_that_are_not_numbers_are_refused() {
        let mut data = episodes(2, 5, 0.0);
        data[1][3].action[1] = f32::NAN;
        let error = Bc::fit(PolicySpec::new(2, 2), config(), 1, &data, run)
            .unwrap_err()
            .to_string();
        assert!(error.contains("action[1] at step 3"), "{error}");
        assert!(Bc::fit(PolicySpec::new(2, 2), config(), 1, &[], run).is_err());
    }

    #[test]
    fn steps_without_weight_teach_nothing_and_equal_weights_are_none() {
        // Every other episode does the opposite.
        let mut data = episodes(20, 60, 0.0);
        for episode in data.iter_mut().skip(1).step_by(2) {
            for step in episode {
                step.action.iter_mut().for_each(|a| *a = -*a);
            }
        }
        let weights: Vec<Vec<f32>> = (0..20).map(|n| vec![(1 - n % 2) as f32; 60]).collect();
        let spec = PolicySpec::new(2, 2);
        let fit = |weights: &[Vec<f32>]| {
            Bc::fit_weighted(spec.clone(), config(), 1, &data, weights, run).map(|(bc, _)| bc)
        };
        let error = |bc: &mut Bc| -> f32 {
            let steps = &episodes(1, 50, 0.0)[0];
            let each = steps.iter().map(|step| {
                let action = bc.act(&step.observation, Mode::Exploit).unwrap();
                (action[0] - law(&step.observation)[0]).abs()
            });
            each.sum::<f32>() / 50.0
        };
        let (mut plain, _) = Bc::fit(spec.clone(), config(), 1, &data, run).unwrap();
        let mut weighted = fit(&weights).unwrap();
        let (plain_error, weighted_error) = (error(&mut plain), error(&mut weighted));
        assert!(
            weighted_error < 0.1 && plain_error > 0.3,
            "{plain_error} {weighted_error}"
        );
        let ones = vec![vec![1.0; 60]; 20];
        assert_eq!(
            fit(&ones).unwrap().network.parameters,
            plain.network.parameters
        );
        for bad in [vec![], vec![vec![0.0; 60]; 20], vec![vec![-1.0; 60]; 20]] {
            assert!(fit(&bad).is_err());
        }
    }
}
