//! [`MetaWeight`]: how much to imitate and how much to explore, learned.

use serde::{Deserialize, Serialize};

use crate::model::RewardError;

/// The weight `μ` of `(1 - μ) L_RL + μ L_BC`, moved by a meta-gradient and an entropy guard: AMFT (methods row 54).
///
/// ```text
/// μ += rate · (meta-gradient + guard · (target_entropy - entropy)),   clipped to least..=most
/// ```
///
/// The update is from memory of the paper and not confirmed against its text; the meta-gradient is that of one step, first
/// order: with `θ' = θ - η ∇L` the held-out return changes with `μ` by `η ∇J · (∇L_RL - ∇L_BC)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetaWeight {
    /// The weight of imitation now.
    pub value: f64,
    /// Its step size.
    pub rate: f64,
    /// How hard a policy whose entropy falls below the target is pulled back to imitation.
    pub guard: f64,
    /// Entropy the policy should keep, nats.
    pub target_entropy: f64,
    /// Least weight.
    pub least: f64,
    /// Greatest weight.
    pub most: f64,
}

impl Default for MetaWeight {
    fn default() -> Self {
        Self {
            value: 0.5,
            rate: 0.05,
            guard: 0.0,
            target_entropy: 0.0,
            least: 0.0,
            most: 1.0,
        }
    }
}

impl MetaWeight {
    /// Moves the weight. `held_out` is the gradient of the held-out return by the policy's parameters, `reinforcement` and
    /// `imitation` are the gradients of the two losses, `learning_rate` is the policy's. Fails on unequal lengths and on values that are
    /// not finite, and leaves the weight then.
    pub fn update(
        &mut self,
        held_out: &[f64],
        reinforcement: &[f64],
        imitation: &[f64],
        learning_rate: f64,
        entropy: f64,
    ) -> Result<(), RewardError> {
        if held_out.len() != reinforcement.len() || held_out.len() != imitation.len() {
            return Err(RewardError::Other(format!(
                "the three gradients have {}, {} and {} entries; they must be of the same parameters",
                held_out.len(),
                reinforcement.len(),
                imitation.len()
            )));
        }
        let gradient: f64 = held_out
            .iter()
            .zip(reinforcement.iter().zip(imitation))
            .map(|(j, (rl, bc))| learning_rate * j * (rl - bc))
            .sum();
        let moved =
            self.value + self.rate * (gradient + self.guard * (self.target_entropy - entropy));
        if !moved.is_finite() {
            return Err(RewardError::Other(
                "the meta-gradient or the entropy is not finite; look at the losses".into(),
            ));
        }
        self.value = moved.clamp(self.least, self.most);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy is a point, the return falls with the distance from `best`, demonstrations point to `shown`; the reinforcement signal is
    /// right but weak, as a sparse reward is.
    fn practise(shown: f64, weight: &mut MetaWeight) -> (f64, Vec<f64>) {
        let (best, mut theta, mut course) = (3.0f64, 0.0f64, Vec::new());
        for _ in 0..300 {
            // Nothing is felt of the return far from the best.
            let near = (-(theta - best).powi(2)).exp();
            let reinforcement = -2.0 * (best - theta) * near;
            let imitation = theta - shown;
            let held_out = 2.0 * (best - theta);
            weight
                .update(&[held_out], &[reinforcement], &[imitation], 0.1, 0.0)
                .unwrap();
            theta -= 0.1 * ((1.0 - weight.value) * reinforcement + weight.value * imitation);
            course.push(weight.value);
        }
        ((theta - best).abs(), course)
    }

    /// Row 54's check: with good demonstrations and a sparse reward the weight rises first and falls later; with bad ones it falls, and the
    /// result is better than with a fixed weight.
    #[test]
    fn the_weight_follows_what_demonstrations_are_worth() {
        let mut good = MetaWeight {
            rate: 1.0,
            ..MetaWeight::default()
        };
        let (off, course) = practise(2.6, &mut good);
        let top = course.iter().copied().fold(0.0, f64::max);
        assert!(
            course[0] > 0.5 && top > 0.9 && course[299] < 0.1 && off < 0.05,
            "{off} {course:?}"
        );

        let mut bad = MetaWeight {
            rate: 1.0,
            ..MetaWeight::default()
        };
        let (off, course) = practise(-4.0, &mut bad);
        assert!(course[299] < 0.1, "{course:?}");
        let mut fixed = MetaWeight {
            rate: 0.0,
            ..MetaWeight::default()
        };
        let (off_fixed, _) = practise(-4.0, &mut fixed);
        assert!(off < off_fixed, "{off} {off_fixed}");
    }

    #[test]
    fn low_entropy_calls_for_imitation_and_bad_values_change_nothing() {
        let mut weight = MetaWeight {
            guard: 1.0,
            target_entropy: 1.0,
            ..MetaWeight::default()
        };
        weight.update(&[0.0], &[0.0], &[0.0], 0.1, 0.2).unwrap();
        assert!((weight.value - 0.54).abs() < 1e-12);
        let before = weight;
        assert!(
            weight
                .update(&[f64::NAN], &[0.0], &[0.0], 0.1, 0.2)
                .is_err()
        );
        assert!(weight.update(&[0.0], &[], &[0.0], 0.1, 0.2).is_err());
        assert_eq!(weight, before);
    }
}
