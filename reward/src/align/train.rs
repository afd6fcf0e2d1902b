//! Training of the head: embed, transport, compare, step.

use nalgebra::DMatrix;
use rand::seq::SliceRandom as _;
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::Features;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Alignment;
use super::comparison::{Comparison, Comparisons};
use super::config::{AlignConfig, Refit, TransportObjective};
use super::projection::Projection;
use crate::model::RewardError;
use crate::objective::{PairLoss, PairObjective};
use crate::transport::{Plan, Points};

/// How a training went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlignReport {
    /// Every epoch; the first is the head before training.
    pub epochs: Vec<EpochReport>,
    /// The epoch with the least validation loss; without validation the last.
    pub best_epoch: usize,
    /// Comparisons trained on.
    pub training: usize,
    /// Comparisons kept for choosing the epoch.
    pub validation: usize,
    /// Principal components in use (the width of the features where none are).
    pub components: usize,
}

/// One epoch of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Weighted mean loss on the comparisons trained on, each before its step.
    pub training_loss: f64,
    /// Weighted mean loss on those kept aside.
    pub validation_loss: Option<f64>,
    /// Share of those kept aside (equal ones left out) in the right order.
    pub validation_accuracy: Option<f64>,
}

pub(super) fn train(
    comparisons: &Comparisons,
    unlabelled: &[Features],
    config: &AlignConfig,
    seed: u64,
) -> Result<(Alignment, AlignReport), RewardError> {
    config.validate()?;
    check(comparisons, unlabelled)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);

    let all: Vec<&Features> = comparisons.clips.iter().chain(unlabelled).collect();
    let projection = Projection::fit(&all, config, rng.random());
    let clips: Vec<Points> = comparisons
        .clips
        .iter()
        .map(|clip| {
            Points::new(
                projection.dim(),
                projection.apply(&thin(clip, config.max_frames)),
            )
        })
        .collect();
    let (training, validation) = split(comparisons, config, &mut rng);
    if training.is_empty() {
        return Err(RewardError::Other(
            "all answers call clips equal and align.equal_weight is 0; add rankings or raise it"
                .into(),
        ));
    }
    let start = Head::random(config.dim, projection.dim(), &mut rng);
    let (head, epochs, best_epoch) = descend(
        start.clone(),
        &clips,
        &training,
        &validation,
        config.epochs,
        config,
        &mut rng,
    )?;
    let report = AlignReport {
        epochs,
        best_epoch,
        training: training.len(),
        validation: validation.len(),
        components: projection.dim(),
    };
    let head = if config.refit == Refit::AllAnswers && !validation.is_empty() {
        let all = [training, validation].concat();
        descend(start, &clips, &all, &[], best_epoch, config, &mut rng)?.0
    } else {
        head
    };
    let alignment = Alignment {
        config: config.clone(),
        weight: projection.fold(&head.matrix()),
        mean: projection.mean,
        bias: head.bias().to_vec(),
    };
    Ok((alignment, report))
}

/// Trains a head; gives that of the epoch with the least validation loss (without validation: the last), all epochs, and which
/// it was.
fn descend(
    mut head: Head,
    clips: &[Points],
    training: &[Comparison],
    validation: &[Comparison],
    epochs: usize,
    config: &AlignConfig,
    rng: &mut ChaCha8Rng,
) -> Result<(Head, Vec<EpochReport>, usize), RewardError> {
    let mut training = training.to_vec();
    let mut adam = Adam::new(head.values.len(), config);
    let mut reports = vec![EpochReport {
        training_loss: evaluate(&head, clips, &training, config)?.0,
        ..validate(&head, clips, validation, config)?
    }];
    let (mut best, mut best_epoch) = (head.clone(), 0);
    for epoch in 1..=epochs {
        training.shuffle(rng);
        let (mut loss, mut weight) = (0.0, 0.0);
        for batch in training.chunks(config.batch) {
            let step = Step::of(&head, clips, batch, config)?;
            adam.step(&mut head.values, &step.gradient, step.weight);
            loss += step.loss;
            weight += step.weight;
        }
        reports.push(EpochReport {
            training_loss: loss / weight,
            ..validate(&head, clips, validation, config)?
        });
        let losses = reports[epoch]
            .validation_loss
            .zip(reports[best_epoch].validation_loss);
        if losses.is_none_or(|(now, least)| now < least) {
            best = head.clone();
            best_epoch = epoch;
        }
    }
    Ok((best, reports, best_epoch))
}

fn check(comparisons: &Comparisons, unlabelled: &[Features]) -> Result<(), RewardError> {
    if comparisons.items.is_empty() {
        return Err(RewardError::Other(
            "there is nothing to learn from; give triplets or rankings, or pairs together with exemplar clips".into(),
        ));
    }
    let dim = comparisons.clips[0].dim();
    for (i, clip) in comparisons.clips.iter().chain(unlabelled).enumerate() {
        if clip.is_empty() {
            return Err(RewardError::Other(format!(
                "clip {i} has no frames; remove the answers about it"
            )));
        }
        if clip.dim() != dim {
            return Err(RewardError::Other(format!(
                "clip {i} has features {} wide where the first has {dim}; encode all with one encoder",
                clip.dim()
            )));
        }
        if let Some(bad) = clip.as_slice().iter().position(|v| !v.is_finite()) {
            return Err(RewardError::NotFinite {
                what: format!("a feature of clip {i}"),
                step: bad / dim,
            });
        }
    }
    Ok(())
}

fn thin(clip: &Features, most: usize) -> Features {
    if clip.len() <= most {
        return clip.clone();
    }
    let times: Vec<usize> = (0..most)
        .map(|i| (2 * i + 1) * clip.len() / (2 * most))
        .collect();
    clip.select(&times)
}

/// Answers are split, not comparisons: those of one ranking share their clips.
fn split(
    comparisons: &Comparisons,
    config: &AlignConfig,
    rng: &mut impl Rng,
) -> (Vec<Comparison>, Vec<Comparison>) {
    let items: Vec<Comparison> = comparisons
        .items
        .iter()
        .map(|item| Comparison {
            weight: item.weight
                * if item.label == 0.5 {
                    config.equal_weight
                } else {
                    1.0
                },
            ..*item
        })
        .filter(|item| item.weight > 0.0)
        .collect();
    let mut answers: Vec<usize> = items.iter().map(|item| item.answer).collect();
    answers.sort_unstable();
    answers.dedup();
    answers.shuffle(rng);
    let held = (answers.len() as f64 * config.validation).round() as usize;
    let held = held.min(answers.len().saturating_sub(1));
    let mut held = answers[..held].to_vec();
    held.sort_unstable();
    items
        .into_iter()
        .partition(|item| held.binary_search(&item.answer).is_err())
}

/// `x = Wᵀ z + bias`. The weight lies as `[inputs, dim]`, the bias behind it: one vector to step along.
#[derive(Clone, Debug)]
struct Head {
    dim: usize,
    values: Vec<f64>,
}

impl Head {
    fn random(dim: usize, inputs: usize, rng: &mut impl Rng) -> Self {
        let scale = (3.0 / inputs as f64).sqrt();
        let mut values: Vec<f64> = (0..inputs * dim)
            .map(|_| scale * (2.0 * rng.random::<f64>() - 1.0))
            .collect();
        values.resize((inputs + 1) * dim, 0.0);
        Self { dim, values }
    }

    fn bias(&self) -> &[f64] {
        &self.values[self.values.len() - self.dim..]
    }

    /// `[dim, inputs]`.
    fn matrix(&self) -> DMatrix<f64> {
        let inputs = self.values.len() / self.dim - 1;
        DMatrix::from_column_slice(self.dim, inputs, &self.values[..inputs * self.dim])
    }

    fn embed(&self, clip: &Points) -> Points {
        let mut values = Vec::with_capacity(clip.len() * self.dim);
        for t in 0..clip.len() {
            let start = values.len();
            values.extend_from_slice(self.bias());
            let x = &mut values[start..];
            for (z, weights) in clip.row(t).iter().zip(self.values.chunks_exact(self.dim)) {
                for (x, w) in x.iter_mut().zip(weights) {
                    *x += z * w;
                }
            }
        }
        Points::new(self.dim, values)
    }

    /// Adds the derivative by the head, given that by the embedding of a clip.
    fn backward(&self, clip: &Points, by_x: &Points, gradient: &mut [f64]) {
        let bias = gradient.len() - self.dim;
        for t in 0..clip.len() {
            let by_x = by_x.row(t);
            for (z, row) in clip.row(t).iter().zip(gradient.chunks_exact_mut(self.dim)) {
                for (g, d) in row.iter_mut().zip(by_x) {
                    *g += z * d;
                }
            }
            for (g, d) in gradient[bias..].iter_mut().zip(by_x) {
                *g += d;
            }
        }
    }
}

/// Loss and gradient of a batch, summed with the comparisons' weights.
struct Step {
    loss: f64,
    weight: f64,
    gradient: Vec<f64>,
}

impl Step {
    fn of(
        head: &Head,
        clips: &[Points],
        batch: &[Comparison],
        config: &AlignConfig,
    ) -> Result<Self, RewardError> {
        let parts: Vec<(f64, Vec<f64>)> = batch
            .par_iter()
            .map(|item| gradient(head, clips, item, config))
            .collect::<Result<_, _>>()?;
        // Summed in order, so that the result does not depend on the number of threads.
        let mut step = Self {
            loss: 0.0,
            weight: batch.iter().map(|item| item.weight).sum(),
            gradient: vec![0.0; head.values.len()],
        };
        for (loss, gradient) in parts {
            step.loss += loss;
            for (sum, g) in step.gradient.iter_mut().zip(gradient) {
                *sum += g;
            }
        }
        Ok(step)
    }
}

fn objective(config: &AlignConfig, item: &Comparison) -> PairObjective {
    let mut objective = config.objective.clone();
    // The released code pairs `1 - p` on ranked clips with (½ - p)² on equal ones.
    if item.label == 0.5 && objective.loss == PairLoss::OneMinusP {
        objective.loss = PairLoss::SquaredProbability;
    }
    objective
}

fn value(plan: &Plan, config: &AlignConfig) -> f64 {
    match config.compare {
        TransportObjective::Distance => plan.distance(),
        TransportObjective::Regularised => plan.regularised(),
    }
}

fn gradient(
    head: &Head,
    clips: &[Points],
    item: &Comparison,
    config: &AlignConfig,
) -> Result<(f64, Vec<f64>), RewardError> {
    let names = [item.anchor, item.near, item.far];
    let [anchor, near, far] = names.map(|i| head.embed(&clips[i]));
    let to_near = config.transport.solve(&anchor, &near)?;
    let to_far = config.transport.solve(&anchor, &far)?;
    let gap = value(&to_far, config) - value(&to_near, config);
    let pair = objective(config, item).evaluate(gap, item.label);

    let mut sum = vec![0.0; head.values.len()];
    let slope = item.weight * pair.slope;
    for (plan, other, name, slope) in [
        (&to_near, &near, item.near, -slope),
        (&to_far, &far, item.far, slope),
    ] {
        let mut by_cost = match config.compare {
            TransportObjective::Distance => plan.distance_gradient(),
            TransportObjective::Regularised => plan.regularised_gradient().to_vec(),
        };
        by_cost.iter_mut().for_each(|g| *g *= slope);
        let (by_anchor, by_other) = config.transport.cost.backward(&anchor, other, &by_cost);
        head.backward(&clips[item.anchor], &by_anchor, &mut sum);
        head.backward(&clips[name], &by_other, &mut sum);
    }
    Ok((item.weight * pair.loss, sum))
}

/// Weighted mean loss and, of those that are not ties, the share in the right order.
fn evaluate(
    head: &Head,
    clips: &[Points],
    items: &[Comparison],
    config: &AlignConfig,
) -> Result<(f64, Option<f64>), RewardError> {
    let gaps: Vec<f64> = items
        .par_iter()
        .map(|item| {
            let [anchor, near, far] =
                [item.anchor, item.near, item.far].map(|i| head.embed(&clips[i]));
            let to_near = config.transport.solve(&anchor, &near)?;
            let to_far = config.transport.solve(&anchor, &far)?;
            Ok(value(&to_far, config) - value(&to_near, config))
        })
        .collect::<Result<_, RewardError>>()?;
    let (mut loss, mut weight, mut right, mut ordered) = (0.0, 0.0, 0.0, 0.0);
    for (item, &gap) in items.iter().zip(&gaps) {
        loss += item.weight * objective(config, item).evaluate(gap, item.label).loss;
        weight += item.weight;
        if item.label != 0.5 {
            ordered += item.weight;
            right += if gap > 0.0 { item.weight } else { 0.0 };
        }
    }
    Ok((loss / weight, (ordered > 0.0).then(|| right / ordered)))
}

fn validate(
    head: &Head,
    clips: &[Points],
    items: &[Comparison],
    config: &AlignConfig,
) -> Result<EpochReport, RewardError> {
    if items.is_empty() {
        return Ok(EpochReport::default());
    }
    let (loss, accuracy) = evaluate(head, clips, items, config)?;
    Ok(EpochReport {
        training_loss: 0.0,
        validation_loss: Some(loss),
        validation_accuracy: accuracy,
    })
}

/// Adam with decoupled weight decay (arXiv 1412.6980, 1711.05101).
struct Adam {
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
    learning_rate: f64,
    weight_decay: f64,
}

impl Adam {
    fn new(count: usize, config: &AlignConfig) -> Self {
        Self {
            first: vec![0.0; count],
            second: vec![0.0; count],
            steps: 0,
            learning_rate: config.learning_rate,
            weight_decay: config.weight_decay,
        }
    }

    /// `gradient` is a sum over a batch of the given weight.
    fn step(&mut self, values: &mut [f64], gradient: &[f64], weight: f64) {
        const BETA: (f64, f64) = (0.9, 0.999);
        const FLOOR: f64 = 1e-8;
        self.steps += 1;
        let unbias = (1.0 - BETA.0.powi(self.steps), 1.0 - BETA.1.powi(self.steps));
        for (((value, g), first), second) in values
            .iter_mut()
            .zip(gradient)
            .zip(&mut self.first)
            .zip(&mut self.second)
        {
            let g = g / weight;
            *first = BETA.0 * *first + (1.0 - BETA.0) * g;
            *second = BETA.1 * *second + (1.0 - BETA.1) * g * g;
            let step = (*first / unbias.0) / ((*second / unbias.1).sqrt() + FLOOR);
            *value -= self.learning_rate * (step + self.weight_decay * *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Cost, TransportConfig};

    #[test]
    fn the_heads_gradient_agrees_with_finite_differences() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let clips: Vec<Points> = [4, 3, 5]
            .iter()
            .map(|t| Points::new(6, (0..t * 6).map(|_| rng.random::<f64>() - 0.5).collect()))
            .collect();
        let mut head = Head::random(3, 6, &mut rng);
        head.values.iter_mut().for_each(|v| *v += 0.05);
        let item = Comparison {
            anchor: 0,
            near: 1,
            far: 2,
            label: 1.0,
            weight: 0.7,
            answer: 0,
        };
        for compare in [
            TransportObjective::Distance,
            TransportObjective::Regularised,
        ] {
            for cost in [Cost::Cosine, Cost::Euclidean] {
                let config = AlignConfig {
                    compare,
                    transport: TransportConfig {
                        cost,
                        ..TransportConfig::tight(0.5)
                    },
                    ..AlignConfig::default()
                };
                let loss = |head: &Head| gradient(head, &clips, &item, &config).unwrap().0;
                let (_, found) = gradient(&head, &clips, &item, &config).unwrap();
                for (i, found) in found.into_iter().enumerate() {
                    let mut moved = head.clone();
                    moved.values[i] += 1e-5;
                    let up = loss(&moved);
                    moved.values[i] -= 2e-5;
                    let expected = (up - loss(&moved)) / 2e-5;
                    assert!(
                        (found - expected).abs() < 1e-4 * expected.abs() + 1e-7,
                        "{compare:?} {cost:?} {i}: {found} {expected}"
                    );
                }
            }
        }
    }
}
