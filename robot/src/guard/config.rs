//! What the guard allows, with defaults for an SO-101 on a table.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arm::{ArmSpec, JointKind};

/// The limits of a [`Guard`](super::Guard). They can be moved, not removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// Limits of the hinges.
    pub revolute: JointLimits,
    /// Limits of the gripper.
    pub gripper: JointLimits,
    /// Narrower position ranges by joint name, rad or fraction: `[min, max]`.
    pub positions: BTreeMap<String, [f64; 2]>,
    /// Where the commanded tool may be and how fast it may go. Needs the arm's chain.
    pub workspace: Option<Workspace>,
    /// The first motion after arming.
    pub soft_start: SoftStart,
    /// What happens when goals stop coming.
    pub watchdog: Watchdog,
    /// Temperatures, voltage, load, blocked joints.
    pub supervision: Supervision,
    /// Consecutive bad goals (NaN, wrong length) that latch a fault.
    pub max_bad_goals: u32,
    /// A stop that is no emergency takes the torque back over this time, s: an arm that goes limp at once falls.
    pub release_s: f64,
    /// The torque-off order is given at most this often, and read back each time.
    pub stop_attempts: u32,
    /// Longest time one command may bridge, s: after an overrun the arm moves on, it does not catch up.
    pub max_interval_s: f64,
    /// How far outside its limits a joint may be found when torque goes on, rad or fraction. It can then only move inwards.
    pub start_tolerance: f64,
}

/// Limits of one kind of joint. Units: rad for hinges, opening fraction for the gripper.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointLimits {
    /// Distance kept from the ends of the spec's range.
    pub margin: f64,
    /// Speed, per second. The spec's speed counts where it is smaller.
    pub velocity: f64,
    /// Acceleration, per second squared.
    pub acceleration: f64,
    /// Largest distance between the commanded and the measured position.
    pub gap: f64,
}

/// A box for the commanded tool position in the base frame, and its speed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workspace {
    /// Lower corner, m. The table is `min[2]`.
    pub min: [f64; 3],
    /// Upper corner, m.
    pub max: [f64; 3],
    /// Speed of the tool, m/s.
    pub speed: f64,
}

impl Default for Workspace {
    /// The half space over the table the base stands on, at the 250 mm/s of manual operation (ISO 10218).
    fn default() -> Self {
        Self {
            min: [-1.0, -1.0, 0.0],
            max: [1.0, 1.0, 1.0],
            speed: 0.25,
        }
    }
}

/// A slow approach to the first goal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftStart {
    /// Share of the full speed, above 0 and at most 1.
    pub speed_share: f64,
    /// Over when every commanded joint is within this distance of its goal, rad or fraction.
    pub reached: f64,
    /// Over after this time in any case, s.
    pub timeout_s: f64,
}

impl Default for SoftStart {
    fn default() -> Self {
        Self {
            speed_share: 0.2,
            reached: 0.03,
            timeout_s: 3.0,
        }
    }
}

/// Deadlines for goals and measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watchdog {
    /// Without a fresh goal for this time the arm brakes and holds, s.
    pub stale_goal_s: f64,
    /// Without a fresh goal for this time the guard must be armed again, s.
    pub lost_goal_s: f64,
    /// Without a measurement for this time the arm brakes and must be armed again, s.
    pub stale_state_s: f64,
    /// Without a measurement for this time a fault is latched, s.
    pub lost_state_s: f64,
    /// Time between two looks at the torque switches, s: one that is off while it should be on is a fault.
    pub torque_check_s: f64,
    /// Share of its slots that the loop may miss within two seconds before the arm holds. Above 1: any.
    pub overruns: f64,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self {
            stale_goal_s: 0.15,
            lost_goal_s: 0.5,
            stale_state_s: 0.1,
            lost_state_s: 1.0,
            torque_check_s: 0.5,
            overruns: 0.25,
        }
    }
}

/// Supervision of what the arm measures about itself. The gripper may press and lag, so load and blocking are about hinges. Channels that an arm does not measure are not supervised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Supervision {
    /// Counted as a warning from here, degrees Celsius.
    pub warm: f64,
    /// Hold from here, degrees Celsius.
    pub hot: f64,
    /// Torque off from here, degrees Celsius.
    pub too_hot: f64,
    /// Lowest supply, V.
    pub min_voltage: f64,
    /// Highest supply, V.
    pub max_voltage: f64,
    /// How long the supply may be outside, s.
    pub voltage_s: f64,
    /// Largest load of a hinge, share of its torque. Above 1: any.
    pub load: f64,
    /// How long a hinge may be loaded more before the arm holds, s. STS3215 servos give way after 2 s.
    pub load_s: f64,
    /// A hinge this far from its command that does not move is blocked, rad.
    pub blocked: f64,
    /// How long a hinge may be blocked before the arm holds, s.
    pub blocked_s: f64,
    /// How long a joint may be driven away from its command by its own motor before torque goes off, s.
    pub runaway_s: f64,
    /// How far outside its range a joint may be measured before the arm holds, rad or fraction.
    pub outside: f64,
}

impl Default for Supervision {
    /// STS3215: 70 degrees is the servo's own limit; 4 to 14 V its supply range.
    fn default() -> Self {
        Self {
            warm: 55.0,
            hot: 62.0,
            too_hot: 67.0,
            min_voltage: 4.5,
            max_voltage: 13.5,
            voltage_s: 0.5,
            load: 0.9,
            load_s: 1.5,
            blocked: 0.18,
            blocked_s: 1.5,
            runaway_s: 0.05,
            outside: 0.1,
        }
    }
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            revolute: JointLimits {
                margin: 2_f64.to_radians(),
                velocity: 1.5,
                acceleration: 8.0,
                gap: 0.22,
            },
            gripper: JointLimits {
                margin: 0.0,
                velocity: 2.0,
                acceleration: 20.0,
                gap: 0.3,
            },
            positions: BTreeMap::new(),
            workspace: None,
            soft_start: SoftStart::default(),
            watchdog: Watchdog::default(),
            supervision: Supervision::default(),
            max_bad_goals: 3,
            release_s: 2.0,
            stop_attempts: 5,
            max_interval_s: 0.05,
            start_tolerance: 0.1,
        }
    }
}

impl GuardConfig {
    /// The defaults and the table: the tool stays above the plane the base stands on, at 250 mm/s.
    pub fn so101() -> Self {
        Self {
            workspace: Some(Workspace::default()),
            ..Self::default()
        }
    }

    /// The same limits for an arm that cannot be hurt and whose episodes begin where they begin: full speed at once, and
    /// a blocked joint is the learner's business.
    pub fn simulated() -> Self {
        let mut config = Self::so101();
        config.soft_start.speed_share = 1.0;
        config.release_s = 0.0;
        config.watchdog.overruns = 2.0;
        config.supervision.load_s = 1e6;
        config.supervision.blocked_s = 1e6;
        config.supervision.outside = 1e6;
        config.supervision.runaway_s = 1e6;
        config
    }

    /// What is wrong with the numbers, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        let positive = [
            ("revolute.velocity", self.revolute.velocity),
            ("revolute.acceleration", self.revolute.acceleration),
            ("revolute.gap", self.revolute.gap),
            ("gripper.velocity", self.gripper.velocity),
            ("gripper.acceleration", self.gripper.acceleration),
            ("gripper.gap", self.gripper.gap),
            ("soft_start.speed_share", self.soft_start.speed_share),
            ("soft_start.reached", self.soft_start.reached),
            ("watchdog.stale_goal_s", self.watchdog.stale_goal_s),
            ("watchdog.stale_state_s", self.watchdog.stale_state_s),
            ("watchdog.torque_check_s", self.watchdog.torque_check_s),
            ("max_interval_s", self.max_interval_s),
            ("workspace.speed", self.workspace.map_or(1.0, |w| w.speed)),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, v)| !(v.is_finite() && *v > 0.0)) {
            return Some(format!("{name} must be above 0"));
        }
        let rising = [
            ("0 <= revolute.margin", 0.0, self.revolute.margin),
            ("0 <= gripper.margin", 0.0, self.gripper.margin),
            ("0 <= start_tolerance", 0.0, self.start_tolerance),
            (
                "soft_start.speed_share <= 1",
                self.soft_start.speed_share,
                1.0,
            ),
            ("0 <= soft_start.timeout_s", 0.0, self.soft_start.timeout_s),
            (
                "watchdog.stale_goal_s <= lost_goal_s",
                self.watchdog.stale_goal_s,
                self.watchdog.lost_goal_s,
            ),
            (
                "watchdog.stale_state_s <= lost_state_s",
                self.watchdog.stale_state_s,
                self.watchdog.lost_state_s,
            ),
            (
                "supervision.warm <= hot",
                self.supervision.warm,
                self.supervision.hot,
            ),
            (
                "supervision.hot <= too_hot",
                self.supervision.hot,
                self.supervision.too_hot,
            ),
            (
                "supervision.min_voltage <= max_voltage",
                self.supervision.min_voltage,
                self.supervision.max_voltage,
            ),
            (
                "0 <= supervision.voltage_s",
                0.0,
                self.supervision.voltage_s,
            ),
            ("0 <= supervision.load", 0.0, self.supervision.load),
            ("0 <= supervision.load_s", 0.0, self.supervision.load_s),
            ("0 <= supervision.blocked", 0.0, self.supervision.blocked),
            (
                "0 <= supervision.blocked_s",
                0.0,
                self.supervision.blocked_s,
            ),
            (
                "0 <= supervision.runaway_s",
                0.0,
                self.supervision.runaway_s,
            ),
            ("0 <= supervision.outside", 0.0, self.supervision.outside),
            ("0 <= release_s", 0.0, self.release_s),
            ("0 < watchdog.overruns", 1e-9, self.watchdog.overruns),
            ("1 <= max_bad_goals", 1.0, f64::from(self.max_bad_goals)),
            ("1 <= stop_attempts", 1.0, f64::from(self.stop_attempts)),
        ];
        if let Some((rule, ..)) = rising
            .iter()
            .find(|(_, low, high)| low.partial_cmp(high).is_none_or(Ordering::is_gt))
        {
            return Some(format!("it must hold that {rule}"));
        }
        let ordered = |w: &Workspace| w.min.iter().zip(&w.max).all(|(low, high)| low < high);
        if self.workspace.as_ref().is_some_and(|w| !ordered(w)) {
            return Some("workspace.min must be below workspace.max".into());
        }
        None
    }

    /// The limits of each joint of an arm: its own, narrowed by this configuration.
    pub(super) fn joints(&self, spec: &ArmSpec) -> Result<Vec<JointLimit>, String> {
        if let Some(name) = self
            .positions
            .keys()
            .find(|name| !spec.joints.iter().any(|joint| &joint.name == *name))
        {
            return Err(format!(
                "positions names {name}, which {} does not have",
                spec.name
            ));
        }
        spec.joints
            .iter()
            .map(|joint| {
                let kind = match joint.kind {
                    JointKind::Revolute => &self.revolute,
                    JointKind::Gripper => &self.gripper,
                };
                let [low, high] = self
                    .positions
                    .get(&joint.name)
                    .copied()
                    .unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
                let limit = JointLimit {
                    min: (joint.min + kind.margin).max(low),
                    max: (joint.max - kind.margin).min(high),
                    velocity: kind.velocity.min(joint.max_velocity),
                    acceleration: kind.acceleration,
                    gap: kind.gap,
                };
                if limit.min <= limit.max && limit.velocity > 0.0 {
                    Ok(limit)
                } else {
                    Err(format!("no position is left for {}", joint.name))
                }
            })
            .collect()
    }
}

/// The limits of one joint, rad or fraction and seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JointLimit {
    /// Smallest commanded position.
    pub min: f64,
    /// Largest commanded position.
    pub max: f64,
    /// Largest speed.
    pub velocity: f64,
    /// Largest acceleration.
    pub acceleration: f64,
    /// Largest distance between command and measurement.
    pub gap: f64,
}
