//! [`Evolve`]: proposals by seeded chance. The first round's are random; later ones change the best program, away from the worst.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::super::expression::{Binary, Expression, Unary};
use super::super::source::{Program, Term};
use super::{Brief, Feature, Proposer, Round};
use crate::model::RewardError;
use crate::objective::sigmoid;

/// Settings of an [`Evolve`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvolveConfig {
    /// Most terms of a program.
    pub terms: usize,
    /// Spread of a weight's change, in natural logarithms. Each program of a round has its own share of it, so that some are near
    /// the best and some far.
    pub spread: f64,
    /// Chance that a change adds a term, and that it leaves one out.
    pub turnover: f64,
    /// Chance that a weight changes its sign; less where the sign was in the best programs and not in the worst.
    pub turn: f64,
    /// How far weights move on from the worst program's through the best's, as a share of their distance in logarithms.
    pub away: f64,
    /// Programs of a round that are random, as in the first, where there is room for them.
    pub fresh: usize,
    /// Seed of all chance.
    pub seed: u64,
}

impl Default for EvolveConfig {
    fn default() -> Self {
        Self {
            terms: 4,
            spread: 0.8,
            turnover: 0.5,
            turn: 0.2,
            away: 0.3,
            fresh: 2,
            seed: 0,
        }
    }
}

impl EvolveConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let bad = |what: &str| Err(RewardError::Other(format!("evolve.{what}")));
        if self.terms == 0 || self.terms > 32 {
            return bad(&format!("terms is {}; give 1 to 32", self.terms));
        }
        if !(0.0..=10.0).contains(&self.spread) || !(0.0..=10.0).contains(&self.away) {
            return bad(&format!(
                "spread is {} and evolve.away {}; give 0 to 10",
                self.spread, self.away
            ));
        }
        if ![self.turnover, self.turn]
            .iter()
            .all(|c| (0.0..=1.0).contains(c))
        {
            return bad(&format!(
                "turnover is {} and evolve.turn {}; they are chances, 0 to 1",
                self.turnover, self.turn
            ));
        }
        Ok(())
    }
}

/// A proposer that needs no language model. Programs are sums of terms `weight * shape(feature)` over the brief's features.
pub struct Evolve {
    config: EvolveConfig,
}

impl Evolve {
    /// Fails on settings that make no sense.
    pub fn new(config: EvolveConfig) -> Result<Self, RewardError> {
        config.validate()?;
        Ok(Self { config })
    }

    fn random(&self, brief: &Brief, leaning: &Leaning, rng: &mut ChaCha8Rng) -> Program {
        let count = rng.random_range(1..=self.config.terms);
        let mut terms = Vec::new();
        for _ in 0..count {
            self.add(&mut terms, brief, leaning, rng);
        }
        Program {
            definitions: Vec::new(),
            terms,
        }
    }

    /// Adds a term over a feature that has none yet, if there is one.
    fn add(&self, terms: &mut Vec<Term>, brief: &Brief, leaning: &Leaning, rng: &mut ChaCha8Rng) {
        let free: Vec<&Feature> = brief
            .features
            .iter()
            .filter(|f| terms.iter().all(|t| t.name != f.name))
            .collect();
        let Some(feature) = free.choose(rng) else {
            return;
        };
        let size = 10f64.powf(rng.random_range(-2.0..1.0));
        let weight = if rng.random_bool(sigmoid(leaning.of(&feature.name))) {
            size
        } else {
            -size
        };
        terms.push(Term {
            name: feature.name.clone(),
            value: Expression::binary(
                Binary::Multiply,
                Expression::Number(round_off(weight)),
                shape(&feature.value, rng),
            ),
        });
    }

    /// The best program, changed by `spread`.
    fn changed(
        &self,
        round: &Round,
        brief: &Brief,
        leaning: &Leaning,
        spread: f64,
        rng: &mut ChaCha8Rng,
    ) -> Program {
        let mut program = round.best_program().clone();
        let worst = &round.candidates[round.worst].program;
        for term in &mut program.terms {
            let bad = weight_in(worst, &term.name);
            let leaning = leaning.of(&term.name);
            let Some(w) = weight_mut(&mut term.value) else {
                continue;
            };
            let mut size = w.abs().max(1e-6).ln();
            if let Some(bad) = bad.filter(|bad| bad.signum() == w.signum()) {
                // Further in the direction from the worst program's weight to this one.
                size += self.config.away * (size - bad.abs().max(1e-6).ln());
            }
            size += spread * normal(rng);
            let turned = rng.random_bool(self.config.turn * sigmoid(-leaning * w.signum()));
            let sign = if turned { -w.signum() } else { w.signum() };
            *w = round_off(sign * size.exp().clamp(1e-4, 1e4));
        }
        if program.terms.len() > 1 && rng.random_bool(self.config.turnover / 2.0) {
            program
                .terms
                .remove(rng.random_range(0..program.terms.len()));
        }
        if program.terms.len() < self.config.terms && rng.random_bool(self.config.turnover) {
            self.add(&mut program.terms, brief, leaning, rng);
        }
        program
    }
}

/// Which sign of each feature was found in the best programs, and not in the worst, so far.
struct Leaning(BTreeMap<String, f64>);

impl Leaning {
    fn from(rounds: &[Round]) -> Self {
        let mut found = BTreeMap::new();
        for round in rounds {
            let worst = &round.candidates[round.worst].program;
            for (program, vote) in [(round.best_program(), 1.0), (worst, -1.0)] {
                for term in &program.terms {
                    if let Some(w) = weight(&term.value) {
                        *found.entry(term.name.clone()).or_insert(0.0) += vote * w.signum();
                    }
                }
            }
        }
        Self(found)
    }

    /// Above 0 where the feature seems to be liked, below where it seems to be disliked.
    fn of(&self, feature: &str) -> f64 {
        self.0.get(feature).copied().unwrap_or(0.0)
    }
}

/// The weight of a feature in a program.
fn weight_in(program: &Program, feature: &str) -> Option<f64> {
    let term = program.terms.iter().find(|t| t.name == feature)?;
    weight(&term.value).copied()
}

impl Proposer for Evolve {
    fn name(&self) -> &str {
        "evolve"
    }

    fn propose(
        &mut self,
        brief: &Brief,
        rounds: &[Round],
        count: usize,
    ) -> Result<Vec<Program>, RewardError> {
        if brief.features.is_empty() {
            return Err(RewardError::Other(
                "there is nothing to build a reward program of; give the brief some columns".into(),
            ));
        }
        let leaning = Leaning::from(rounds);
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed);
        rng.set_stream(rounds.len() as u64);
        let mut programs = Vec::<Program>::new();
        let mut attempts = 0;
        while programs.len() < count {
            attempts += 1;
            let program = match rounds.last() {
                Some(round) if programs.len() + self.config.fresh.min(count - 1) < count => {
                    // From near to far.
                    let share = (programs.len() + 1) as f64 / count as f64;
                    let spread = self.config.spread * share;
                    self.changed(round, brief, &leaning, spread, &mut rng)
                }
                _ => self.random(brief, &leaning, &mut rng),
            };
            let fresh = !programs.contains(&program) || attempts > 100 * count;
            if fresh {
                brief.check(&program)?;
                programs.push(program);
            }
        }
        Ok(programs)
    }
}

/// One of the shapes that rewards commonly have.
fn shape(value: &Expression, rng: &mut ChaCha8Rng) -> Expression {
    let scale = Expression::Number(round_off(10f64.powf(rng.random_range(-2.0..0.5))));
    let scaled = |scale| Expression::binary(Binary::Divide, value.clone(), scale);
    match rng.random_range(0..10) {
        0..=5 => value.clone(),
        // exp(-|x| / s): near, and only near.
        6 | 7 => {
            let size = Expression::unary(Unary::Abs, scaled(scale));
            Expression::unary(Unary::Exp, Expression::unary(Unary::Negate, size))
        }
        8 => Expression::unary(Unary::Tanh, scaled(scale)),
        _ => Expression::binary(Binary::Less, value.clone(), scale),
    }
}

/// The factor in front of a term.
fn weight(value: &Expression) -> Option<&f64> {
    match value {
        Expression::Binary(Binary::Multiply, a, _) => match &**a {
            Expression::Number(n) => Some(n),
            _ => None,
        },
        _ => None,
    }
}

fn weight_mut(value: &mut Expression) -> Option<&mut f64> {
    match value {
        Expression::Binary(Binary::Multiply, a, _) => match &mut **a {
            Expression::Number(n) => Some(n),
            _ => None,
        },
        _ => None,
    }
}

/// Three digits, for whoever reads the program.
fn round_off(x: f64) -> f64 {
    if x == 0.0 {
        return 0.0;
    }
    let unit = 10f64.powf(x.abs().log10().floor() - 2.0);
    // Through text, so that no digit of the arithmetic is left behind.
    format!("{:.2e}", (x / unit).round() * unit)
        .parse()
        .unwrap_or(x)
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (
        rng.random_range(f64::EPSILON..1.0),
        rng.random_range(0.0..1.0),
    );
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
