//! Training of the head: embed, transport, compare, step.

use nalgebra::{DMatrix, DMatrixView, DMatrixViewMut};
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
use crate::transport::{Plan, Points, Solver};

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
    /// Share of those kept aside (equal ones left out) with `p > 0.6`: the alignment score of RAPL's released code. Unlike the
    /// accuracy it depends on the temperature.
    pub alignment_score: Option<f64>,
}

/// What `p` must exceed to count for the alignment score.
const CONFIDENT: f64 = 0.6;

pub(super) fn train(
    comparisons: &Comparisons,
    unlabelled: &[Features],
    config: &AlignConfig,
    seed: u64,
) -> Result<(Alignment, AlignReport), RewardError> {
    let fit = Fit::new(comparisons, unlabelled, config, seed)?;
    let alignment = fit.projection.alignment(&fit.head, config);
    Ok((alignment, fit.report))
}

/// A trained head with what it was trained on.
pub(super) struct Fit {
    pub projection: Projection,
    /// Comparisons trained on, and those kept aside, weighted.
    pub training: Vec<Comparison>,
    pub validation: Vec<Comparison>,
    /// The head of the best epoch, trained on `training` only.
    pub chosen: Head,
    /// The head to keep: [`Fit::chosen`], or one trained on all.
    pub head: Head,
    pub report: AlignReport,
}

impl Fit {
    pub fn new(
        comparisons: &Comparisons,
        unlabelled: &[Features],
        config: &AlignConfig,
        seed: u64,
    ) -> Result<Self, RewardError> {
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
        let (chosen, epochs, best_epoch) = descend(
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
            let all = [&training[..], &validation].concat();
            descend(start, &clips, &all, &[], best_epoch, config, &mut rng)?.0
        } else {
            chosen.clone()
        };
        Ok(Self {
            projection,
            training,
            validation,
            chosen,
            head,
            report,
        })
    }
}

impl Projection {
    /// This and a head behind it as one map.
    pub(super) fn alignment(&self, head: &Head, config: &AlignConfig) -> Alignment {
        Alignment {
            config: config.clone(),
            weight: self.fold(&head.matrix()),
            mean: self.mean.clone(),
            bias: head.bias().to_vec(),
        }
    }
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
        training_loss: judge(&embed_all(&head, clips, &training), &training, config)?.loss,
        ..validate(&embed_all(&head, clips, validation), validation, config)?
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
            ..validate(&embed_all(&head, clips, validation), validation, config)?
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

pub(super) fn thin(clip: &Features, most: usize) -> Features {
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
pub(super) struct Head {
    pub dim: usize,
    pub values: Vec<f64>,
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

    pub fn bias(&self) -> &[f64] {
        &self.values[self.values.len() - self.dim..]
    }

    pub fn inputs(&self) -> usize {
        self.values.len() / self.dim - 1
    }

    /// `[dim, inputs]`.
    fn matrix(&self) -> DMatrix<f64> {
        self.view().clone_owned()
    }

    /// The same, where it lies: nalgebra's columns are our rows.
    fn view(&self) -> DMatrixView<'_, f64> {
        DMatrixView::from_slice(&self.values, self.dim, self.inputs())
    }

    fn embed(&self, clip: &Points) -> Points {
        let mut values = self.bias().repeat(clip.len());
        DMatrixViewMut::from_slice(&mut values, self.dim, clip.len()).gemm(
            1.0,
            &self.view(),
            &DMatrixView::from_slice(clip.as_slice(), clip.dim(), clip.len()),
            1.0,
        );
        Points::new(self.dim, values)
    }

    /// Adds the derivative by the head, given that by the embedding of a clip.
    fn backward(&self, clip: &Points, by_x: &Points, gradient: &mut [f64]) {
        let (weights, bias) = gradient.split_at_mut(self.dim * self.inputs());
        DMatrixViewMut::from_slice(weights, self.dim, clip.dim()).gemm(
            1.0,
            &DMatrixView::from_slice(by_x.as_slice(), self.dim, clip.len()),
            &DMatrixView::from_slice(clip.as_slice(), clip.dim(), clip.len()).transpose(),
            1.0,
        );
        for t in 0..clip.len() {
            for (g, d) in bias.iter_mut().zip(by_x.row(t)) {
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
        let solver = config.transport.solver()?;
        let parts: Vec<(f64, Vec<f64>)> = batch
            .par_iter()
            .map_with(solver, |solver, item| {
                gradient(solver, head, clips, item, config)
            })
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

/// The loss of one comparison times its weight, and the derivatives by the embeddings `[anchor, near, far]`.
pub(super) fn triplet(
    solver: &mut Solver,
    [anchor, near, far]: [&Points; 3],
    item: &Comparison,
    config: &AlignConfig,
) -> Result<(f64, [Points; 3]), RewardError> {
    let to_near = solver.solve(anchor, near)?;
    let to_far = solver.solve(anchor, far)?;
    let gap = value(&to_far, config) - value(&to_near, config);
    let pair = objective(config, item).evaluate(gap, item.label);
    let slope = item.weight * pair.slope;
    let through = |plan: &Plan, other: &Points, slope: f64| {
        let mut by_cost = match config.compare {
            TransportObjective::Distance => plan.distance_gradient(),
            TransportObjective::Regularised => plan.regularised_gradient().to_vec(),
        };
        by_cost.iter_mut().for_each(|g| *g *= slope);
        config.transport.cost.backward(anchor, other, &by_cost)
    };
    let (mut by_anchor, by_near) = through(&to_near, near, -slope);
    let (again, by_far) = through(&to_far, far, slope);
    for (sum, g) in by_anchor.as_mut_slice().iter_mut().zip(again.as_slice()) {
        *sum += g;
    }
    Ok((item.weight * pair.loss, [by_anchor, by_near, by_far]))
}

fn gradient(
    solver: &mut Solver,
    head: &Head,
    clips: &[Points],
    item: &Comparison,
    config: &AlignConfig,
) -> Result<(f64, Vec<f64>), RewardError> {
    let names = [item.anchor, item.near, item.far];
    let embedded = names.map(|i| head.embed(&clips[i]));
    let (loss, by_x) = triplet(solver, embedded.each_ref(), item, config)?;
    let mut sum = vec![0.0; head.values.len()];
    for (name, by_x) in names.into_iter().zip(&by_x) {
        head.backward(&clips[name], by_x, &mut sum);
    }
    Ok((loss, sum))
}

/// How a set of comparisons is answered.
pub(super) struct Judgement {
    /// Weighted mean loss.
    pub loss: f64,
    /// Of those that are not ties, the share in the right order.
    accuracy: Option<f64>,
    /// Of those that are not ties, the share with `p` above [`CONFIDENT`].
    score: Option<f64>,
}

/// Judges comparisons of clips that are embedded already.
pub(super) fn judge(
    embedded: &[Points],
    items: &[Comparison],
    config: &AlignConfig,
) -> Result<Judgement, RewardError> {
    let solver = config.transport.solver()?;
    let gaps: Vec<f64> = items
        .par_iter()
        .map_with(solver, |solver, item| {
            let [anchor, near, far] = [item.anchor, item.near, item.far].map(|i| &embedded[i]);
            let to_near = value(&solver.solve(anchor, near)?, config);
            Ok(value(&solver.solve(anchor, far)?, config) - to_near)
        })
        .collect::<Result<_, RewardError>>()?;
    let (mut loss, mut weight) = (0.0, 0.0);
    let (mut right, mut confident, mut ordered) = (0.0, 0.0, 0.0);
    for (item, &gap) in items.iter().zip(&gaps) {
        let pair = objective(config, item).evaluate(gap, item.label);
        loss += item.weight * pair.loss;
        weight += item.weight;
        if item.label != 0.5 {
            ordered += item.weight;
            right += if gap > 0.0 { item.weight } else { 0.0 };
            if pair.probability > CONFIDENT {
                confident += item.weight;
            }
        }
    }
    let share = |part: f64| (ordered > 0.0).then(|| part / ordered);
    Ok(Judgement {
        loss: loss / weight,
        accuracy: share(right),
        score: share(confident),
    })
}

/// An epoch's report on the comparisons kept aside; empty without any.
pub(super) fn validate(
    embedded: &[Points],
    items: &[Comparison],
    config: &AlignConfig,
) -> Result<EpochReport, RewardError> {
    if items.is_empty() {
        return Ok(EpochReport::default());
    }
    let judgement = judge(embedded, items, config)?;
    Ok(EpochReport {
        training_loss: 0.0,
        validation_loss: Some(judgement.loss),
        validation_accuracy: judgement.accuracy,
        alignment_score: judgement.score,
    })
}

/// Every clip that a comparison speaks of through the head; the others stay empty.
fn embed_all(head: &Head, clips: &[Points], items: &[Comparison]) -> Vec<Points> {
    let mut spoken_of = vec![false; clips.len()];
    for item in items {
        for i in [item.anchor, item.near, item.far] {
            spoken_of[i] = true;
        }
    }
    clips
        .par_iter()
        .zip(spoken_of)
        .map(|(clip, spoken_of)| {
            if spoken_of {
                head.embed(clip)
            } else {
                Points::default()
            }
        })
        .collect()
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

    /// The reference triplet, embedded: p = .6738629923 at epsilon and temperature 1.
    fn reference() -> Vec<Points> {
        [
            [1.0, 0.0, 0.8, 0.6, 0.0, 1.0],
            [1.0, 0.1, 0.7, 0.7, 0.1, 1.0],
            [0.0, -1.0, -1.0, 0.2, 1.0, 0.0],
        ]
        .map(|values| Points::new(2, values.to_vec()))
        .to_vec()
    }

    #[test]
    fn the_profiles_pay_for_ranked_and_equal_clips_as_the_paper_and_its_code_do() {
        let item = Comparison {
            anchor: 0,
            near: 1,
            far: 2,
            label: 1.0,
            weight: 1.0,
            answer: 0,
        };
        let equal = Comparison { label: 0.5, ..item };
        let p: f64 = 0.6738629923;
        let transport = TransportConfig::tight(1.0);
        let (paper, code) = (AlignConfig::paper(), AlignConfig::released());
        assert_eq!((paper.equal_weight, code.equal_weight), (0.0, 1.0));
        for (profile, item, expected) in [
            (&paper, item, -p.ln()),
            (&code, item, 1.0 - p),
            (&code, equal, (0.5 - p) * (0.5 - p)),
        ] {
            let config = AlignConfig {
                transport: transport.clone(),
                ..profile.clone()
            };
            let found = judge(&reference(), &[item], &config).unwrap();
            assert!((found.loss - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn the_alignment_score_counts_what_is_clearly_in_order() {
        let item = Comparison {
            anchor: 0,
            near: 1,
            far: 2,
            label: 1.0,
            weight: 1.0,
            answer: 0,
        };
        let tie = Comparison { label: 0.5, ..item };
        for (temperature, score) in [(1.0, 1.0), (2.0, 0.0)] {
            let mut config = AlignConfig::paper();
            config.objective.temperature = temperature;
            let report = validate(&reference(), &[item, tie], &config).unwrap();
            assert_eq!(report.validation_accuracy, Some(1.0));
            assert_eq!(report.alignment_score, Some(score));
        }
        let report = validate(&reference(), &[tie], &AlignConfig::released()).unwrap();
        assert_eq!(
            (report.validation_accuracy, report.alignment_score),
            (None, None)
        );
    }

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
                let run = |head: &Head| {
                    let solver = &mut config.transport.solver().unwrap();
                    gradient(solver, head, &clips, &item, &config).unwrap()
                };
                let loss = |head: &Head| run(head).0;
                let (_, found) = run(&head);
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
