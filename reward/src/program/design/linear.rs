//! Reward design as linear programmes: EXPRD and ExpAdaRD.

use microlp::{ComparisonOp, LinearExpr, OptimizationDirection, Problem, Variable};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::table::{Decisions, EQUAL, Values};
use crate::model::RewardError;

/// Whether going to and fro may pay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToAndFro {
    /// A step and the one that undoes it together pay nothing beyond what the task itself pays.
    #[default]
    Unpaid,
    /// As in the thesis: only the best behaviour in the long run counts. A learner that explores little collects the reward of a
    /// subgoal again and again before it has found the goal.
    Allowed,
}

/// Settings of a design.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DesignConfig {
    /// Most states whose actions pay anything, B. Those that pay in the task itself are among them.
    pub states: usize,
    /// Largest reward in size, Rmax.
    pub largest: f64,
    /// Steps after which good actions should stand out.
    pub horizons: Vec<usize>,
    /// Price of the sum of all rewards' sizes, against rewards that are not needed.
    pub price: f64,
    /// Whether going to and fro may pay. Unpaid departs from the thesis.
    pub to_and_fro: ToAndFro,
}

impl Default for DesignConfig {
    fn default() -> Self {
        Self {
            states: 5,
            largest: 1.0,
            horizons: vec![1, 4, 8, 16, 32],
            price: 0.0,
            to_and_fro: ToAndFro::default(),
        }
    }
}

impl DesignConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let fail = |message: String| Err(RewardError::Other(message));
        if self.states == 0 || self.horizons.is_empty() || self.horizons.contains(&0) {
            return fail("design.states and each of design.horizons must be at least 1".into());
        }
        if !self.largest.is_finite()
            || self.largest <= 0.0
            || !self.price.is_finite()
            || self.price < 0.0
        {
            return fail(format!(
                "design.largest is {} and design.price {}; give a positive number, and one from 0 up",
                self.largest, self.price
            ));
        }
        Ok(())
    }
}

/// A reward that was designed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// What each state and action pays, `[states * actions]`.
    pub reward: Vec<f64>,
    /// The states that pay, in the order in which they were chosen.
    pub states: Vec<usize>,
    /// What the linear programme came to: the mean shortfall of good actions' lead (EXPRD, less is better), or the informativeness for
    /// the learner (ExpAdaRD, more is better).
    pub objective: f64,
}

/// EXPRD. The reward `R` of at most B states, `|R| ≤ Rmax`, for which the best actions of the task stay the best, by the margin they
/// have in it, and which brings the smallest mean, over horizons `H` and states, of
///
/// ```text
/// max(0, max_a [δ_s - A_H(s, a)])      A_H(s, a): lead of the best action over a within H steps; δ_s: its margin in the task
/// ```
///
/// States are chosen one by one, each time the one that helps most. [`ToAndFro`] adds a constraint that the thesis does not have. Fails when no such reward keeps the best actions best.
pub fn designed(task: &Decisions, config: &DesignConfig) -> Result<Design, RewardError> {
    let (planner, mut active) = Planner::new(task, config)?;
    let mut found = planner
        .informative(&active)
        .ok_or_else(|| no_design(config))?;
    while active.len() < config.states {
        let candidates: Vec<usize> = planner.candidates(&active);
        let best = candidates
            .into_par_iter()
            .filter_map(|s| {
                let states: Vec<usize> = active.iter().copied().chain([s]).collect();
                Some((s, planner.informative(&states)?))
            })
            .min_by(|(s, a), (t, b)| a.0.total_cmp(&b.0).then(s.cmp(t)));
        match best {
            Some((s, better)) if better.0 < found.0 - 1e-7 => {
                active.push(s);
                found = better;
            }
            _ => break,
        }
    }
    Ok(planner.design(active, found))
}

/// ExpAdaRD. Under the same constraints, the reward that tells a learner with policy `π_L`, `[states * actions]`, most:
///
/// ```text
/// Σ_s,a μ(s) π_L(a|s) (A(s, a) - E_b A(s, b)) (R(s, a) - E_b R(s, b))      b ~ π_L
/// ```
///
/// with the best behaviour's advantages `A` and the states it visits from `starts`, `μ`. Choose anew every so many episodes.
pub fn adapted(
    task: &Decisions,
    policy: &[f64],
    starts: &[usize],
    config: &DesignConfig,
) -> Result<Design, RewardError> {
    let (planner, mut active) = Planner::new(task, config)?;
    if policy.len() != task.reward.len()
        || starts.iter().any(|s| *s >= task.states)
        || starts.is_empty()
    {
        return Err(RewardError::Other(
            "the learner's policy needs a probability for each state and action, and its starts must be states".into(),
        ));
    }
    let gain = planner.gain(policy, starts);
    // The states at which something can be told, most first; the sum separates over states but for the constraints.
    let mut states = planner.candidates(&active);
    let worth = |s: usize| -> f64 {
        (0..task.actions)
            .map(|a| gain[task.index(s, a)].abs())
            .sum()
    };
    states.sort_by(|&s, &t| worth(t).total_cmp(&worth(s)).then(s.cmp(&t)));
    let more = config.states.saturating_sub(active.len());
    active.extend(states.into_iter().filter(|s| worth(*s) > EQUAL).take(more));
    let found = planner
        .telling(&active, &gain)
        .ok_or_else(|| no_design(config))?;
    Ok(planner.design(active, found))
}

fn no_design(config: &DesignConfig) -> RewardError {
    RewardError::Other(format!(
        "no reward of at most {} in size on {} states keeps the best actions best; allow more",
        config.largest, config.states
    ))
}

/// What a linear programme came to, and the rewards of the active states, `[active * actions]`.
type Found = (f64, Vec<f64>);

struct Planner<'a> {
    task: &'a Decisions,
    config: &'a DesignConfig,
    values: Values,
    gaps: Vec<f64>,
    /// By how much the best action of a state leads, at least: δ_s, `[states]`; 0 where all are equally good.
    margins: Vec<f64>,
    last: Vec<bool>,
}

impl<'a> Planner<'a> {
    /// With the states that pay in the task itself.
    fn new(
        task: &'a Decisions,
        config: &'a DesignConfig,
    ) -> Result<(Self, Vec<usize>), RewardError> {
        config.validate()?;
        let values = task.solve()?;
        let gaps = values.gaps();
        let margins = gaps
            .chunks_exact(task.actions)
            .map(|row| {
                row.iter()
                    .copied()
                    .filter(|g| *g > EQUAL)
                    .fold(f64::INFINITY, f64::min)
            })
            .map(|least| if least.is_finite() { least } else { 0.0 })
            .collect();
        let pays = |s: &usize| (0..task.actions).any(|a| task.reward[task.index(*s, a)] != 0.0);
        let active: Vec<usize> = (0..task.states).filter(pays).collect();
        if active.is_empty() || active.len() > config.states {
            return Err(RewardError::Other(format!(
                "{} states pay in the task itself, and design.states is {}; there must be at least one, and not more than that",
                active.len(),
                config.states
            )));
        }
        let last = (0..task.states).map(|s| task.is_final(s)).collect();
        Ok((
            Self {
                task,
                config,
                values,
                gaps,
                margins,
                last,
            },
            active,
        ))
    }

    fn candidates(&self, active: &[usize]) -> Vec<usize> {
        (0..self.task.states)
            .filter(|s| !active.contains(s) && !self.last[*s])
            .collect()
    }

    /// Leads `A_H(s, a)` of the best behaviour as linear forms in the active states' rewards, for each horizon in `wanted` (rising) and
    /// at last for ever: `[horizon][states * actions][active * actions]`.
    fn leads(&self, active: &[usize], wanted: &[usize]) -> Vec<Vec<Vec<f64>>> {
        let (task, variables) = (self.task, active.len() * self.task.actions);
        let forever = (1e-10f64.ln() / task.discount.max(1e-6).ln()).ceil() as usize + 1;
        let mut place = vec![None; task.states];
        for (k, &s) in active.iter().enumerate() {
            place[s] = Some(k * task.actions);
        }
        let mut state = vec![vec![0.0; variables]; task.states];
        let mut leads = Vec::new();
        for horizon in 1..=forever.max(wanted.last().copied().unwrap_or(1)) {
            let action: Vec<Vec<f64>> = (0..task.states * task.actions)
                .map(|i| {
                    let mut form = vec![0.0; variables];
                    for (s, p) in &task.next[i] {
                        for (f, v) in form.iter_mut().zip(&state[*s]) {
                            *f += task.discount * p * v;
                        }
                    }
                    if let Some(first) = place[i / task.actions] {
                        form[first + i % task.actions] += 1.0;
                    }
                    form
                })
                .collect();
            for (s, form) in state.iter_mut().enumerate() {
                form.clone_from(&action[task.index(s, self.values.best[s])]);
            }
            let last = horizon == forever.max(wanted.last().copied().unwrap_or(1));
            for _ in 0..wanted.iter().filter(|h| **h == horizon).count() + usize::from(last) {
                let lead = |(i, form): (usize, &Vec<f64>)| {
                    state[i / task.actions]
                        .iter()
                        .zip(form)
                        .map(|(b, f)| b - f)
                        .collect()
                };
                leads.push(action.iter().enumerate().map(lead).collect());
            }
        }
        leads
    }

    /// The programme with the variables `R`, and the constraint that the best actions stay the best.
    fn programme(
        &self,
        active: &[usize],
        direction: OptimizationDirection,
        gain: impl Fn(usize) -> f64,
        forever: &[Vec<f64>],
    ) -> (Problem, Vec<Variable>) {
        let mut problem = Problem::new(direction);
        let largest = self.config.largest;
        let rewards: Vec<Variable> = (0..active.len() * self.task.actions)
            .map(|k| {
                let i = self
                    .task
                    .index(active[k / self.task.actions], k % self.task.actions);
                problem.add_var(gain(i), (-largest, largest))
            })
            .collect();
        for (i, form) in forever.iter().enumerate() {
            let s = i / self.task.actions;
            if self.last[s] || i % self.task.actions == self.values.best[s] {
                continue;
            }
            // Actions as good as the best may stay so.
            let margin = if self.gaps[i] > EQUAL {
                self.margins[s]
            } else {
                0.0
            };
            if row_is_empty(form) {
                continue;
            }
            let row = expression(&rewards, form);
            problem.add_constraint(row, ComparisonOp::Ge, margin * (1.0 - 1e-9));
        }
        if self.config.to_and_fro == ToAndFro::Unpaid {
            self.forbid_circling(active, &mut problem, &rewards);
        }
        (problem, rewards)
    }

    /// The constraint that a step and one that leads back pay nothing together, but for what the task itself pays.
    fn forbid_circling(&self, active: &[usize], problem: &mut Problem, rewards: &[Variable]) {
        let actions = self.task.actions;
        let variable = |i: usize| {
            let k = active.iter().position(|s| *s == i / actions)?;
            (self.task.reward[i] == 0.0).then(|| rewards[k * actions + i % actions])
        };
        for i in 0..self.task.reward.len() {
            let from = i / actions;
            for &(to, _) in self.task.next[i].iter().filter(|_| !self.last[from]) {
                for j in (to * actions..(to + 1) * actions).filter(|j| *j >= i) {
                    let leads_back = self.task.next[j].iter().any(|(s, _)| *s == from);
                    let mut there: Vec<Variable> =
                        [variable(i), variable(j)].into_iter().flatten().collect();
                    there.dedup();
                    if leads_back && !there.is_empty() {
                        let row: Vec<(Variable, f64)> =
                            there.into_iter().map(|v| (v, 1.0)).collect();
                        problem.add_constraint(row, ComparisonOp::Le, 0.0);
                    }
                }
            }
        }
    }

    /// EXPRD's programme on these states; none where the best actions cannot stay the best.
    fn informative(&self, active: &[usize]) -> Option<Found> {
        let mut wanted = self.config.horizons.clone();
        wanted.sort_unstable();
        let mut leads = self.leads(active, &wanted);
        let forever = leads.pop()?;
        if self.hopeless(&forever) {
            return None;
        }
        let (mut problem, rewards) =
            self.programme(active, OptimizationDirection::Minimize, |_| 0.0, &forever);
        let counted: Vec<usize> = (0..self.task.states)
            .filter(|s| !self.last[*s] && self.margins[*s] > 0.0)
            .collect();
        let share = 1.0 / (counted.len() * leads.len()).max(1) as f64;
        // Shortfalls that no reward can change are the same in all programmes; they need no variable.
        let mut fixed = 0.0;
        for lead in &leads {
            for &s in &counted {
                let margin = self.margins[s];
                let worse = (0..self.task.actions)
                    .map(|a| self.task.index(s, a))
                    .filter(|i| self.gaps[*i] > EQUAL);
                let (still, moving): (Vec<usize>, Vec<usize>) =
                    worse.partition(|i| row_is_empty(&lead[*i]));
                // An action that no reward can tell from the best falls short by the whole margin.
                let least = if still.is_empty() { 0.0 } else { margin };
                fixed += share * least;
                if moving.is_empty() {
                    continue;
                }
                let beyond = problem.add_var(share, (0.0, f64::INFINITY));
                for i in moving {
                    let mut row = expression(&rewards, &lead[i]);
                    row.add(beyond, 1.0);
                    problem.add_constraint(row, ComparisonOp::Ge, margin - least);
                }
            }
        }
        if self.config.price > 0.0 {
            for &reward in &rewards {
                let size = problem.add_var(self.config.price, (0.0, f64::INFINITY));
                problem.add_constraint([(size, 1.0), (reward, -1.0)], ComparisonOp::Ge, 0.0);
                problem.add_constraint([(size, 1.0), (reward, 1.0)], ComparisonOp::Ge, 0.0);
            }
        }
        let (objective, rewards) = solved(&problem, &rewards)?;
        Some((objective + fixed, rewards))
    }

    /// ExpAdaRD's programme on these states.
    fn telling(&self, active: &[usize], gain: &[f64]) -> Option<Found> {
        let forever = self.leads(active, &[]).pop()?;
        if self.hopeless(&forever) {
            return None;
        }
        let (problem, rewards) = self.programme(
            active,
            OptimizationDirection::Maximize,
            |i| gain[i],
            &forever,
        );
        solved(&problem, &rewards)
    }

    /// True where a worse action cannot be told from the best one by any reward on the active states.
    fn hopeless(&self, forever: &[Vec<f64>]) -> bool {
        let told = |i: &usize| self.gaps[*i] > EQUAL && !self.last[*i / self.task.actions];
        (0..forever.len())
            .filter(told)
            .any(|i| row_is_empty(&forever[i]))
    }

    /// What each reward tells the learner: the derivative of the informativeness, `[states * actions]`.
    fn gain(&self, policy: &[f64], starts: &[usize]) -> Vec<f64> {
        let actions = self.task.actions;
        let visits = self.visits(starts);
        let mut gain = vec![0.0; policy.len()];
        for (s, visited) in visits.iter().enumerate() {
            let row = s * actions..(s + 1) * actions;
            let advantages: Vec<f64> = row.clone().map(|i| -self.gaps[i]).collect();
            let policy = &policy[row.clone()];
            let mean: f64 = policy.iter().zip(&advantages).map(|(p, a)| p * a).sum();
            // Σ_a p_a (A_a - Ā)(R_a - R̄) has the derivative p_a (A_a - Ā) by R_a: what R̄ adds sums to nothing.
            for (k, i) in row.enumerate() {
                gain[i] = visited * policy[k] * (advantages[k] - mean);
            }
        }
        gain
    }

    /// Discounted visits of the best behaviour, `[states]`, summing to 1.
    fn visits(&self, starts: &[usize]) -> Vec<f64> {
        let task = self.task;
        let mut now = vec![0.0; task.states];
        for s in starts {
            now[*s] += 1.0 / starts.len() as f64;
        }
        let (mut visits, mut weight) = (vec![0.0; task.states], 1.0 - task.discount);
        while weight > 1e-10 {
            let mut next = vec![0.0; task.states];
            for s in 0..task.states {
                visits[s] += weight * now[s];
                for (t, p) in &task.next[task.index(s, self.values.best[s])] {
                    next[*t] += now[s] * p;
                }
            }
            now = next;
            weight *= task.discount;
        }
        visits
    }

    fn design(&self, active: Vec<usize>, (objective, rewards): Found) -> Design {
        let mut reward = vec![0.0; self.task.reward.len()];
        for (k, value) in rewards.into_iter().enumerate() {
            let i = self
                .task
                .index(active[k / self.task.actions], k % self.task.actions);
            reward[i] = value;
        }
        Design {
            reward,
            states: active,
            objective,
        }
    }
}

/// Coefficients that round-off left are none.
const NEGLIGIBLE: f64 = 1e-7;

fn row_is_empty(form: &[f64]) -> bool {
    form.iter().all(|c| c.abs() < NEGLIGIBLE)
}

fn expression(rewards: &[Variable], form: &[f64]) -> LinearExpr {
    let mut row = LinearExpr::empty();
    for (variable, coefficient) in rewards
        .iter()
        .zip(form)
        .filter(|(_, c)| c.abs() >= NEGLIGIBLE)
    {
        row.add(*variable, *coefficient);
    }
    row
}

fn solved(problem: &Problem, rewards: &[Variable]) -> Option<Found> {
    let solution = problem.solve().ok()?.into_solution().ok()?;
    let values = rewards.iter().map(|r| solution.var_value(*r)).collect();
    Some((solution.objective(), values))
}
