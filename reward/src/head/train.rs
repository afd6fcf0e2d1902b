//! The one loop that every trained head goes through: batches of pairs, gaps, the one objective, a step.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::Rng;
use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::network::{Descent, training_device, values};
use crate::objective::{PairObjective, PairTarget};

/// One epoch of a member's training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeadEpoch {
    /// Weighted mean loss on the pairs trained on, each before its step.
    pub training_loss: f64,
    /// Weighted share of them (equal ones left out) in the right order, each before its step. None when all are equal.
    pub training_accuracy: Option<f64>,
    /// Weighted mean loss on the pairs kept aside.
    pub validation_loss: Option<f64>,
    /// Weighted share of those (equal ones left out) in the right order.
    pub validation_accuracy: Option<f64>,
}

/// How one member was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Every epoch.
    pub epochs: Vec<HeadEpoch>,
    /// The epoch (from 1) whose weights were kept; 0 for those before training.
    pub kept: usize,
}

/// How long, how fast, on what loss.
#[derive(Clone, Debug)]
pub(super) struct Schedule<'a> {
    pub objective: &'a PairObjective,
    pub epochs: usize,
    pub batch: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub stop_at_accuracy: Option<f64>,
}

/// Loss and share in the right order, both weighted sums; the second weight is without ties.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    loss: f64,
    weight: f64,
    right: f64,
    ordered: f64,
}

impl Tally {
    pub fn add(&mut self, objective: &PairObjective, gaps: &[f32], targets: &[PairTarget]) {
        for (&gap, target) in gaps.iter().zip(targets) {
            let gap = f64::from(gap);
            self.loss += target.weight * objective.evaluate_target(gap, target).loss;
            self.weight += target.weight;
            if target.label != 0.5 {
                self.ordered += target.weight;
                self.right += target.weight
                    * match gap * (target.label - 0.5) {
                        x if x > 0.0 => 1.0,
                        0.0 => 0.5,
                        _ => 0.0,
                    };
            }
        }
    }

    pub fn loss(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.loss / self.weight)
    }

    pub fn accuracy(&self) -> Option<f64> {
        (self.ordered > 0.0).then(|| self.right / self.ordered)
    }
}

/// Trains a module. `gaps` gives the gaps of some pairs, by index, on a device; `training` and `validation` say which pairs
/// there are. Keeps the epoch with the least validation loss; without validation the last.
pub(super) fn descend<M: Module>(
    mut module: M,
    training: &[(usize, PairTarget)],
    validation: &[(usize, PairTarget)],
    schedule: &Schedule<'_>,
    rng: &mut impl Rng,
    gaps: impl Fn(&M, &[usize], &Device) -> Result<Tensor<1>, RewardError>,
) -> Result<(M, MemberReport), RewardError> {
    let device = training_device();
    let mut descent = Descent::new(schedule.learning_rate, schedule.weight_decay);
    let mut order = training.to_vec();
    let mut report = MemberReport::default();
    let mut best: Option<(f64, M)> = None;
    for epoch in 1..=schedule.epochs {
        order.shuffle(rng);
        let mut tally = Tally::default();
        for batch in order.chunks(schedule.batch) {
            let (items, targets): (Vec<usize>, Vec<PairTarget>) = batch.iter().copied().unzip();
            let found = gaps(&module, &items, &device)?;
            tally.add(
                schedule.objective,
                &values(found.clone().detach())?,
                &targets,
            );
            let (surrogate, _) = schedule.objective.descend(found, &targets)?;
            module = descent.step(module, surrogate)?.0;
        }
        let held = evaluate(
            &module.valid(),
            validation,
            schedule.objective,
            schedule.batch,
            &gaps,
        )?;
        report.epochs.push(HeadEpoch {
            training_loss: tally.loss().unwrap_or(0.0),
            training_accuracy: tally.accuracy(),
            validation_loss: held.loss(),
            validation_accuracy: held.accuracy(),
        });
        if let Some(loss) = held.loss() {
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, module.clone()));
                report.kept = epoch;
            }
        } else {
            report.kept = epoch;
        }
        if let (Some(enough), Some(now)) = (schedule.stop_at_accuracy, tally.accuracy())
            && now > enough
        {
            break;
        }
    }
    Ok((best.map_or(module, |(_, best)| best), report))
}

fn evaluate<M: Module>(
    module: &M,
    pairs: &[(usize, PairTarget)],
    objective: &PairObjective,
    batch: usize,
    gaps: impl Fn(&M, &[usize], &Device) -> Result<Tensor<1>, RewardError>,
) -> Result<Tally, RewardError> {
    let device = Device::flex();
    let mut tally = Tally::default();
    for chunk in pairs.chunks(batch) {
        let (items, targets): (Vec<usize>, Vec<PairTarget>) = chunk.iter().copied().unzip();
        tally.add(
            objective,
            &values(gaps(module, &items, &device)?)?,
            &targets,
        );
    }
    Ok(tally)
}
