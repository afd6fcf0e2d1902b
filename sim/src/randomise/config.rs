//! What varies and how far.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::arm_config::MAX_DELAY_S;

/// Numbers from `low` to `high`, equally likely. In TOML: `[0.8, 1.2]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Range {
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
}

impl Range {
    /// From `low` to `high`.
    pub const fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }
}

impl From<[f64; 2]> for Range {
    fn from([low, high]: [f64; 2]) -> Self {
        Self { low, high }
    }
}

impl From<Range> for [f64; 2] {
    fn from(range: Range) -> Self {
        [range.low, range.high]
    }
}

/// What varies from episode to episode. A range that is not given leaves its quantity alone; by default nothing varies.
///
/// "Factor" ranges multiply what the model says, the others are added to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Randomisation {
    /// Added to the start of every free object along x and along y, m, after the task has placed it; each object by its own
    /// amount, so that more than a millimetre takes the balls of `so101-pour` out of their cup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_m: Option<Range>,
    /// Added to the start of every free object about the vertical, rad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_rad: Option<Range>,
    /// Added to the start of every hinge of the arm but the gripper's, rad, within the joint's limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arm_rad: Option<Range>,
    /// Factor on the sliding friction, one for each body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub friction: Option<Range>,
    /// Factor on mass and inertia, one for each body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mass: Option<Range>,
    /// Factor on the viscous damping, one for each joint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damping: Option<Range>,
    /// Factor on the dry friction, one for each joint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frictionloss: Option<Range>,
    /// Factor on the rotor inertia, one for each joint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub armature: Option<Range>,
    /// Factor on the gain (kp of a position servo), one for each actuator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain: Option<Range>,
    /// Added to the delay between a goal's sending and its taking effect, s, rounded to physics steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_s: Option<Range>,
    /// Standard deviation of the noise on every observed joint position, rad (gripper: fraction), and through the arm's
    /// kinematics on the observed tool. What is drawn is the deviation of the episode; the noise is new at every step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joint_noise: Option<Range>,
    /// Standard deviation of the noise on every observed component of the objects' state, in that component's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_noise: Option<Range>,
    /// Added to red, green and blue (0 to 1) of every colour of the model; a texture is tinted by its material's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<Range>,
    /// Added to the position of every light along each axis, m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub light_m: Option<Range>,
    /// Factor on the strength of every light, one for each, the headlight included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub light: Option<Range>,
    /// Added to the position of every camera along each axis of the body that carries it, m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera_m: Option<Range>,
    /// Rotation of every camera about each of its own axes, rad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera_rad: Option<Range>,
    /// Added to the vertical field of view of every camera, degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera_fovy_deg: Option<Range>,
}

impl Randomisation {
    /// Whether nothing varies.
    pub fn is_none(&self) -> bool {
        self.ranges().is_empty()
    }

    /// The ranges that are given.
    pub(super) fn ranges(&self) -> Vec<(Kind, Range)> {
        Kind::ALL
            .into_iter()
            .filter_map(|kind| self.range(kind).map(|range| (kind, range)))
            .collect()
    }

    fn range(&self, kind: Kind) -> Option<Range> {
        match kind {
            Kind::ObjectPosition => self.object_m,
            Kind::ObjectTurn => self.object_rad,
            Kind::Arm => self.arm_rad,
            Kind::Friction => self.friction,
            Kind::Mass => self.mass,
            Kind::Damping => self.damping,
            Kind::Frictionloss => self.frictionloss,
            Kind::Armature => self.armature,
            Kind::Gain => self.gain,
            Kind::Latency => self.latency_s,
            Kind::JointNoise => self.joint_noise,
            Kind::ObjectNoise => self.object_noise,
            Kind::Colour => self.colour,
            Kind::LightPosition => self.light_m,
            Kind::Light => self.light,
            Kind::CameraPosition => self.camera_m,
            Kind::CameraTurn => self.camera_rad,
            Kind::CameraFovy => self.camera_fovy_deg,
        }
    }

    /// What is wrong with it, in a sentence; `None` where nothing is.
    pub fn problem(&self) -> Option<String> {
        self.ranges().into_iter().find_map(|(kind, range)| {
            let (name, (low, high)) = (kind.name(), kind.limits());
            if !(range.low.is_finite() && range.high.is_finite() && range.low <= range.high) {
                return Some(format!(
                    "{name} must be a range [low, high] of finite numbers, it is [{}, {}]",
                    range.low, range.high
                ));
            }
            (range.low < low || range.high > high).then(|| {
                format!(
                    "{name} must be within {low}..={high}, it is [{}, {}]",
                    range.low, range.high
                )
            })
        })
    }
}

impl Kind {
    /// What a range may hold.
    fn limits(self) -> (f64, f64) {
        match self {
            Self::ObjectPosition | Self::LightPosition | Self::CameraPosition => (-1.0, 1.0),
            Self::ObjectTurn | Self::CameraTurn => (-std::f64::consts::PI, std::f64::consts::PI),
            Self::Arm => (-0.5, 0.5),
            // A factor of 0 would take away what the simulation needs; far beyond 10 it is another machine.
            Self::Friction | Self::Mass | Self::Armature | Self::Gain => (0.05, 20.0),
            Self::Damping | Self::Frictionloss | Self::Light => (0.0, 20.0),
            Self::Latency => (0.0, MAX_DELAY_S),
            Self::JointNoise | Self::ObjectNoise => (0.0, 1.0),
            Self::Colour => (-1.0, 1.0),
            Self::CameraFovy => (-60.0, 60.0),
        }
    }
}
