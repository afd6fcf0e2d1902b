//! [`Planner`]: a policy that looks ahead by trying plans and takes the first action of the best.

use serde::{Deserialize, Serialize};

use super::{Cem, CemConfig, Mppi, MppiConfig, Rollouts, first_fault};
use crate::policy::{Mode, Policy, PolicyError};

/// How a plan is looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Method {
    /// The cross-entropy method.
    Cem(CemConfig),
    /// Model predictive path integral control.
    Mppi(MppiConfig),
}

/// Settings of [`Planner`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlannerConfig {
    /// Steps looked ahead.
    pub horizon: usize,
    /// Iterations for each action.
    pub iterations: usize,
    /// How.
    pub method: Method,
}

impl Default for PlannerConfig {
    fn default() -> Self {
        Self {
            horizon: 15,
            iterations: 2,
            method: Method::Mppi(MppiConfig::default()),
        }
    }
}

impl PlannerConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        first_fault(
            "planner",
            &[
                (self.horizon == 0, "horizon must be above 0"),
                (self.iterations == 0, "iterations must be above 0"),
            ],
        )?;
        match &self.method {
            Method::Cem(config) => config.validate(),
            Method::Mppi(config) => config.validate(),
        }
    }
}

enum Search {
    Cem(Cem),
    Mppi(Mppi),
}

/// Model predictive control: each action is the first of a plan found by trying plans from the present state. The plan goes on,
/// moved up by one step, at the next action.
///
/// What it plans with is the state that [`Rollouts`] starts from, not the observation; whoever implements it sees to it that the
/// two are of the same moment.
pub struct Planner {
    observation_dim: usize,
    action_dim: usize,
    config: PlannerConfig,
    search: Search,
    rollouts: Box<dyn Rollouts + Send>,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Planner {
    /// Plans with `rollouts` for an environment of these widths.
    pub fn new(
        observation_dim: usize,
        action_dim: usize,
        config: PlannerConfig,
        rollouts: Box<dyn Rollouts + Send>,
        seed: u64,
    ) -> Result<Self, PolicyError> {
        config.validate()?;
        let search = match &config.method {
            Method::Cem(cem) => Search::Cem(Cem::new(
                cem.clone(),
                vec![0.0; config.horizon * action_dim],
                seed,
            )?),
            Method::Mppi(mppi) => {
                Search::Mppi(Mppi::new(mppi.clone(), config.horizon, action_dim, seed)?)
            }
        };
        Ok(Self {
            observation_dim,
            action_dim,
            config,
            search,
            rollouts,
        })
    }
}

impl Policy for Planner {
    fn observation_dim(&self) -> usize {
        self.observation_dim
    }

    fn action_dim(&self) -> usize {
        self.action_dim
    }

    /// The same in both modes: the first action of the plan.
    fn act(&mut self, _observation: &[f32], _mode: Mode) -> Result<Vec<f32>, PolicyError> {
        for _ in 0..self.config.iterations {
            match &mut self.search {
                Search::Cem(cem) => cem.step(&mut *self.rollouts)?,
                Search::Mppi(mppi) => mppi.step(&mut *self.rollouts)?,
            };
        }
        let plan = match &self.search {
            Search::Cem(cem) => cem.mean().to_vec(),
            Search::Mppi(mppi) => mppi.plan().to_vec(),
        };
        let first = plan[..self.action_dim].iter();
        let action = first.map(|&u| u.clamp(-1.0, 1.0) as f32).collect();
        match &mut self.search {
            Search::Mppi(mppi) => mppi.shift(),
            Search::Cem(cem) => {
                let mut rest = plan[self.action_dim..].to_vec();
                rest.resize(plan.len(), 0.0);
                cem.restart(rest);
            }
        }
        Ok(action)
    }

    fn reset(&mut self) {
        match &mut self.search {
            Search::Mppi(mppi) => mppi.reset(),
            Search::Cem(cem) => cem.restart(vec![0.0; self.config.horizon * self.action_dim]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn both_methods_bring_a_point_to_its_goal() {
        let cem = CemConfig {
            population: 40,
            elites: 5,
            ..CemConfig::default()
        };
        for method in [Method::Mppi(MppiConfig::default()), Method::Cem(cem)] {
            let place = Arc::new(Mutex::new([0.8, -0.6]));
            let seen = place.clone();
            let rollouts = move |candidates: &[Vec<f64>]| {
                let start = *seen.lock().unwrap();
                let value = |plan: &Vec<f64>| {
                    let (mut at, mut value) = (start, 0.0);
                    for u in plan.chunks(2) {
                        at = [at[0] + 0.1 * u[0], at[1] + 0.1 * u[1]];
                        value -= at[0].hypot(at[1]);
                    }
                    value
                };
                Ok(candidates.iter().map(value).collect())
            };
            let config = PlannerConfig {
                horizon: 8,
                method,
                ..PlannerConfig::default()
            };
            let mut planner = Planner::new(2, 2, config, Box::new(rollouts), 0).unwrap();
            planner.reset();
            for _ in 0..30 {
                let action = planner.act(&[0.0; 2], Mode::Exploit).unwrap();
                let mut at = place.lock().unwrap();
                *at = [0, 1].map(|i| at[i] + 0.1 * f64::from(action[i]));
            }
            let [x, y] = *place.lock().unwrap();
            assert!(x.hypot(y) < 0.15, "{planner:?} {x} {y}");
        }
    }
}
