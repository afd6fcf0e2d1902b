//! Adapting the encoder itself to preferences: changes to its last blocks ([`Adapters`]), trained with the head through the transport
//! distance.
//!
//! The head is trained first, on the encoder as it is ([`super::Alignment::train`]); adaptation goes on from there, and the epoch with
//! the least validation loss is kept, which may be the one before any change. Distances are differentiated through the converged plan
//! by its implicit derivative, in double precision; what that gives as derivative `G` by the embedding `X` enters the network's
//! own differentiation as the surrogate `Σ G X`, whose derivative by `X` is `G`.
//!
//! PerceptCLIP (arXiv 2503.13260) adapts CLIP's transformer with low rank and puts a head on it; here the network is convolutional, the
//! adapted layers are its 1x1 convolutions, and the loss is RAPL's.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom as _;
use rand::{Rng, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::Features;
use rapport_perception::efficientnet::adapt::FrozenTail;
use rapport_perception::efficientnet::{AdapterConfig, AdapterKind, Adapters, Tail, Tap};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::comparison::{Comparison, Comparisons};
use super::config::{AlignConfig, Refit};
use super::projection::Projection;
use super::train::{AlignReport, EpochReport, Fit, Head, judge, thin, triplet, validate};
use super::{Adaptation, Alignment};
use crate::model::RewardError;
use crate::network::{Descent, rows, training_device, values};
use crate::transport::Points;

/// How the encoder is adapted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptConfig {
    /// What may change.
    pub adapter: AdapterConfig,
    /// Step size of Adam, for changes and head.
    pub learning_rate: f64,
    /// Comparisons per step. A frame holds about 2 MB until its step is done.
    pub batch: usize,
    /// Passes over the comparisons.
    pub epochs: usize,
    /// Clips longer than this are thinned out evenly while the encoder is trained; the head before it sees
    /// [`AlignConfig::max_frames`].
    pub max_frames: usize,
}

impl Default for AdaptConfig {
    fn default() -> Self {
        Self::low_rank()
    }
}

impl AdaptConfig {
    /// Low-rank changes (LoRA).
    pub fn low_rank() -> Self {
        Self {
            adapter: AdapterConfig::default(),
            learning_rate: 5e-4,
            batch: 5,
            epochs: 5,
            max_frames: 8,
        }
    }

    /// Full fine-tuning of the same convolutions. Each of hundreds of inputs moves by the step size, so that it must be small.
    pub fn dense() -> Self {
        Self {
            adapter: AdapterConfig {
                kind: AdapterKind::Dense,
                ..AdapterConfig::default()
            },
            learning_rate: 3e-5,
            ..Self::low_rank()
        }
    }

    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        self.adapter.validate().map_err(other)?;
        let sentence = if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            "adapt.learning_rate must be positive"
        } else if self.batch == 0 {
            "adapt.batch is 0; give at least 1"
        } else if self.max_frames == 0 {
            "adapt.max_frames is 0; give at least 1"
        } else {
            return Ok(());
        };
        Err(RewardError::Other(sentence.into()))
    }
}

/// How an adaptation went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AdaptReport {
    /// The head on the encoder as it was.
    pub head: AlignReport,
    /// Every epoch of adaptation; the first is before any change.
    pub epochs: Vec<EpochReport>,
    /// The epoch with the least validation loss; without validation the last.
    pub best_epoch: usize,
    /// Parameters that were trained in the encoder.
    pub adapted_parameters: usize,
}

/// Learns a head and changes to the last blocks before `tap` from comparisons of clips, whose features are those of the tap below the
/// blocks ([`Tail::below`]). `unlabelled` clips help to find the principal components. The same seed gives the same result.
///
/// # Errors
/// As [`Alignment::train`]; settings that cannot be.
pub fn adapt(
    tail: Tail,
    tap: Tap,
    comparisons: &Comparisons,
    unlabelled: &[Features],
    config: &AlignConfig,
    settings: &AdaptConfig,
    seed: u64,
) -> Result<(Adaptation, Alignment, AdaptReport), RewardError> {
    settings.validate()?;
    config.validate()?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let device = training_device();
    let fresh = Adapters::new(&tail, &settings.adapter, &mut rng, &device);
    let identity = Adaptation::new(tail, tap, settings.adapter.clone(), fresh.valid());

    let seen = |clips: &[Features]| -> Result<Vec<Features>, RewardError> {
        let thinned = clips.iter().map(|clip| thin(clip, config.max_frames));
        thinned.map(|clip| identity.embed(&clip)).collect()
    };
    let through = Comparisons {
        clips: seen(&comparisons.clips)?,
        items: comparisons.items.clone(),
        skipped: comparisons.skipped,
    };
    let fit = Fit::new(&through, &seen(unlabelled)?, config, seed)?;
    drop(through);

    let clips: Vec<Features> = comparisons
        .clips
        .iter()
        .map(|clip| thin(clip, settings.max_frames))
        .collect();
    let course = Course {
        training: Eye::new(identity.tail(), &fit.projection, &device),
        scoring: Eye::new(identity.tail(), &fit.projection, &Device::flex()),
        clips: &clips,
        config,
        settings,
    };
    let start = |head: &Head| Trainable {
        adapters: fresh.clone(),
        head: linear(head, &device),
    };
    let (chosen, epochs, best_epoch) = course.descend(
        start(&fit.chosen),
        &fit.training,
        &fit.validation,
        settings.epochs,
        &mut rng,
    )?;
    let kept = if config.refit == Refit::AllAnswers && !fit.validation.is_empty() {
        let all = [&fit.training[..], &fit.validation].concat();
        course
            .descend(start(&fit.head), &all, &[], best_epoch, &mut rng)?
            .0
    } else {
        chosen
    };
    let report = AdaptReport {
        adapted_parameters: fresh.num_params(),
        head: fit.report,
        epochs,
        best_epoch,
    };
    // Without a step the head stays in double precision: exactly what a head alone would be.
    let head = if best_epoch == 0 {
        fit.head
    } else {
        head_of(&kept.head)?
    };
    let alignment = fit.projection.alignment(&head, config);
    let adaptation = Adaptation::new(
        identity.tail().clone(),
        tap,
        settings.adapter.clone(),
        kept.adapters.valid(),
    );
    Ok((adaptation, alignment, report))
}

/// What is trained.
#[derive(Module, Debug)]
struct Trainable {
    adapters: Adapters,
    head: Linear,
}

fn linear(head: &Head, device: &Device) -> Linear {
    let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    let weights = single(&head.values[..head.inputs() * head.dim]);
    let weight = TensorData::new(weights, [head.inputs(), head.dim]);
    let bias = TensorData::new(single(head.bias()), [head.dim]);
    Linear {
        weight: burn::module::Param::from_tensor(Tensor::from_data(weight, device)),
        bias: Some(burn::module::Param::from_tensor(Tensor::from_data(
            bias, device,
        ))),
    }
}

fn head_of(linear: &Linear) -> Result<Head, RewardError> {
    let [_, dim] = linear.weight.dims();
    let mut all = values(linear.weight.val().detach())?;
    if let Some(bias) = &linear.bias {
        all.extend(values(bias.val().detach())?);
    }
    Ok(Head {
        dim,
        values: all.into_iter().map(f64::from).collect(),
    })
}

/// Everything between features and embedding that is not trained, on one device.
struct Eye {
    tail: FrozenTail,
    device: Device,
    /// `[1, features]`.
    mean: Tensor<2>,
    /// `[features, components]`.
    basis: Option<Tensor<2>>,
}

impl Eye {
    fn new(tail: &Tail, projection: &Projection, device: &Device) -> Self {
        let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        Self {
            tail: tail.on(device),
            mean: rows(&single(&projection.mean), projection.mean.len(), device),
            // `[components, features]` column-major is `[features, components]` row-major.
            basis: projection
                .basis
                .as_ref()
                .map(|b| rows(&single(b.as_slice()), b.nrows(), device)),
            device: device.clone(),
        }
    }

    /// `[frames, below]` to `[frames, dim]`.
    fn embed(&self, model: &Trainable, frames: &[f32], dim: usize) -> Tensor<2> {
        let features = self
            .tail
            .forward(&model.adapters, rows(frames, dim, &self.device));
        let centred = features - self.mean.clone();
        let components = match &self.basis {
            Some(basis) => centred.matmul(basis.clone()),
            None => centred,
        };
        model.head.forward(components)
    }
}

/// What a descent needs to know.
struct Course<'a> {
    training: Eye,
    scoring: Eye,
    clips: &'a [Features],
    config: &'a AlignConfig,
    settings: &'a AdaptConfig,
}

impl Course<'_> {
    /// Trains; gives the model of the epoch with the least validation loss (without validation: the last), all epochs, and which.
    fn descend(
        &self,
        mut model: Trainable,
        training: &[Comparison],
        validation: &[Comparison],
        epochs: usize,
        rng: &mut impl Rng,
    ) -> Result<(Trainable, Vec<EpochReport>, usize), RewardError> {
        let mut training = training.to_vec();
        let mut descent = Descent::new(self.settings.learning_rate, self.config.weight_decay);
        let mut reports = vec![self.report(&model, validation)?];
        reports[0].training_loss = judge(
            &self.embedded(&model.valid(), &training)?,
            &training,
            self.config,
        )?
        .loss;
        let (mut best, mut best_epoch) = (model.clone(), 0);
        for epoch in 1..=epochs {
            training.shuffle(rng);
            let (mut loss, mut weight) = (0.0, 0.0);
            for batch in training.chunks(self.settings.batch) {
                let by_step;
                (model, by_step) = self.step(model, batch, &mut descent)?;
                loss += by_step;
                weight += batch.iter().map(|item| item.weight).sum::<f64>();
            }
            let mut report = self.report(&model, validation)?;
            report.training_loss = loss / weight;
            reports.push(report);
            let losses = reports[epoch]
                .validation_loss
                .zip(reports[best_epoch].validation_loss);
            if losses.is_none_or(|(now, least)| now < least) {
                best = model.clone();
                best_epoch = epoch;
            }
        }
        Ok((best, reports, best_epoch))
    }

    /// One step down; gives the loss before it, summed with the comparisons' weights.
    fn step(
        &self,
        model: Trainable,
        batch: &[Comparison],
        descent: &mut Descent,
    ) -> Result<(Trainable, f64), RewardError> {
        let (names, frames) = self.gather(batch);
        let embedding = self.training.embed(&model, &frames, self.clips[0].dim());
        let [_, dim] = embedding.dims();
        let found = values(embedding.clone().detach())?;
        // Where each clip's frames begin.
        let mut starts = vec![0];
        for &name in &names {
            starts.push(starts[starts.len() - 1] + self.clips[name].len() * dim);
        }
        let place = |name: usize| names.binary_search(&name).unwrap_or_default();
        let clip = |name: usize| {
            let i = place(name);
            let values = &found[starts[i]..starts[i + 1]];
            Points::new(dim, values.iter().map(|&v| f64::from(v)).collect())
        };
        let solver = self.config.transport.solver()?;
        let parts = batch
            .par_iter()
            .map_with(solver, |solver, item| {
                let [anchor, near, far] = [item.anchor, item.near, item.far].map(clip);
                triplet(solver, [&anchor, &near, &far], item, self.config)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let weight: f64 = batch.iter().map(|item| item.weight).sum();
        let (mut loss, mut gradient) = (0.0, vec![0.0; found.len()]);
        for (item, (part, by_x)) in batch.iter().zip(parts) {
            loss += part;
            for (name, by_x) in [item.anchor, item.near, item.far].into_iter().zip(by_x) {
                let i = place(name);
                let sums = &mut gradient[starts[i]..starts[i + 1]];
                for (sum, g) in sums.iter_mut().zip(by_x.as_slice()) {
                    *sum += g / weight;
                }
            }
        }
        let gradient: Vec<f32> = gradient.into_iter().map(|g| g as f32).collect();
        let surrogate = (embedding * rows(&gradient, dim, &self.training.device)).sum();
        Ok((descent.step(model, surrogate)?.0, loss))
    }

    /// The clips that comparisons speak of, ascending, and their frames laid end to end.
    fn gather(&self, items: &[Comparison]) -> (Vec<usize>, Vec<f32>) {
        let mut names: Vec<usize> = items
            .iter()
            .flat_map(|item| [item.anchor, item.near, item.far])
            .collect();
        names.sort_unstable();
        names.dedup();
        let frames = names
            .iter()
            .flat_map(|&i| self.clips[i].as_slice())
            .copied()
            .collect();
        (names, frames)
    }

    fn report(
        &self,
        model: &Trainable,
        validation: &[Comparison],
    ) -> Result<EpochReport, RewardError> {
        validate(
            &self.embedded(&model.valid(), validation)?,
            validation,
            self.config,
        )
    }

    /// Every clip that a comparison speaks of, embedded by a model on the plain device; the others stay empty.
    fn embedded(
        &self,
        model: &Trainable,
        items: &[Comparison],
    ) -> Result<Vec<Points>, RewardError> {
        let mut all = vec![Points::default(); self.clips.len()];
        for name in self.gather(items).0 {
            let clip = &self.clips[name];
            let embedding = self.scoring.embed(model, clip.as_slice(), clip.dim());
            let [_, dim] = embedding.dims();
            let found = values(embedding)?;
            all[name] = Points::new(dim, found.into_iter().map(f64::from).collect());
        }
        Ok(all)
    }
}

/// What went wrong in the encoder's room, in this one's words.
pub(super) fn other(error: rapport_perception::EncoderError) -> RewardError {
    RewardError::Other(error.to_string())
}
