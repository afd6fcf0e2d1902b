//! A task as data: what is observed, where things start, what is wanted and what it is worth. A TOML file, read without
//! recompiling anything.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::error::{ModelError, line_of};
use super::source::Text;

/// A task file. Lengths in m, angles in rad, times in s.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskFile {
    /// The task in words, as a person would put it.
    pub instruction: String,
    /// Steps of an episode.
    pub max_steps: usize,
    /// Steps a second; the nearest rate that is a whole number of physics steps is used.
    pub policy_hz: f64,
    /// Simulated time between placing things and the first observation, s.
    pub settle_s: f64,
    /// The model's keyframe that an episode starts from: its name, or its number.
    pub keyframe: Option<Spanned<String>>,
    /// The cameras, the usual one first. Empty: all of the model.
    pub cameras: Vec<Spanned<String>>,
    /// What is observed. None: all joints and their velocities.
    pub observe: Option<Observe>,
    /// What an action is.
    pub action: Action,
    /// What is random at the start.
    pub start: Vec<Spanned<Start>>,
    /// A place that is new in each episode; points may be `"goal"`.
    pub goal: Option<Spanned<Goal>>,
    /// The reward of a step is the sum of these.
    pub reward: Vec<Spanned<Clause>>,
    /// The task is done while all of these hold. None: it never is.
    pub success: Vec<Spanned<Clause>>,
    /// The episode ends in vain when one of these holds.
    pub failure: Vec<Spanned<Clause>>,
    /// Added to the reward while the task is done.
    pub success_bonus: f64,
}

impl Default for TaskFile {
    fn default() -> Self {
        Self {
            instruction: String::new(),
            max_steps: 200,
            policy_hz: 20.0,
            settle_s: 0.0,
            keyframe: None,
            cameras: Vec::new(),
            observe: None,
            action: Action::default(),
            start: Vec::new(),
            goal: None,
            reward: Vec::new(),
            success: Vec::new(),
            failure: Vec::new(),
            success_bonus: 0.0,
        }
    }
}

/// What is observed, in this order. `"*"` stands for all.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Observe {
    /// Joint positions: rad or m; of a free joint a position and a quaternion.
    pub joints: Vec<Spanned<String>>,
    /// Joint velocities: rad/s or m/s.
    pub velocities: Vec<Spanned<String>>,
    /// Where points are, m.
    pub points: Vec<Spanned<Point>>,
    /// How bodies, sites or geoms are turned: quaternions, w first.
    pub rotations: Vec<Spanned<Point>>,
    /// The way from one point to another, m.
    pub between: Vec<Spanned<[Point; 2]>>,
    /// Sensors of the model.
    pub sensors: Vec<Spanned<String>>,
}

/// What an action is: one number for each control of the chosen actuators. What it means (a position, velocity or torque) is
/// the actuator's to say.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Action {
    /// How numbers become controls.
    pub kind: ActionKind,
    /// Which actuators; the others keep the control they start with. `["*"]`: all.
    pub actuators: Vec<Spanned<String>>,
    /// For [`ActionKind::Delta`]: the largest change in a step, as a share of the control range.
    pub step: f64,
}

impl Default for Action {
    fn default() -> Self {
        Self {
            kind: ActionKind::Control,
            actuators: Vec::new(),
            step: 0.05,
        }
    }
}

/// How the numbers of an action become controls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// They are the controls, within the actuators' control ranges; -1..=1 for an actuator without one.
    #[default]
    Control,
    /// From -1 to 1, spread over the control ranges.
    Normalised,
    /// From -1 to 1: by how much the controls change.
    Delta,
}

/// Something random at the start of an episode: a joint, or a body with a free joint, or a mocap body.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    /// The joint, `"*"` for all hinges and slides.
    pub joint: Option<String>,
    /// Where it starts, rad or m.
    pub range: Option<[f64; 2]>,
    /// Added to where it would start otherwise, rad or m.
    pub around: Option<[f64; 2]>,
    /// The body.
    pub body: Option<String>,
    /// Where it starts, m; where the model has it otherwise.
    pub x: Option<[f64; 2]>,
    /// As `x`.
    pub y: Option<[f64; 2]>,
    /// As `x`.
    pub z: Option<[f64; 2]>,
    /// How far it is turned about the vertical, rad.
    pub yaw: Option<[f64; 2]>,
}

/// A place that is new in each episode.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// Where it may be, m.
    pub x: [f64; 2],
    /// As `x`.
    pub y: [f64; 2],
    /// As `x`.
    pub z: [f64; 2],
    /// A mocap body that is put there.
    #[serde(default)]
    pub show: Option<String>,
}

/// One measure, and what it is worth or what it must be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clause {
    /// Measure: distance between two points, m.
    pub distance: Option<[Point; 2]>,
    /// Axes that count for the distance, `"xyz"`.
    pub axes: Option<String>,
    /// Measure: how high a point is, m.
    pub height: Option<Point>,
    /// Measure: cosine between the z axis of a body, site or geom and the vertical, 1 when upright.
    pub upright: Option<Point>,
    /// Measure: speed of a body, site or geom, m/s.
    pub speed: Option<Point>,
    /// Measure: position of a joint, rad or m.
    pub joint: Option<String>,
    /// Measure: velocity of a joint, rad/s or m/s.
    pub velocity: Option<String>,
    /// Measure: length of what a sensor of the model reads.
    pub sensor: Option<String>,
    /// Measure: mean square of the controls, each as a share of its range (-1..=1), of one actuator or, `"*"`, all.
    pub control: Option<String>,
    /// What the measure should be: the distance from it counts in its place.
    pub target: Option<f64>,
    /// Reward: the measure times this. 1 if nothing is said.
    pub weight: Option<f64>,
    /// Reward: `exp(-(measure / near)^2)` in the measure's place, between 0 and 1.
    pub near: Option<f64>,
    /// Reward: the measure is kept within this.
    pub clip: Option<[f64; 2]>,
    /// Condition: the measure must be at least this.
    pub above: Option<f64>,
    /// Condition: the measure must be at most this.
    pub below: Option<f64>,
}

/// A point that moves or does not: `"body:NAME"`, `"site:NAME"`, `"geom:NAME"`, `"goal"`, or three numbers, m.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    /// The origin of a body.
    Body(String),
    /// A site.
    Site(String),
    /// The middle of a geom.
    Geom(String),
    /// The goal of the episode.
    Goal,
    /// A fixed place.
    Fixed([f64; 3]),
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Point;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"body:NAME\", \"site:NAME\", \"geom:NAME\", \"goal\" or [x, y, z]")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Point, E> {
                match text.split_once(':') {
                    Some(("body", name)) => Ok(Point::Body(name.into())),
                    Some(("site", name)) => Ok(Point::Site(name.into())),
                    Some(("geom", name)) => Ok(Point::Geom(name.into())),
                    None if text == "goal" => Ok(Point::Goal),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Point, A::Error> {
                let place = <[f64; 3]>::deserialize(de::value::SeqAccessDeserializer::new(seq))?;
                Ok(Point::Fixed(place))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(name) | Self::Site(name) | Self::Geom(name) => f.write_str(name),
            Self::Goal => f.write_str("goal"),
            Self::Fixed([x, y, z]) => write!(f, "[{x}, {y}, {z}]"),
        }
    }
}

impl TaskFile {
    /// Reads and checks a task file; whether it fits a model is seen when the two meet.
    ///
    /// Errors: the line and what is wrong there.
    pub(super) fn read(path: &Path) -> Result<(Self, Text), ModelError> {
        let text = Text::read(path)?;
        Ok((Self::parse(&text)?, text))
    }

    /// From a text.
    ///
    /// Errors: the line and what is wrong there.
    pub(super) fn parse(text: &Text) -> Result<Self, ModelError> {
        let task: Self = toml::from_str(&text.text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join("; ");
            match error.span() {
                Some(span) => text.error(span.start, message),
                None => ModelError::new(&text.path, message),
            }
        })?;
        task.check(text)?;
        Ok(task)
    }

    fn check(&self, text: &Text) -> Result<(), ModelError> {
        // The place of a value that has no span of its own.
        let at = |key: &str| {
            let found = text
                .text
                .lines()
                .position(|line| line.trim_start().starts_with(key));
            found.map(|line| line + 1)
        };
        let wrong = |key: &str, why: &str| {
            Err(ModelError {
                file: text.path.clone(),
                line: at(key),
                message: format!("{key} {why}"),
            })
        };
        if !(1..=10_000_000).contains(&self.max_steps) {
            return wrong("max_steps", "must be within 1..=10000000");
        }
        if !(0.1..=10_000.0).contains(&self.policy_hz) {
            return wrong("policy_hz", "must be within 0.1..=10000");
        }
        if !(0.0..=60.0).contains(&self.settle_s) {
            return wrong("settle_s", "must be within 0..=60");
        }
        if !self.success_bonus.is_finite() {
            return wrong("success_bonus", "must be finite");
        }
        if !(self.action.step > 0.0 && self.action.step <= 2.0) {
            return wrong("step", "must be above 0 and at most 2");
        }
        if self.success_bonus != 0.0 && self.success.is_empty() {
            return wrong("success_bonus", "needs at least one [[success]]");
        }
        for start in &self.start {
            start
                .get_ref()
                .check()
                .map_err(|why| text.error(start.span().start, why))?;
        }
        if let Some(goal) = &self.goal {
            let Goal { x, y, z, .. } = goal.get_ref();
            if ![x, y, z].into_iter().all(is_range) {
                return Err(text.error(
                    goal.span().start,
                    "a range of the goal is not finite or upside down",
                ));
            }
        }
        for clause in &self.reward {
            clause
                .get_ref()
                .check(Use::Reward)
                .map_err(|why| text.error(clause.span().start, why))?;
        }
        for clause in self.success.iter().chain(&self.failure) {
            clause
                .get_ref()
                .check(Use::Condition)
                .map_err(|why| text.error(clause.span().start, why))?;
        }
        Ok(())
    }
}

fn is_range([low, high]: &[f64; 2]) -> bool {
    low.is_finite() && high.is_finite() && low <= high
}

impl Start {
    fn check(&self) -> Result<(), String> {
        let place = [self.x, self.y, self.z, self.yaw];
        let ranges = place.iter().chain([&self.range, &self.around]).flatten();
        if !ranges.into_iter().all(is_range) {
            return Err("a range of this start is not finite or upside down".into());
        }
        let placed = place.iter().any(Option::is_some);
        match (&self.joint, &self.body) {
            (Some(_), None) if !placed && self.range.is_some() != self.around.is_some() => Ok(()),
            (Some(_), None) => Err("a joint starts within `range` or `around`, one of them".into()),
            (None, Some(_)) if placed && self.range.is_none() && self.around.is_none() => Ok(()),
            (None, Some(_)) => {
                Err("a body starts within `x`, `y`, `z` and `yaw`, at least one of them".into())
            }
            _ => Err("a start names a `joint` or a `body`, one of them".into()),
        }
    }
}

/// What a clause is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Reward,
    Condition,
}

impl Clause {
    fn check(&self, kind: Use) -> Result<(), String> {
        let measures = [
            self.distance.is_some(),
            self.height.is_some(),
            self.upright.is_some(),
            self.speed.is_some(),
            self.joint.is_some(),
            self.velocity.is_some(),
            self.sensor.is_some(),
            self.control.is_some(),
        ];
        if measures.iter().filter(|&&given| given).count() != 1 {
            return Err(
                "needs exactly one measure: distance, height, upright, speed, joint, velocity, sensor or control".into(),
            );
        }
        let numbers = [self.target, self.weight, self.near, self.above, self.below];
        if numbers.iter().flatten().any(|number| !number.is_finite()) {
            return Err("a number here is not finite".into());
        }
        if self.clip.is_some_and(|clip| !is_range(&clip)) {
            return Err("clip is not finite or upside down".into());
        }
        if self.near.is_some_and(|near| near <= 0.0) {
            return Err("near must be above 0".into());
        }
        if let Some(axes) = &self.axes
            && (self.distance.is_none()
                || axes.is_empty()
                || !axes.chars().all(|axis| "xyz".contains(axis)))
        {
            return Err("axes belong to a distance and are some of \"xyz\"".into());
        }
        let (worth, condition) = (
            self.weight.is_some() || self.near.is_some() || self.clip.is_some(),
            self.above.is_some() || self.below.is_some(),
        );
        match kind {
            Use::Reward if condition => {
                Err("`above` and `below` belong to [[success]] and [[failure]]".into())
            }
            Use::Condition if worth => {
                Err("`weight`, `near` and `clip` belong to [[reward]]".into())
            }
            Use::Condition if !condition => Err("says neither `above` nor `below`".into()),
            _ => Ok(()),
        }
    }
}

/// The line of a span, for messages about what is in it.
pub(super) fn error_at<T>(
    text: &Text,
    spanned: &Spanned<T>,
    message: impl Into<String>,
) -> ModelError {
    let line = line_of(&text.text, spanned.span().start);
    ModelError::at(&text.path, line, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TaskFile, ModelError> {
        TaskFile::parse(&Text {
            path: "task.toml".into(),
            text: text.into(),
        })
    }

    #[test]
    fn an_empty_file_is_a_task_with_the_defaults() {
        assert_eq!(parse("").unwrap(), TaskFile::default());
    }

    #[test]
    fn a_mistake_is_reported_with_its_line() {
        for (text, line, part) in [
            ("instruction = \"x\"\nmax_step = 3\n", 2, "unknown field"),
            ("\n\nmax_steps = \"three\"\n", 3, "invalid type"),
            ("max_steps = 3\npolicy_hz = inf\n", 2, "policy_hz must be"),
            (
                "[[reward]]\nheight = \"body:a\"\n\n[[reward]]\nweight = 2.0\n",
                4,
                "exactly one measure",
            ),
            ("[[reward]]\nheight = \"thing:a\"\n", 2, "body:NAME"),
            (
                "[[success]]\nheight = \"body:a\"\n",
                1,
                "neither `above` nor `below`",
            ),
            (
                "[[success]]\nheight = \"body:a\"\nabove = 1\nweight = 2\n",
                1,
                "belong to [[reward]]",
            ),
            ("[[start]]\njoint = \"a\"\n", 1, "`range` or `around`"),
            ("[[start]]\nbody = \"a\"\nx = [2, 1]\n", 1, "upside down"),
            ("a = [[[\n", 1, ""),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, Some(line), "{error}");
            assert!(error.message.contains(part), "{error}");
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("task.toml:{line}: ")),
                "{error}"
            );
        }
    }
}
