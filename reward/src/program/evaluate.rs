//! Working out a [`Program`] on a clip. Widths are checked and the cost is bounded before anything is computed, and every value
//! is finite at every step of the way.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::expression::{Binary, Expression, FEATURES, LARGEST, Part, Unary};
use super::source::Program;
use crate::model::{Clip, RewardError, Signal};
use rapport_perception::Features;

/// Most numbers that are worked out for one clip.
pub const MAX_COST: usize = 100_000_000;
/// Divisors nearer to 0 count as this far away.
const SMALLEST_DIVISOR: f64 = 1e-9;

/// A value over time, `[time, width]`.
#[derive(Clone, Debug)]
struct Rows {
    width: usize,
    values: Vec<f64>,
}

/// Works the program out at every step of a clip. Fails on a clip without steps, a column that is missing, too narrow, of
/// another length or not finite, on rows that do not fit together, and on more than [`MAX_COST`] numbers.
pub(super) fn evaluate(program: &Program, clip: &Clip) -> Result<Signal, RewardError> {
    let steps = steps(program, clip)?;
    check_cost(program, clip, steps)?;
    let mut scope = Scope {
        clip,
        steps,
        names: BTreeMap::new(),
    };
    for definition in &program.definitions {
        let rows = scope.evaluate(&definition.value)?.into_owned();
        scope.names.insert(&definition.name, rows);
    }
    let mut signal = Signal::new(vec![0.0; steps]);
    for term in &program.terms {
        let rows = scope.evaluate(&term.value)?;
        for (sum, value) in signal.per_step.iter_mut().zip(&rows.values) {
            *sum = bounded(*sum + value);
        }
        signal
            .terms
            .insert(term.name.clone(), rows.into_owned().values);
    }
    Ok(signal)
}

/// The column of that name.
fn column<'a>(clip: &'a Clip, name: &str) -> Result<&'a Features, RewardError> {
    match clip.columns.get(name) {
        Some(column) => Ok(column),
        None if name == FEATURES && !clip.features.is_empty() => Ok(&clip.features),
        None => {
            let known: Vec<&str> = clip.columns.keys().map(String::as_str).collect();
            Err(RewardError::Other(format!(
                "the clip has no column `{name}`, which the reward program uses; it has {}",
                if known.is_empty() {
                    "none".into()
                } else {
                    known.join(", ")
                }
            )))
        }
    }
}

/// How many steps the clip has, which all columns in use must have.
fn steps(program: &Program, clip: &Clip) -> Result<usize, RewardError> {
    let mut steps = (!clip.features.is_empty()).then(|| clip.len());
    for name in program.columns() {
        let found = column(clip, name)?.len();
        if *steps.get_or_insert(found) != found {
            return Err(RewardError::Other(format!(
                "the column `{name}` has {found} steps where the rest of the clip has {}",
                steps.unwrap_or(0)
            )));
        }
    }
    steps = steps.or_else(|| clip.columns.values().next().map(Features::len));
    match steps {
        Some(steps) if steps > 0 => Ok(steps),
        _ => Err(RewardError::Other(
            "the clip has no frames; give one with at least one".into(),
        )),
    }
}

/// Finds the width of every expression, and adds up what they cost.
fn check_cost(program: &Program, clip: &Clip, steps: usize) -> Result<(), RewardError> {
    let mut widths = Widths {
        clip,
        names: BTreeMap::new(),
        cost: 0,
    };
    for definition in &program.definitions {
        let width = widths.of(&definition.value)?;
        widths.names.insert(&definition.name, width);
    }
    for term in &program.terms {
        let width = widths.of(&term.value)?;
        if width != 1 {
            return Err(RewardError::Other(format!(
                "the term `{}` has {width} numbers at each step where a reward has one; take its norm, sum or mean",
                term.name
            )));
        }
    }
    match widths.cost.checked_mul(steps) {
        Some(cost) if cost <= MAX_COST => Ok(()),
        _ => Err(RewardError::Other(format!(
            "the program would work out {} numbers at each of {steps} steps, more than {MAX_COST} in all; use shorter clips or fewer columns",
            widths.cost
        ))),
    }
}

struct Widths<'a> {
    clip: &'a Clip,
    names: BTreeMap<&'a str, usize>,
    cost: usize,
}

impl Widths<'_> {
    fn of(&mut self, expression: &Expression) -> Result<usize, RewardError> {
        let width = match expression {
            Expression::Number(_) => 1,
            Expression::Name { name, part } => {
                let whole = match self.names.get(name.as_str()) {
                    Some(&width) => width,
                    None => column(self.clip, name)?.dim(),
                };
                let (width, end) = match *part {
                    Part::Whole => (whole, whole),
                    Part::At(i) => (1, i.saturating_add(1)),
                    Part::Range(from, to) => (to.saturating_sub(from), to),
                };
                if end > whole || width == 0 {
                    return Err(RewardError::Other(format!(
                        "`{expression}` asks for more than the {whole} numbers that `{name}` has"
                    )));
                }
                width
            }
            Expression::Row(items) => {
                let mut sum = 0usize;
                for item in items {
                    sum = sum.saturating_add(self.of(item)?);
                }
                sum
            }
            Expression::Unary(Unary::Norm | Unary::Sum | Unary::Mean, x) => {
                self.of(x)?;
                1
            }
            Expression::Unary(_, x) => self.of(x)?,
            Expression::Binary(op, a, b) => {
                let width = self.common(expression, &[a, b])?;
                if matches!(op, Binary::Distance | Binary::Dot) {
                    1
                } else {
                    width
                }
            }
            Expression::If(parts) => self.common(expression, &parts.iter().collect::<Vec<_>>())?,
        };
        self.cost = self.cost.saturating_add(width);
        Ok(width)
    }

    /// The width of rows that stand beside each other.
    fn common(&mut self, whole: &Expression, parts: &[&Expression]) -> Result<usize, RewardError> {
        let mut common = 1;
        for part in parts {
            let width = self.of(part)?;
            if width != 1 && common != 1 && width != common {
                return Err(RewardError::Other(format!(
                    "in `{whole}` rows of {common} and {width} numbers meet; they must be equally wide, or one of them 1"
                )));
            }
            common = common.max(width);
        }
        Ok(common)
    }
}

struct Scope<'a> {
    clip: &'a Clip,
    steps: usize,
    names: BTreeMap<&'a str, Rows>,
}

impl Scope<'_> {
    fn evaluate(&self, expression: &Expression) -> Result<Cow<'_, Rows>, RewardError> {
        let rows = match expression {
            Expression::Number(n) => Rows {
                width: 1,
                values: vec![bounded(*n); self.steps],
            },
            Expression::Name { name, part } => return self.name(name, *part),
            Expression::Row(items) => {
                let items = items
                    .iter()
                    .map(|i| self.evaluate(i))
                    .collect::<Result<Vec<_>, _>>()?;
                let width = items.iter().map(|i| i.width).sum();
                let row = |t: usize| items.iter().flat_map(move |i| i.row(t));
                Rows {
                    width,
                    values: (0..self.steps).flat_map(row).copied().collect(),
                }
            }
            Expression::Unary(op, x) => {
                let x = self.evaluate(x)?;
                unary(*op, &x)
            }
            Expression::Binary(op, a, b) => {
                let (a, b) = (self.evaluate(a)?, self.evaluate(b)?);
                match op {
                    Binary::Distance => {
                        a.reduce(&b, self.steps, |a, b| (a - b) * (a - b), f64::sqrt)
                    }
                    Binary::Dot => a.reduce(&b, self.steps, |a, b| a * b, |sum| sum),
                    _ => {
                        let width = a.width.max(b.width);
                        let values = (0..self.steps * width).map(|i| {
                            let (t, k) = (i / width, i % width);
                            bounded(binary(*op, a.at(t, k), b.at(t, k)))
                        });
                        Rows {
                            width,
                            values: values.collect(),
                        }
                    }
                }
            }
            Expression::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let (c, a, b) = (
                    self.evaluate(condition)?,
                    self.evaluate(then)?,
                    self.evaluate(otherwise)?,
                );
                let width = c.width.max(a.width).max(b.width);
                let values = (0..self.steps * width).map(|i| {
                    let (t, k) = (i / width, i % width);
                    if holds(c.at(t, k)) {
                        a.at(t, k)
                    } else {
                        b.at(t, k)
                    }
                });
                Rows {
                    width,
                    values: values.collect(),
                }
            }
        };
        Ok(Cow::Owned(rows))
    }

    fn name(&self, name: &str, part: Part) -> Result<Cow<'_, Rows>, RewardError> {
        let select = |whole: usize| match part {
            Part::Whole => 0..whole,
            Part::At(i) => i..i + 1,
            Part::Range(from, to) => from..to,
        };
        if let Some(rows) = self.names.get(name) {
            if part == Part::Whole {
                return Ok(Cow::Borrowed(rows));
            }
            let range = select(rows.width);
            let values = (0..self.steps).flat_map(|t| &rows.row(t)[range.clone()]);
            return Ok(Cow::Owned(Rows {
                width: range.len(),
                values: values.copied().collect(),
            }));
        }
        let column = column(self.clip, name)?;
        let range = select(column.dim());
        let values: Vec<f64> = column
            .rows()
            .flat_map(|row| &row[range.clone()])
            .map(|&v| f64::from(v))
            .collect();
        match values.iter().position(|v| !v.is_finite()) {
            Some(bad) => Err(RewardError::NotFinite {
                what: format!("the column `{name}`"),
                step: bad / range.len(),
            }),
            None => Ok(Cow::Owned(Rows {
                width: range.len(),
                values: values.into_iter().map(bounded).collect(),
            })),
        }
    }
}

impl Rows {
    fn row(&self, t: usize) -> &[f64] {
        &self.values[t * self.width..(t + 1) * self.width]
    }

    /// Number `k` of step `t`; a row of one has it everywhere.
    fn at(&self, t: usize, k: usize) -> f64 {
        self.values[t * self.width + if self.width == 1 { 0 } else { k }]
    }

    /// One number per step from two rows: a sum over pairs, then a function of it.
    fn reduce(
        &self,
        other: &Self,
        steps: usize,
        pair: fn(f64, f64) -> f64,
        finish: fn(f64) -> f64,
    ) -> Self {
        let width = self.width.max(other.width);
        let value = |t: usize| {
            finish(
                (0..width)
                    .map(|k| pair(self.at(t, k), other.at(t, k)))
                    .sum(),
            )
        };
        Self {
            width: 1,
            values: (0..steps).map(|t| bounded(value(t))).collect(),
        }
    }
}

/// Cut off at [`LARGEST`]; the values that come here are never "not a number", because none before them was infinite.
fn bounded(value: f64) -> f64 {
    value.clamp(-LARGEST, LARGEST)
}

fn holds(value: f64) -> bool {
    value > 0.0
}

fn unary(op: Unary, x: &Rows) -> Rows {
    let each = |f: fn(f64) -> f64| Rows {
        width: x.width,
        values: x.values.iter().map(|&v| bounded(f(v))).collect(),
    };
    let rows = |f: fn(&[f64]) -> f64| Rows {
        width: 1,
        values: x
            .values
            .chunks_exact(x.width)
            .map(|row| bounded(f(row)))
            .collect(),
    };
    match op {
        Unary::Negate => each(|v| -v),
        Unary::Not => each(|v| f64::from(!holds(v))),
        Unary::Abs => each(f64::abs),
        Unary::Exp => each(f64::exp),
        Unary::Sqrt => each(|v| v.max(0.0).sqrt()),
        Unary::Tanh => each(f64::tanh),
        Unary::Sigmoid => each(crate::objective::sigmoid),
        Unary::Norm => rows(|row| row.iter().map(|v| v * v).sum::<f64>().sqrt()),
        Unary::Sum => rows(|row| row.iter().sum()),
        Unary::Mean => rows(|row| row.iter().sum::<f64>() / row.len() as f64),
        Unary::Delta => Rows {
            width: x.width,
            values: (0..x.values.len())
                .map(|i| match i.checked_sub(x.width) {
                    Some(before) => bounded(x.values[i] - x.values[before]),
                    None => 0.0,
                })
                .collect(),
        },
    }
}

fn binary(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / SMALLEST_DIVISOR.max(b.abs()).copysign(b),
        Binary::Less => f64::from(a < b),
        Binary::AtMost => f64::from(a <= b),
        Binary::Greater => f64::from(a > b),
        Binary::AtLeast => f64::from(a >= b),
        Binary::And => f64::from(holds(a) && holds(b)),
        Binary::Or => f64::from(holds(a) || holds(b)),
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        // Of rows, worked out where rows are.
        Binary::Distance => (a - b).abs(),
        Binary::Dot => a * b,
    }
}
