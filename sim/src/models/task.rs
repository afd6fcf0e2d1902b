//! A task as data: what is observed, where things start, what is wanted and what it is worth. A TOML file, read without
//! recompiling anything.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

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
