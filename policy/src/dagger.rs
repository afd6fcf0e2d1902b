//! Dataset aggregation: a policy acts, an expert says or shows what should have been done, and the policy is cloned again from
//! everything so far. What a clone needs to know is what to do where *it* ends up, not where the expert would be.
//!
//! [`Who::Labels`] is DAgger (Ross, Gordon and Bagnell 2011, arXiv:1011.0686, algorithm 3.1): at each step the expert acts with
//! probability `beta_i`, else the policy, and the expert's action is stored in either case. [`Who::TakesOver`] is HG-DAgger (Kelly et
//! al. 2019, arXiv:1810.02890): a person takes over while they see fit, and only what they did is stored. Departures: where HG-DAgger
//! has an ensemble and a risk threshold, there is one policy and the person's own judgement.

use std::ops::ControlFlow;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};

use crate::bc::{Bc, BcConfig, BcReport};
use crate::checkpoint::PolicySpec;
use crate::policy::{Mode, Policy, PolicyError, Transition};
use crate::replay::check_episode;

/// What the expert contributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Says at every step what should be done.
    #[default]
    Labels,
    /// Takes over now and then; those steps are theirs.
    TakesOver,
}

/// How the chance that the expert acts falls with the rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beta {
    /// 1 in the first round, which has no policy yet, 0 after it: the paper's parameter-free choice.
    #[default]
    FirstOnly,
    /// `base^round`, rounds from 0.
    Power {
        /// In `0..1`.
        base: f64,
    },
    /// Falls in equal steps from 1 to 0 over so many rounds.
    Linear {
        /// At least 1.
        rounds: u64,
    },
}

impl Beta {
    /// The chance in a round, counted from 0.
    pub fn at(self, round: u64) -> f64 {
        match self {
            Self::FirstOnly => f64::from(u8::from(round == 0)),
            Self::Power { base } => base.powf(round as f64),
            Self::Linear { rounds } => (1.0 - round as f64 / rounds as f64).max(0.0),
        }
    }
}

/// Settings of [`Dagger`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DaggerConfig {
    /// What the expert contributes.
    pub who: Who,
    /// Chance that the expert acts, with [`Who::Labels`].
    pub beta: Beta,
    /// How the policy is cloned in each round, from the start.
    pub cloning: BcConfig,
}

impl DaggerConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let fine = match self.beta {
            Beta::FirstOnly => true,
            Beta::Power { base } => (0.0..1.0).contains(&base),
            Beta::Linear { rounds } => rounds > 0,
        };
        if !fine {
            return Err(PolicyError::Other(
                "dagger: beta needs a base in 0..1, or at least one round".into(),
            ));
        }
        self.cloning.validate()
    }
}

/// One step of an episode in which policy and expert were both there.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedStep {
    /// Observation, `[obs_dim]`.
    pub observation: Vec<f32>,
    /// What was done, `[action_dim]`.
    pub action: Vec<f32>,
    /// What the expert said, or did while in charge, `[action_dim]`; None where they said nothing.
    pub expert: Option<Vec<f32>>,
    /// Whether the expert was in charge.
    pub in_charge: bool,
}

/// How an episode went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intervention {
    /// Round it was in, from 0.
    pub round: u64,
    /// Steps.
    pub steps: u64,
    /// Steps with the expert in charge.
    pub in_charge: u64,
    /// How often the expert took over from the policy, the start of the episode not counted.
    pub takeovers: u64,
    /// Steps that were stored.
    pub stored: u64,
}

/// Who acts now, and what comes of it over the rounds.
#[derive(Clone, Debug)]
pub struct Dagger {
    spec: PolicySpec,
    config: DaggerConfig,
    seed: u64,
    round: u64,
    data: Vec<Vec<Transition>>,
    weights: Vec<Vec<f32>>,
    interventions: Vec<Intervention>,
    policy: Option<Bc>,
    rng: ChaCha8Rng,
}

impl Dagger {
    /// Nothing stored yet.
    pub fn new(spec: PolicySpec, config: DaggerConfig, seed: u64) -> Result<Self, PolicyError> {
        spec.validate()?;
        config.validate()?;
        Ok(Self {
            spec,
            config,
            seed,
            round: 0,
            data: Vec::new(),
            weights: Vec::new(),
            interventions: Vec::new(),
            policy: None,
            rng: ChaCha8Rng::seed_from_u64(seed),
        })
    }

    /// Round, from 0.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// The newest policy; None before the first round's end.
    pub fn policy(&self) -> Option<&Bc> {
        self.policy.as_ref()
    }

    /// All episodes with the expert's actions, for saving; steps without weight are not the expert's.
    pub fn data(&self) -> (&[Vec<Transition>], &[Vec<f32>]) {
        (&self.data, &self.weights)
    }

    /// How the episodes went, one after the other.
    pub fn interventions(&self) -> &[Intervention] {
        &self.interventions
    }

    /// Begins an episode: what the policy does in the next [`Dagger::act`] does not depend on the last one.
    pub fn reset(&mut self) {
        if let Some(policy) = &mut self.policy {
            policy.reset();
        }
    }

    /// With [`Who::Labels`]: the step to take, given what the expert says, by the round's beta.
    pub fn act(&mut self, observation: &[f32], expert: &[f32]) -> Result<SharedStep, PolicyError> {
        let in_charge = self.rng.random::<f64>() < self.config.beta.at(self.round);
        let action = match &mut self.policy {
            Some(policy) if !in_charge => Some(policy.act(observation, Mode::Exploit)?),
            _ => None,
        };
        Ok(SharedStep {
            observation: observation.to_vec(),
            in_charge: action.is_none(),
            action: action.unwrap_or_else(|| expert.to_vec()),
            expert: Some(expert.to_vec()),
        })
    }

    /// Stores an episode: with [`Who::Labels`] every step the expert spoke at, with [`Who::TakesOver`] those they were in charge of.
    /// An episode without any is counted and not stored.
    ///
    /// # Errors
    /// For steps of other widths, numbers that are not finite, and steps in the expert's charge without their action.
    pub fn observe(&mut self, episode: &[SharedStep]) -> Result<Intervention, PolicyError> {
        let taught = |step: &SharedStep| match self.config.who {
            Who::Labels => step.expert.is_some(),
            Who::TakesOver => step.in_charge,
        };
        if let Some(t) = episode
            .iter()
            .position(|s| s.in_charge && s.expert.is_none())
        {
            return Err(PolicyError::Other(format!(
                "the expert was in charge at step {t}, but their action is missing"
            )));
        }
        let transitions: Vec<Transition> = episode
            .iter()
            .enumerate()
            .map(|(t, step)| {
                let next = episode.get(t + 1).unwrap_or(step);
                let own = step.expert.as_ref().filter(|_| taught(step));
                Transition {
                    observation: step.observation.clone(),
                    action: own.unwrap_or(&step.action).clone(),
                    reward: 0.0,
                    next_observation: next.observation.clone(),
                    terminated: false,
                    truncated: t + 1 == episode.len(),
                }
            })
            .collect();
        let (o, a) = (self.spec.observation_dim, self.spec.action_dim);
        check_episode(&transitions, o, a, 0)?;
        let weights: Vec<f32> = episode
            .iter()
            .map(|s| f32::from(u8::from(taught(s))))
            .collect();
        let count = |what: &dyn Fn(&SharedStep) -> bool| episode.iter().filter(|s| what(s)).count();
        let intervention = Intervention {
            round: self.round,
            steps: episode.len() as u64,
            in_charge: count(&|s| s.in_charge) as u64,
            takeovers: episode
                .windows(2)
                .filter(|pair| !pair[0].in_charge && pair[1].in_charge)
                .count() as u64,
            stored: count(&taught) as u64,
        };
        if intervention.stored > 0 {
            self.data.push(transitions);
            self.weights.push(weights);
        }
        self.interventions.push(intervention);
        Ok(intervention)
    }

    /// Ends the round: clones a new policy from everything stored.
    ///
    /// # Errors
    /// Without anything stored, and as [`Bc::fit`].
    pub fn train(&mut self) -> Result<BcReport, PolicyError> {
        let (policy, report) = Bc::fit_weighted(
            self.spec.clone(),
            self.config.cloning.clone(),
            self.seed.wrapping_add(self.round) & (i64::MAX as u64),
            &self.data,
            &self.weights,
            |_, _| ControlFlow::Continue(()),
        )?;
        self.policy = Some(policy);
        self.round += 1;
        Ok(report)
    }
}

mod saving;
#[cfg(test)]
mod tests;
