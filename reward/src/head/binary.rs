//! Yes-or-no heads on rows of numbers: what the faults' and the consistency's heads are made of.

use burn::module::Module as _;
use burn::tensor::Device;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::train::{MemberReport, Schedule, descend};
use crate::model::RewardError;
use crate::network::{Network, NetworkConfig, rows, training_device, values};
use crate::objective::{PairObjective, PairTarget, sigmoid};

/// How a yes-or-no head is shaped and trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinaryConfig {
    /// Shape of the network.
    pub network: NetworkConfig,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Decay of the weights at each step, as a share of the step size (decoupled, as in AdamW).
    pub weight_decay: f64,
    /// Rows per step.
    pub batch: usize,
    /// Passes over the rows.
    pub epochs: usize,
    /// Most that the rarer answer is weighed up by.
    pub most_weight: f64,
}

impl Default for BinaryConfig {
    fn default() -> Self {
        Self {
            network: NetworkConfig {
                hidden: vec![64],
                ..NetworkConfig::default()
            },
            learning_rate: 3e-3,
            weight_decay: 1e-3,
            batch: 128,
            epochs: 40,
            most_weight: 4.0,
        }
    }
}

impl BinaryConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let holds = self.batch > 0
            && !self.network.hidden.contains(&0)
            && self.learning_rate.is_finite()
            && self.learning_rate > 0.0
            && self.weight_decay.is_finite()
            && self.weight_decay >= 0.0
            && self.most_weight.is_finite()
            && self.most_weight >= 1.0;
        if holds {
            Ok(())
        } else {
            Err(RewardError::Other(
                "a yes-or-no head needs a batch of at least 1, units in every layer, a positive learning rate, a decay that is not negative and a weight of at least 1"
                    .into(),
            ))
        }
    }
}

/// Cross-entropy on `σ(f(x))`, by the one pair objective: "yes" against "no". Rows of the rarer answer weigh more.
pub(super) fn train(
    inputs: &[f32],
    width: usize,
    labels: &[f64],
    config: &BinaryConfig,
    seed: u64,
) -> Result<(Network, MemberReport), RewardError> {
    let yes: f64 = labels.iter().sum();
    let no = labels.len() as f64 - yes;
    let limit = |ratio: f64| {
        if ratio.is_finite() {
            ratio.clamp(1.0, config.most_weight)
        } else {
            1.0
        }
    };
    let (of_yes, of_no) = (limit(no / yes), limit(yes / no));
    let items: Vec<(usize, PairTarget)> = labels
        .iter()
        .enumerate()
        .map(|(i, &label)| {
            let mut target = PairTarget::new(label);
            target.weight = label * of_yes + (1.0 - label) * of_no;
            (i, target)
        })
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let network = Network::new(&config.network, width, 1, &mut rng, &training_device());
    let objective = PairObjective::default();
    let schedule = Schedule {
        objective: &objective,
        epochs: config.epochs,
        batch: config.batch,
        learning_rate: config.learning_rate,
        weight_decay: config.weight_decay,
        stop_at_accuracy: None,
    };
    let (network, report) = descend(
        network,
        &items,
        &[],
        &schedule,
        &mut rng,
        |network, items, device| {
            let mut chosen = Vec::with_capacity(items.len() * width);
            for &i in items {
                chosen.extend_from_slice(&inputs[i * width..(i + 1) * width]);
            }
            let found = network.forward(rows(&chosen, width, device));
            Ok(found.reshape([items.len()]))
        },
    )?;
    Ok((network.valid(), report))
}

/// `σ(f(x))` of every row.
pub(super) fn probabilities(
    network: &Network,
    inputs: &[f32],
    width: usize,
) -> Result<Vec<f64>, RewardError> {
    let found = values(network.forward(rows(inputs, width, &Device::flex())))?;
    Ok(found.into_iter().map(|x| sigmoid(f64::from(x))).collect())
}
