//! [`SuccessClassifier`]: the probability that the task is done in a frame, calibrated on clips that were not trained on.

use burn::module::Module as _;
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use super::{Calibration, Reliability, Scaling, Standard, check_clips, stable_softplus};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::network::{
    self, Activation, Descent, Network, NetworkConfig, rows, training_device, values,
};
use crate::store::{Parts, StoredReward, Tensors, prefixed};

/// Settings of a [`SuccessClassifier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuccessConfig {
    /// Layers between the standardised features and the logit; none is logistic regression.
    pub network: NetworkConfig,
    /// Frames at the end of a successful clip that show success. As many before them count as neither; all others, and all of a
    /// failed clip, show that it is not done.
    pub tail: usize,
    /// Share of the clips of each kind kept for calibration, at least one of each.
    pub held_out: f64,
    /// What calibration fits.
    pub scaling: Scaling,
    /// Stretches of probability in the reliability curve.
    pub bins: usize,
    /// Steps down the gradient.
    pub steps: usize,
    /// Frames in a batch.
    pub batch: usize,
    /// Adam's step size.
    pub rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for SuccessConfig {
    fn default() -> Self {
        Self {
            network: NetworkConfig {
                hidden: Vec::new(),
                activation: Activation::Relu,
            },
            tail: 5,
            held_out: 0.25,
            scaling: Scaling::default(),
            bins: 10,
            steps: 300,
            batch: 128,
            rate: 1e-2,
            weight_decay: 1e-2,
        }
    }
}

impl SuccessConfig {
    /// Refuses settings that nothing can be learned with.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.tail == 0 || self.bins == 0 || self.batch == 0 || self.network.hidden.contains(&0) {
            return Err(RewardError::Other(
                "success.tail, bins, batch and the widths of its layers must be at least 1".into(),
            ));
        }
        if !(self.held_out > 0.0 && self.held_out < 1.0) {
            return Err(RewardError::Other(format!(
                "success.held_out is {}; give a share between 0 and 1",
                self.held_out
            )));
        }
        if !(self.rate > 0.0 && self.rate.is_finite() && self.weight_decay >= 0.0) {
            return Err(RewardError::Other(format!(
                "success.rate is {} and weight_decay {}; the rate must be above 0 and the decay not below it",
                self.rate, self.weight_decay
            )));
        }
        Ok(())
    }
}

/// How a training went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuccessReport {
    /// Loss of every step.
    pub losses: Vec<f64>,
    /// Frames trained on.
    pub training: usize,
    /// Frames that calibration was fitted to.
    pub held_out: usize,
    /// Reliability on those before calibration.
    pub before: Reliability,
    /// And after it: better than it will be on clips that it was not fitted to.
    pub after: Reliability,
}

/// Settings on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    learned: SuccessConfig,
    calibration: Calibration,
}

/// Reward = probability in `[0, 1]` that the task is done in this frame.
pub struct SuccessClassifier {
    stored: Stored,
    encoder: EncoderSpec,
    standard: Standard,
    network: Network,
    tensors: Tensors,
}

/// Frames that show success or that it is not done yet.
#[derive(Default)]
struct Labelled {
    values: Vec<f32>,
    done: Vec<bool>,
}

impl Labelled {
    fn add(&mut self, clip: &Features, succeeded: bool, tail: usize, standard: &Standard) {
        let end = clip.len();
        for (t, row) in clip.rows().enumerate() {
            let done = succeeded && t + tail >= end;
            let unclear = succeeded && !done && t + 2 * tail >= end;
            if !unclear {
                self.values.extend(standard.apply(row));
                self.done.push(done);
            }
        }
    }
}

impl SuccessClassifier {
    pub(crate) const KIND: &str = "success";

    /// Learns from clips and whether they succeeded. Fails with fewer than two of each kind: one to learn from, one to
    /// calibrate on.
    pub fn train(
        encoder: &EncoderSpec,
        clips: &[(Features, bool)],
        config: &SuccessConfig,
        seed: u64,
    ) -> Result<(Self, SuccessReport), RewardError> {
        config.validate()?;
        check_clips(clips.iter().map(|(clip, _)| clip), encoder, 0, 1)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut learn, mut hold) = (Vec::new(), Vec::new());
        for (succeeded, name) in [(true, "successful"), (false, "failed")] {
            let mut kind: Vec<&Features> = clips
                .iter()
                .filter(|(_, s)| *s == succeeded)
                .map(|(clip, _)| clip)
                .collect();
            if kind.len() < 2 {
                return Err(RewardError::Other(format!(
                    "there are {} {name} clips where at least 2 are needed, one to learn from and one to calibrate on; add some",
                    kind.len()
                )));
            }
            kind.shuffle(&mut rng);
            let held = (kind.len() as f64 * config.held_out).round() as usize;
            let held = held.clamp(1, kind.len() - 1);
            hold.extend(kind[..held].iter().map(|clip| (*clip, succeeded)));
            learn.extend(kind[held..].iter().map(|clip| (*clip, succeeded)));
        }
        let standard = Standard::fit(encoder.dim, learn.iter().map(|(clip, _)| *clip));
        let [learn, hold] = [learn, hold].map(|clips| {
            let mut labelled = Labelled::default();
            for (clip, succeeded) in clips {
                labelled.add(clip, succeeded, config.tail, &standard);
            }
            labelled
        });
        let (network, losses) = descend(&learn, encoder.dim, config, &mut rng)?;
        let scores = logits(&network, &hold.values, encoder.dim)?;
        let calibration = Calibration::fit(&scores, &hold.done, config.scaling)?;
        let reliability = |calibration: Calibration| {
            let p: Vec<f64> = scores.iter().map(|z| calibration.probability(*z)).collect();
            Reliability::of(&p, &hold.done, config.bins)
        };
        let report = SuccessReport {
            losses,
            training: learn.done.len(),
            held_out: hold.done.len(),
            before: reliability(Calibration::default())?,
            after: reliability(calibration)?,
        };
        let tensors = network::tensors(&network)?;
        let stored = Stored {
            learned: config.clone(),
            calibration,
        };
        let model = Self {
            stored,
            encoder: encoder.clone(),
            standard,
            network,
            tensors,
        };
        Ok((model, report))
    }

    /// From logit to probability.
    pub fn calibration(&self) -> Calibration {
        self.stored.calibration
    }

    /// Logit of every frame before calibration, `[time]`.
    pub fn logits(&self, features: &Features) -> Result<Vec<f64>, RewardError> {
        check_features(features, &self.encoder)?;
        logits(
            &self.network,
            &self.standard.apply(features.as_slice()),
            self.encoder.dim,
        )
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let stored: Stored = parts.config()?;
        stored.learned.validate()?;
        if !(stored.calibration.slope.is_finite() && stored.calibration.offset.is_finite()) {
            return Err(RewardError::Other(
                "the calibration of a success classifier is not finite; learn the reward again"
                    .into(),
            ));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let dim = parts.encoder.dim;
        let network = Network::new(&stored.learned.network, dim, 1, &mut rng, &Device::flex());
        let tensors = parts.tensors_under("network");
        Ok(Box::new(Self {
            network: network::load(network, &tensors)?,
            standard: Standard::restore(dim, &parts.tensors_under("standard"))?,
            stored,
            encoder: parts.encoder,
            tensors,
        }))
    }
}

/// Cross-entropy on batches of frames.
fn descend(
    learn: &Labelled,
    dim: usize,
    config: &SuccessConfig,
    rng: &mut ChaCha8Rng,
) -> Result<(Network, Vec<f64>), RewardError> {
    let device = training_device();
    let mut network = Network::new(&config.network, dim, 1, rng, &device);
    let mut descent = Descent::new(config.rate, config.weight_decay);
    let mut losses = Vec::with_capacity(config.steps);
    for _ in 0..config.steps {
        let (mut frames, mut signs) = (Vec::new(), Vec::new());
        for _ in 0..config.batch {
            let i = rng.random_range(0..learn.done.len());
            frames.extend_from_slice(&learn.values[i * dim..(i + 1) * dim]);
            signs.push(if learn.done[i] { -1.0f32 } else { 1.0 });
        }
        let signs = TensorData::new(signs, [config.batch, 1]);
        let signs = Tensor::<2>::from_data(signs, &device);
        let loss = stable_softplus(network.forward(rows(&frames, dim, &device)) * signs).mean();
        let value;
        (network, value) = descent.step(network, loss)?;
        losses.push(value);
    }
    Ok((network.valid(), losses))
}

fn logits(network: &Network, scaled: &[f32], dim: usize) -> Result<Vec<f64>, RewardError> {
    let found = values(network.forward(rows(scaled, dim, &Device::flex())))?;
    match found.iter().position(|z| !z.is_finite()) {
        Some(step) => Err(RewardError::NotFinite {
            what: "the logit of success".into(),
            step,
        }),
        None => Ok(found.iter().map(|&z| f64::from(z)).collect()),
    }
}

impl RewardModel for SuccessClassifier {
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        let logits = self.logits(&clip.features)?;
        let calibration = self.stored.calibration;
        let mut signal = Signal::new(logits.iter().map(|z| calibration.probability(*z)).collect());
        signal.terms.insert("logit".into(), logits);
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for SuccessClassifier {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        crate::store::to_toml(&self.stored).and_then(crate::store::table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = prefixed("network", self.tensors.clone());
        tensors.extend(prefixed("standard", self.standard.tensors()));
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::sigmoid;
    use crate::progress::synthetic::{World, encoder};

    #[test]
    fn success_shows_at_the_end_of_successes_only() {
        let world = World::new(31);
        let mut clips = Vec::new();
        for i in 0..8 {
            clips.push((world.success(25, i), true));
            clips.push((world.near_miss(25, 100 + i), false));
        }
        let config = SuccessConfig::default();
        let (model, report) = SuccessClassifier::train(&encoder(), &clips, &config, 1).unwrap();
        assert!(report.losses[290] < 0.5 * report.losses[0]);
        let end = |features: Features| {
            let clip = Clip::from_features(features, 10.0);
            let found = model.score(&clip, &Context::default()).unwrap().per_step;
            (found[0], found[found.len() - 1])
        };
        let (start, done) = end(world.success(40, 50));
        let (_, missed) = end(world.near_miss(40, 51));
        assert!(done > 0.8 && missed < 0.3 && start < 0.2);
    }

    /// A network that learned the noise of few clips is too sure; calibration on clips kept aside takes that back, measured on
    /// clips that neither saw.
    #[test]
    fn calibration_takes_back_what_a_network_is_too_sure_of() {
        let encoder = EncoderSpec {
            dim: 8,
            ..encoder()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let mut clips = |count: usize| -> Vec<(Features, bool)> {
            (0..count)
                .map(|_| {
                    let hint = rng.random_range(-2.0f32..2.0);
                    let noise = (1..8).map(|_| rng.random_range(-2.0f32..2.0));
                    let frame: Vec<f32> = std::iter::once(hint).chain(noise).collect();
                    let came = rng.random::<f64>() < sigmoid(1.5 * f64::from(hint));
                    (Features::new(8, frame), came)
                })
                .collect()
        };
        let (seen, unseen) = (clips(300), clips(2000));
        let config = SuccessConfig {
            network: NetworkConfig::default(),
            tail: 1,
            held_out: 0.4,
            weight_decay: 0.0,
            ..Default::default()
        };
        let (model, _) = SuccessClassifier::train(&encoder, &seen, &config, 2).unwrap();
        let scores: Vec<f64> = unseen
            .iter()
            .map(|(clip, _)| model.logits(clip).unwrap()[0])
            .collect();
        let outcomes: Vec<bool> = unseen.iter().map(|(_, came)| *came).collect();
        let error = |calibration: Calibration| {
            let p: Vec<f64> = scores.iter().map(|z| calibration.probability(*z)).collect();
            Reliability::of(&p, &outcomes, 10).unwrap()
        };
        let (raw, fitted) = (error(Calibration::default()), error(model.calibration()));
        assert!(model.calibration().slope < 0.5);
        assert!(fitted.expected_calibration_error < 0.5 * raw.expected_calibration_error);
        assert!(fitted.brier < raw.brier);
    }

    #[test]
    fn clips_of_one_kind_only_are_refused() {
        let world = World::new(32);
        let good: Vec<_> = (0..4).map(|i| (world.success(9, i), true)).collect();
        let config = SuccessConfig::default();
        let message = |clips: &[(Features, bool)]| {
            SuccessClassifier::train(&encoder(), clips, &config, 0)
                .err()
                .unwrap()
                .to_string()
        };
        assert!(message(&good).contains("0 failed clips"));
        assert!(message(&[]).contains("0 successful clips"));
        let empty = [(world.success(0, 0), true)];
        assert!(message(&empty).contains("no frames"));
    }
}
