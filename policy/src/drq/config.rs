//! [`DrqConfig`].

use serde::{Deserialize, Serialize};

use crate::checkpoint::PolicySpec;
use crate::policy::PolicyError;
use crate::small::adam::AdamConfig;

/// Settings of [`Drq`](super::Drq). An observation is `own` numbers and a picture of `side` by `side`, `[row, column, colour]` in `-1..=1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrqConfig {
    /// Height and width of a picture, pixels.
    pub side: usize,
    /// Numbers of an observation before the picture: the arm's own. The paper has none.
    pub own: usize,
    /// Pictures, the newest included, that an action is chosen from.
    pub stack: usize,
    /// Pixels by which a picture is shifted at most, each way.
    pub shift: usize,
    /// Convolutions, 3 by 3, the first of stride 2.
    pub convolutions: usize,
    /// Channels of each.
    pub channels: usize,
    /// Numbers that are left of a picture.
    pub features: usize,
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Discount of future rewards per step, gamma.
    pub discount: f64,
    /// Steps that a critic's target looks ahead, n.
    pub n_step: usize,
    /// How far target networks follow per update, tau.
    pub target_rate: f64,
    /// Transitions per update.
    pub batch: usize,
    /// Updates owed per observed step.
    pub update_to_data: f64,
    /// Uniformly random exploring actions before the actor's own; updates are not owed before so many steps are observed.
    pub initial_random_steps: u64,
    /// Standard deviation of the noise on actions at the start and at the end.
    pub noise: [f64; 2],
    /// Steps over which it falls.
    pub noise_steps: u64,
    /// Largest noise on the actions of an update, c.
    pub noise_limit: f64,
    /// Pictures kept.
    pub replay_capacity: usize,
    /// Optimiser of everything.
    pub adam: AdamConfig,
}

impl Default for DrqConfig {
    fn default() -> Self {
        Self {
            side: 84,
            own: 0,
            stack: 3,
            shift: 4,
            convolutions: 4,
            channels: 32,
            features: 50,
            hidden: vec![1024, 1024],
            discount: 0.99,
            n_step: 3,
            target_rate: 0.01,
            batch: 256,
            update_to_data: 0.5,
            initial_random_steps: 2_000,
            noise: [1.0, 0.1],
            noise_steps: 100_000,
            noise_limit: 0.3,
            replay_capacity: 100_000,
            adam: AdamConfig {
                learning_rate: 1e-4,
                ..AdamConfig::default()
            },
        }
    }
}

impl DrqConfig {
    /// Bytes of a picture.
    pub(super) fn picture(&self) -> usize {
        self.side * self.side * 3
    }

    /// Standard deviation of the noise after so many steps.
    pub(super) fn noise_at(&self, steps: u64) -> f32 {
        let [start, end] = self.noise;
        let share = (steps as f64 / self.noise_steps.max(1) as f64).min(1.0);
        (start + share * (end - start)) as f32
    }

    /// Says what is wrong with these settings, or with them for policies of this `spec`, if anything.
    pub fn validate(&self, spec: &PolicySpec) -> Result<(), PolicyError> {
        let fraction = |x: f64| (0.0..=1.0).contains(&x);
        let faults = [
            (
                self.own + self.picture() != spec.observation_dim,
                format!(
                    "an observation of {} numbers is not {} of its own and a picture of {} by {} in 3 colours",
                    spec.observation_dim, self.own, self.side, self.side
                ),
            ),
            (
                self.side < 2 * self.convolutions + 2 || self.convolutions == 0,
                format!(
                    "pictures of {} pixels a side are too small for {} convolutions",
                    self.side, self.convolutions
                ),
            ),
            (
                [
                    self.stack,
                    self.channels,
                    self.features,
                    self.batch,
                    self.n_step,
                ]
                .contains(&0)
                    || self.hidden.is_empty()
                    || self.hidden.contains(&0),
                "stack, channels, features, batch, n_step and the hidden widths must be above 0"
                    .into(),
            ),
            (
                !fraction(self.discount) || !fraction(self.target_rate) || self.target_rate == 0.0,
                "discount must be in 0..=1, target_rate above 0 and at most 1".into(),
            ),
            (
                !(self.update_to_data >= 0.0 && self.update_to_data.is_finite()),
                "update_to_data must not be negative".into(),
            ),
            (
                ![self.noise[0], self.noise[1], self.noise_limit]
                    .iter()
                    .all(|x| *x >= 0.0 && x.is_finite()),
                "noise and noise_limit must not be negative".into(),
            ),
            (
                self.replay_capacity < 2 * (self.stack + self.n_step),
                "replay_capacity is too small for stack and n_step".into(),
            ),
        ];
        let fault = faults
            .into_iter()
            .find_map(|(wrong, fault)| wrong.then_some(fault));
        if let Some(fault) = fault {
            return Err(PolicyError::Other(format!("drq: {fault}")));
        }
        self.adam.validate("drq: adam")
    }
}
