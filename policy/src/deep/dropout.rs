//! Dropout (Srivastava et al. 2014) whose dice are the caller's.

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

use super::tensor;

/// Zeroes a share of the units and scales the rest, while a network trains.
pub(crate) struct Dropout<'r> {
    share: f32,
    rng: Option<&'r mut ChaCha8Rng>,
}

impl<'r> Dropout<'r> {
    /// Drops nothing: for acting.
    pub(crate) fn none() -> Self {
        Self {
            share: 0.0,
            rng: None,
        }
    }

    /// Drops this share, in `0..1`.
    pub(crate) fn new(share: f64, rng: &'r mut ChaCha8Rng) -> Self {
        Self {
            share: share as f32,
            rng: Some(rng),
        }
    }

    /// `x` with each unit zero at the chance `share`, else divided by `1 - share`.
    pub(crate) fn apply<const D: usize>(&mut self, x: Tensor<D>) -> Tensor<D> {
        let Some(rng) = self.rng.as_mut().filter(|_| self.share > 0.0) else {
            return x;
        };
        let shape = x.dims();
        // Sixteen random bits a unit decide.
        let mut dice = vec![0u8; 2 * shape.iter().product::<usize>()];
        rng.fill_bytes(&mut dice);
        let threshold = (self.share * 65536.0) as u16;
        let kept = 1.0 / (1.0 - f32::from(threshold) / 65536.0);
        let mask = dice
            .chunks_exact(2)
            .map(|two| {
                if u16::from_le_bytes([two[0], two[1]]) < threshold {
                    0.0
                } else {
                    kept
                }
            })
            .collect();
        let mask = tensor(mask, shape, &x.device());
        x * mask
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::deep::{acting_device, values};

    #[test]
    fn keeps_the_mean_and_zeroes_its_share() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let ones = tensor(vec![1.0; 100_000], [100, 1000], &acting_device());
        let dropped = values(Dropout::new(0.2, &mut rng).apply(ones.clone())).unwrap();
        let zeros = dropped.iter().filter(|&&x| x == 0.0).count();
        let mean = dropped.iter().sum::<f32>() / 1e5;
        assert!((19_400..20_600).contains(&zeros), "{zeros}");
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        let kept = values(Dropout::none().apply(ones)).unwrap();
        assert!(kept.iter().all(|&x| x == 1.0));
    }
}
