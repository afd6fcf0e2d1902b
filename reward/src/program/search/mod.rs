//! The search for a reward program that a person likes, after ICPL (arXiv 2410.17233): in each round programs are proposed,
//! a policy practises with each, and a person says which of the results is best and which is worst; the next proposals start
//! from that.

mod brief;
mod evolve;
mod lineup;
mod rewrite;

pub use brief::{Brief, Column, Feature};
pub use evolve::{Evolve, EvolveConfig};
pub use lineup::{Extremes, Lineup, ScoredBy};
pub use rewrite::{Chat, Message, Rewrite, RewriteConfig, Role};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::reward::ProgramReward;
use super::source::Program;
use crate::annotator::{Annotator, check_count};
use crate::model::{Clip, Context, RewardError, RewardModel as _, Signal};

/// Proposes reward programs. It is told everything that happened and keeps nothing itself, so that a search can go on after it
/// was stopped.
pub trait Proposer {
    /// What it is called in records.
    fn name(&self) -> &str;

    /// `count` programs for the next round. Those that [`Brief::check`] refuses are not to be among them.
    fn propose(
        &mut self,
        brief: &Brief,
        rounds: &[Round],
        count: usize,
    ) -> Result<Vec<Program>, RewardError>;
}

/// Learns a policy for a reward and shows what it does.
pub trait Practice {
    /// What the policy did, with whatever is needed to show it to somebody.
    type Rollout;

    /// Practises with a reward; the same reward gives the same result.
    fn practise(&mut self, reward: &ProgramReward) -> Result<Self::Rollout, RewardError>;

    /// The rollout as reward models see it.
    fn clip<'a>(&self, rollout: &'a Self::Rollout) -> &'a Clip;
}

/// Settings of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Programs in a round, K. From the second round on the best so far is one of them.
    pub programs: usize,
    /// Rounds, N.
    pub rounds: usize,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            programs: 6,
            rounds: 5,
        }
    }
}

impl SearchConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.programs < 2 || self.rounds == 0 {
            return Err(RewardError::Other(format!(
                "a search of {} rounds with {} programs has nothing to compare; give at least 1 round and 2 programs",
                self.rounds, self.programs
            )));
        }
        Ok(())
    }

    /// Comparisons of two clips that the whole search asks of a person, as ICPL counts them: `(K - 1) · 2N - 1`.
    pub fn comparisons(&self) -> usize {
        ((self.programs - 1) * 2 * self.rounds).saturating_sub(1)
    }
}

/// What a term did over a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Sum over the rollout.
    pub total: f64,
    /// Smallest value at a step.
    pub least: f64,
    /// Largest value at a step.
    pub most: f64,
    /// Values at up to ten steps spread over the rollout.
    pub samples: Vec<f64>,
}

/// A program of a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The program.
    pub program: Program,
    /// What its terms did, by name.
    pub traces: BTreeMap<String, Trace>,
}

/// A round that was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// The programs. From the second round on the first is the best of the round before.
    pub candidates: Vec<Candidate>,
    /// Which was liked most.
    pub best: usize,
    /// Which was liked least.
    pub worst: usize,
}

impl Round {
    /// The program that was liked most.
    pub fn best_program(&self) -> &Program {
        &self.candidates[self.best].program
    }
}

/// Whoever says which of a round's results is best and which is worst.
pub type Judge<R> = dyn Annotator<Query = Lineup<R>, Answer = Extremes>;

/// Plays the next round. None when the annotator skipped it. Departs from ICPL in one point: the best program so far
/// stands in the next line-up, so that it cannot be lost.
///
/// # Errors
/// What the proposer, the practice and the annotator say; programs or answers that make no sense.
pub fn next_round<P: Practice>(
    brief: &Brief,
    config: SearchConfig,
    rounds: &[Round],
    proposer: &mut dyn Proposer,
    practice: &mut P,
    judge: &mut Judge<P::Rollout>,
) -> Result<Option<Round>, RewardError> {
    config.validate()?;
    let mut programs: Vec<Program> = rounds
        .last()
        .map(|r| r.best_program().clone())
        .into_iter()
        .collect();
    let wanted = config.programs - programs.len();
    let proposed = proposer.propose(brief, rounds, wanted)?;
    if proposed.len() != wanted {
        return Err(RewardError::Other(format!(
            "the proposer `{}` made {} programs, {wanted} were wanted",
            proposer.name(),
            proposed.len()
        )));
    }
    programs.extend(proposed);
    let (mut candidates, mut rollouts) = (Vec::new(), Vec::new());
    for program in programs {
        let reward = ProgramReward::new(program)?;
        let rollout = practice.practise(&reward)?;
        let signal = reward.score(practice.clip(&rollout), &Context::default())?;
        candidates.push(Candidate {
            program: reward.program().clone(),
            traces: traces(&signal),
        });
        rollouts.push(rollout);
    }
    let count = rollouts.len();
    let lineup = Lineup {
        round: rounds.len(),
        rollouts,
    };
    let mut answers = judge.label(std::slice::from_ref(&lineup))?;
    check_count(judge.name(), 1, answers.len())?;
    let Some(Extremes { best, worst }) = answers.remove(0) else {
        return Ok(None);
    };
    if best >= count || worst >= count || best == worst {
        return Err(RewardError::Other(format!(
            "best {best} and worst {worst} of {count} rollouts make no sense; name two different ones"
        )));
    }
    Ok(Some(Round {
        candidates,
        best,
        worst,
    }))
}

/// What the terms of a reward did.
fn traces(signal: &Signal) -> BTreeMap<String, Trace> {
    let trace = |values: &[f64]| Trace {
        total: values.iter().sum(),
        least: values.iter().copied().fold(f64::INFINITY, f64::min),
        most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        samples: {
            let count = values.len().min(10);
            (0..count)
                .map(|i| values[i * (values.len() - 1) / (count - 1).max(1)])
                .collect()
        },
    };
    let terms = signal.terms.iter();
    terms
        .map(|(name, values)| (name.clone(), trace(values)))
        .collect()
}

#[cfg(test)]
mod tests;
