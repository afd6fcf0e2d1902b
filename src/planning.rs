//! Plans tried out in a simulator: what a [`Planner`](crate::policy::search::Planner) needs to act in an environment.

use std::sync::{Arc, Mutex, PoisonError};

use rapport_policy::PolicyError;
use rapport_policy::search::Rollouts;
use rapport_sim::environment::{Actions, Environment};

/// An environment that its user steps and a planner tries plans in.
pub type Shared = Arc<Mutex<Box<dyn Environment>>>;

/// Tries plans from the state in which a shared environment is now, which is afterwards as it was. The return of a plan is the sum of
/// the environment's own rewards, to the end of the plan or of the episode.
pub struct SimulatedRollouts {
    environment: Shared,
    /// Middle and half width of every component of an action.
    ranges: Vec<(f64, f64)>,
}

impl std::fmt::Debug for SimulatedRollouts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedRollouts")
            .field("ranges", &self.ranges)
            .finish_non_exhaustive()
    }
}

impl SimulatedRollouts {
    /// For an environment with continuous actions; -1 and 1 of a plan are the ends of their ranges.
    ///
    /// # Errors
    /// For an environment whose action is a choice.
    pub fn new(environment: Shared) -> Result<Self, PolicyError> {
        let ranges = match &lock(&environment).description().action {
            Actions::Continuous(ranges) => ranges
                .iter()
                .map(|(low, high)| (0.5 * (low + high), 0.5 * (high - low)))
                .collect(),
            Actions::Choice(_) => {
                return Err(PolicyError::Other(
                    "plans are of continuous actions; this environment's action is a choice".into(),
                ));
            }
        };
        Ok(Self {
            environment,
            ranges,
        })
    }

    /// An action in the environment's units from one in `-1..=1`.
    pub fn action(&self, unit: &[f64]) -> Vec<f64> {
        let each = unit.iter().zip(&self.ranges);
        each.map(|(u, (middle, half))| middle + half * u).collect()
    }
}

impl Rollouts for SimulatedRollouts {
    fn returns(&mut self, candidates: &[Vec<f64>]) -> Result<Vec<f64>, PolicyError> {
        let mut environment = lock(&self.environment);
        let failed = |error: rapport_sim::EnvError| {
            PolicyError::Other(format!("a plan cannot be tried: {error}"))
        };
        let now = environment.save().map_err(failed)?;
        let mut returns = Vec::with_capacity(candidates.len());
        let mut result = Ok(());
        'plans: for plan in candidates {
            let mut sum = 0.0;
            for unit in plan.chunks(self.ranges.len()) {
                match environment.step(&self.action(unit)) {
                    Ok(outcome) => {
                        sum += outcome.reward;
                        if outcome.terminated || outcome.truncated {
                            break;
                        }
                    }
                    Err(error) => {
                        result = Err(failed(error));
                        break 'plans;
                    }
                }
            }
            returns.push(sum);
            environment.restore(&now).map_err(failed)?;
        }
        if result.is_err() {
            environment.restore(&now).map_err(failed)?;
        }
        result.map(|()| returns)
    }
}

/// A panic elsewhere leaves the environment in a state that can be restored.
fn lock(environment: &Shared) -> std::sync::MutexGuard<'_, Box<dyn Environment>> {
    environment.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rapport_policy::search::{Method, MppiConfig, Planner, PlannerConfig};
    use rapport_policy::{Mode, Policy as _};
    use rapport_sim::EnvConfig;
    use rapport_sim::environment::make;

    use super::*;

    fn pendulum() -> Shared {
        let mut environment = make("Pendulum-v1", &EnvConfig::default()).unwrap();
        environment.reset(3).unwrap();
        Arc::new(Mutex::new(environment))
    }

    fn seen(environment: &Shared) -> Vec<f64> {
        let environment = lock(environment);
        let mut out = vec![0.0; environment.description().observation_len()];
        environment.observe(&mut out);
        out
    }

    #[test]
    fn trying_leaves_the_environment_as_it_was_and_sums_its_rewards() {
        let environment = pendulum();
        let before = seen(&environment);
        let mut rollouts = SimulatedRollouts::new(environment.clone()).unwrap();
        let plan = vec![0.5, -1.0, 0.25];
        let found = rollouts.returns(&[plan.clone(), plan.clone()]).unwrap();
        assert_eq!(seen(&environment), before);
        let sum: f64 = plan
            .iter()
            .map(|u| {
                let action = rollouts.action(&[*u]);
                lock(&environment).step(&action).unwrap().reward
            })
            .sum();
        assert_eq!(found, [sum, sum]);
    }

    #[test]
    fn swings_a_pendulum_up() {
        let environment = pendulum();
        let rollouts = SimulatedRollouts::new(environment.clone()).unwrap();
        let scale = SimulatedRollouts::new(environment.clone()).unwrap();
        let config = PlannerConfig {
            horizon: 25,
            iterations: 1,
            method: Method::Mppi(MppiConfig {
                samples: 128,
                temperature: 1.0,
                std: 0.6,
                ..MppiConfig::default()
            }),
        };
        let mut planner = Planner::new(3, 1, config, Box::new(rollouts), 0).unwrap();
        for _ in 0..150 {
            let observation: Vec<f32> = seen(&environment).iter().map(|&x| x as f32).collect();
            let unit = planner.act(&observation, Mode::Exploit).unwrap();
            let action = scale.action(&[f64::from(unit[0])]);
            lock(&environment).step(&action).unwrap();
        }
        // The cosine of the angle: 1 is upright.
        let upright = seen(&environment)[0];
        assert!(upright > 0.9, "{upright}");
    }
}
