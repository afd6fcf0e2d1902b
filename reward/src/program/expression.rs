//! The language of reward programs: its syntax tree, and how it is written.
//!
//! ```text
//! # Names for what is used often, then the named terms whose sum is the reward.
//! let hand = observation.state[0..3]
//! reach  = -distance(hand, observation.state[3..6])
//! gentle = -0.1 * norm(delta(action))
//! there  = if(distance(hand, [0.2, 0, 0.1]) < 0.03, 1, 0)
//! ```
//!
//! Every value is a row of numbers, most often of one. Operations go number by number; a row of one stands beside every
//! number of a longer row. Conditions are 1 where they hold and 0 where not, and anything above 0 counts as holding.

use std::fmt::{self, Display, Formatter, Write as _};

use serde::{Deserialize, Serialize};

/// Most nodes of a program.
pub const MAX_NODES: usize = 512;
/// Deepest nesting of brackets and signs.
pub const MAX_NESTING: usize = 32;
/// Longest text of a program, bytes.
pub const MAX_TEXT: usize = 32 * 1024;
/// Every number in a program and every value on the way is cut off here, so that there is no infinity.
pub const LARGEST: f64 = 1e12;

/// The name that stands for the encoder's features of the clip.
pub const FEATURES: &str = "features";

/// An expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expression {
    /// A number, finite and at most [`LARGEST`] in size.
    Number(f64),
    /// A column of the clip or a name given by `let`, whole or in part.
    Name {
        /// Which.
        name: String,
        /// What of it.
        part: Part,
    },
    /// Rows laid end to end: `[a, b, c]`.
    Row(Vec<Expression>),
    /// An operation on one value.
    Unary(Unary, Box<Expression>),
    /// An operation on two values.
    Binary(Binary, Box<Expression>, Box<Expression>),
    /// `if(condition, then, otherwise)`, number by number; both branches are worked out.
    If(Box<[Expression; 3]>),
}

/// What of a named row is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// All of it.
    Whole,
    /// One number, counted from 0.
    At(usize),
    /// The numbers from the first up to, not including, the second.
    Range(usize, usize),
}

/// Operations on one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unary {
    /// `-x`.
    Negate,
    /// `!x`: 1 where `x` does not hold.
    Not,
    /// `abs(x)`.
    Abs,
    /// `exp(x)`.
    Exp,
    /// `sqrt(x)`; of a negative number 0.
    Sqrt,
    /// `tanh(x)`.
    Tanh,
    /// `sigmoid(x)`, `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `norm(x)`: Euclidean length of a row.
    Norm,
    /// `sum(x)` of a row.
    Sum,
    /// `mean(x)` of a row.
    Mean,
    /// `delta(x)`: change since the step before; 0 at the first.
    Delta,
}

impl Unary {
    /// Those written as functions.
    pub const FUNCTIONS: [Self; 9] = [
        Self::Abs,
        Self::Exp,
        Self::Sqrt,
        Self::Tanh,
        Self::Sigmoid,
        Self::Norm,
        Self::Sum,
        Self::Mean,
        Self::Delta,
    ];

    /// How it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Negate => "-",
            Self::Not => "!",
            Self::Abs => "abs",
            Self::Exp => "exp",
            Self::Sqrt => "sqrt",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Norm => "norm",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Delta => "delta",
        }
    }
}

/// Operations on two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Subtract,
    /// `a * b`.
    Multiply,
    /// `a / b`; a divisor nearer to 0 than 1e-9 counts as 1e-9 with its sign.
    Divide,
    /// `a < b`.
    Less,
    /// `a <= b`.
    AtMost,
    /// `a > b`.
    Greater,
    /// `a >= b`.
    AtLeast,
    /// `a && b`.
    And,
    /// `a || b`.
    Or,
    /// `min(a, b)`.
    Min,
    /// `max(a, b)`.
    Max,
    /// `distance(a, b)`: Euclidean, between rows.
    Distance,
    /// `dot(a, b)`: the inner product of rows.
    Dot,
}

impl Binary {
    /// Those written between their operands.
    pub const INFIX: [Self; 10] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        // Longer signs before the ones they begin with.
        Self::AtMost,
        Self::AtLeast,
        Self::Less,
        Self::Greater,
        Self::And,
        Self::Or,
    ];
    /// Those written as functions.
    pub const FUNCTIONS: [Self; 4] = [Self::Min, Self::Max, Self::Distance, Self::Dot];

    /// How it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::And => "&&",
            Self::Or => "||",
            Self::Min => "min",
            Self::Max => "max",
            Self::Distance => "distance",
            Self::Dot => "dot",
        }
    }

    /// How tightly it binds, for those written between their operands; all group to the left.
    pub fn precedence(self) -> Option<u8> {
        match self {
            Self::Or => Some(1),
            Self::And => Some(2),
            Self::Less | Self::AtMost | Self::Greater | Self::AtLeast => Some(3),
            Self::Add | Self::Subtract => Some(4),
            Self::Multiply | Self::Divide => Some(5),
            Self::Min | Self::Max | Self::Distance | Self::Dot => None,
        }
    }
}

/// How tightly a sign in front of a value binds.
const PREFIX: u8 = 6;

impl Expression {
    /// A whole column or name.
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name {
            name: name.into(),
            part: Part::Whole,
        }
    }

    /// `op(x)`.
    pub fn unary(op: Unary, x: Self) -> Self {
        Self::Unary(op, Box::new(x))
    }

    /// `a op b`.
    pub fn binary(op: Binary, a: Self, b: Self) -> Self {
        Self::Binary(op, Box::new(a), Box::new(b))
    }

    /// The expressions directly inside.
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::Name { .. } => vec![],
            Self::Row(items) => items.iter().collect(),
            Self::Unary(_, x) => vec![x],
            Self::Binary(_, a, b) => vec![a, b],
            Self::If(parts) => parts.iter().collect(),
        }
    }

    /// The expressions directly inside, to be changed.
    pub fn children_mut(&mut self) -> Vec<&mut Self> {
        match self {
            Self::Number(_) | Self::Name { .. } => vec![],
            Self::Row(items) => items.iter_mut().collect(),
            Self::Unary(_, x) => vec![x],
            Self::Binary(_, a, b) => vec![a, b],
            Self::If(parts) => parts.iter_mut().collect(),
        }
    }

    /// Number of nodes, this one among them.
    pub fn nodes(&self) -> usize {
        1 + self.children().into_iter().map(Self::nodes).sum::<usize>()
    }

    /// The columns and names used, in order of appearance, each time it appears.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Name { name, .. } => vec![name],
            _ => self.children().into_iter().flat_map(Self::names).collect(),
        }
    }

    /// How tightly the outermost operation binds.
    fn precedence(&self) -> u8 {
        match self {
            Self::Binary(op, ..) => op.precedence().unwrap_or(u8::MAX),
            Self::Unary(Unary::Negate | Unary::Not, _) => PREFIX,
            Self::Number(n) if n.is_sign_negative() => PREFIX,
            _ => u8::MAX,
        }
    }

    /// Written with brackets where something that binds more tightly is needed.
    fn write_within(&self, f: &mut Formatter<'_>, least: u8) -> fmt::Result {
        if self.precedence() < least {
            write!(f, "({self})")
        } else {
            write!(f, "{self}")
        }
    }
}

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write_number(f, *n),
            Self::Name { name, part } => {
                write_name(f, name)?;
                match part {
                    Part::Whole => Ok(()),
                    Part::At(i) => write!(f, "[{i}]"),
                    Part::Range(from, to) => write!(f, "[{from}..{to}]"),
                }
            }
            Self::Row(items) => {
                f.write_char('[')?;
                write_list(f, items)?;
                f.write_char(']')
            }
            // A sign before a number would be read as part of it.
            Self::Unary(Unary::Negate, x) if matches!(**x, Self::Number(_)) => write!(f, "-({x})"),
            Self::Unary(op @ (Unary::Negate | Unary::Not), x) => {
                f.write_str(op.symbol())?;
                x.write_within(f, PREFIX)
            }
            Self::Unary(op, x) => write!(f, "{}({x})", op.symbol()),
            Self::Binary(op, a, b) => match op.precedence() {
                Some(precedence) => {
                    a.write_within(f, precedence)?;
                    write!(f, " {} ", op.symbol())?;
                    b.write_within(f, precedence + 1)
                }
                None => write!(f, "{}({a}, {b})", op.symbol()),
            },
            Self::If(parts) => {
                f.write_str("if(")?;
                write_list(f, parts.as_slice())?;
                f.write_char(')')
            }
        }
    }
}

fn write_list(f: &mut Formatter<'_>, items: &[Expression]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// The shortest text that is read back as the same number.
fn write_number(f: &mut Formatter<'_>, n: f64) -> fmt::Result {
    if n != 0.0 && !(1e-5..1e9).contains(&n.abs()) {
        write!(f, "{n:e}")
    } else {
        write!(f, "{n}")
    }
}

/// A name, between backquotes where it has other characters than names have.
pub(super) fn write_name(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    if is_plain_name(name) {
        f.write_str(name)
    } else {
        write!(f, "`{name}`")
    }
}

/// Letters, digits, `_`, and `.` between them; no word of the language.
pub(super) fn is_plain_name(name: &str) -> bool {
    let part = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    name.split('.').all(part) && !["let", "if"].contains(&name)
}

/// A name that can be written at all, plainly or between backquotes.
pub(super) fn is_writable_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && !name.chars().any(|c| c == '`' || c.is_control())
}
