//! How the step size changes as training goes on.

use serde::{Deserialize, Serialize};

/// A factor on the learning rate: up linearly, then down along a half cosine, where asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Steps over which the rate rises from 0 to its full size.
    pub warm_up: u64,
    /// Step at which a half cosine has taken it down to `floor`; 0 keeps it at its full size.
    pub decay: u64,
    /// Factor at the end of the cosine, and after.
    pub floor: f64,
}

impl Schedule {
    /// The factor for step `step`, counted from 0.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return (step + 1) as f64 / (self.warm_up + 1) as f64;
        }
        if self.decay <= self.warm_up {
            return 1.0;
        }
        let share = ((step - self.warm_up) as f64 / (self.decay - self.warm_up) as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
        self.floor + (1.0 - self.floor) * cosine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_to_one_falls_to_the_floor_and_stays() {
        let schedule = Schedule {
            warm_up: 9,
            decay: 109,
            floor: 0.1,
        };
        assert!((schedule.factor(0) - 0.1).abs() < 1e-12);
        assert!((schedule.factor(9) - 1.0).abs() < 1e-12);
        assert!((schedule.factor(59) - 0.55).abs() < 1e-12);
        assert!((schedule.factor(5000) - 0.1).abs() < 1e-12);
        assert_eq!(Schedule::default().factor(7), 1.0);
    }
}
