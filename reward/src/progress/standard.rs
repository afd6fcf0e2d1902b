//! [`Standard`]: features of any scale brought to one.

use rapport_perception::Features;

use crate::model::RewardError;
use crate::store::{Tensor, Tensors};

/// Features whose deviation is below this share of the typical one are not blown up any further.
const FLOOR: f64 = 0.05;
/// Deviations from the mean that are told apart; beyond it lies nothing that anything was learned about.
const LIMIT: f64 = 100.0;

/// `(x - mean) / deviation` per feature, from the frames that a head is learned on.
#[derive(Clone, Debug)]
pub(crate) struct Standard {
    mean: Vec<f32>,
    inverse: Vec<f32>,
}

impl Standard {
    /// From frames of one width. Deviations are floored at a share of their root mean square, so that a feature that never
    /// varied here does not drown the others once it does.
    pub fn fit<'a>(dim: usize, clips: impl Iterator<Item = &'a Features>) -> Self {
        let (mut mean, mut squares, mut count) = (vec![0.0; dim], vec![0.0; dim], 0.0);
        for row in clips.flat_map(Features::rows) {
            count += 1.0;
            for ((mean, squares), x) in mean.iter_mut().zip(&mut squares).zip(row) {
                let off = f64::from(*x) - *mean;
                *mean += off / count;
                *squares += off * (f64::from(*x) - *mean);
            }
        }
        let variance: Vec<f64> = squares.iter().map(|s| s / f64::max(count, 1.0)).collect();
        let typical = (variance.iter().sum::<f64>() / dim.max(1) as f64).sqrt();
        let inverse = variance.iter().map(|v| {
            let deviation = v.sqrt().max(FLOOR * typical);
            if deviation > 0.0 {
                (1.0 / deviation) as f32
            } else {
                1.0
            }
        });
        Self {
            inverse: inverse.map(|i| i.min(f32::MAX)).collect(),
            mean: mean.iter().map(|&m| m as f32).collect(),
        }
    }

    /// Width.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Rows end to end, standardised.
    pub fn apply(&self, values: &[f32]) -> Vec<f32> {
        values
            .chunks_exact(self.dim().max(1))
            .flat_map(|row| row.iter().zip(&self.mean).zip(&self.inverse))
            .map(|((x, mean), inverse)| {
                let x = (f64::from(*x) - f64::from(*mean)) * f64::from(*inverse);
                x.clamp(-LIMIT, LIMIT) as f32
            })
            .collect()
    }

    /// For a reward's file.
    pub fn tensors(&self) -> Tensors {
        let tensor = |values: &[f32]| Tensor {
            shape: vec![values.len()],
            values: values.to_vec(),
        };
        Tensors::from([
            ("mean".into(), tensor(&self.mean)),
            ("inverse".into(), tensor(&self.inverse)),
        ])
    }

    /// From a reward's file.
    pub fn restore(dim: usize, tensors: &Tensors) -> Result<Self, RewardError> {
        let get = |name: &str| match tensors.get(name) {
            Some(t) if t.shape == [dim] && t.values.iter().all(|v| v.is_finite()) => {
                Ok(t.values.clone())
            }
            _ => Err(RewardError::Other(format!(
                "the tensor `{name}` of the features' scale is missing or not {dim} finite numbers; learn the reward again"
            ))),
        };
        Ok(Self {
            mean: get("mean")?,
            inverse: get("inverse")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_evened_out_and_stay_finite() {
        let clip = Features::new(3, vec![1.0, 1e30, 5.0, 3.0, -1e30, 5.0]);
        let standard = Standard::fit(3, [&clip].into_iter());
        let found = standard.apply(clip.as_slice());
        assert!(found.iter().all(|v| v.is_finite()), "{found:?}");
        assert!((found[1] - 1.0).abs() < 1e-5 && (found[4] + 1.0).abs() < 1e-5);
        let still = Features::new(2, vec![4.0; 6]);
        let standard = Standard::fit(2, [&still].into_iter());
        assert_eq!(standard.apply(&[4.0, 5.0]), [0.0, 1.0]);
        assert_eq!(standard.apply(&[f32::MAX, f32::MIN]), [100.0, -100.0]);
    }
}
