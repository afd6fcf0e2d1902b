//! What the arm's servos and joints are like: the numbers that `rapport sim fit` estimates for an arm on a desk.

use std::collections::BTreeMap;

use rapport_robot::so101;
use serde::{Deserialize, Serialize};

/// The servos and joints of the simulated SO-101. The default is the STS3215 model of the public SO-101 MJCF, for every joint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArmConfig {
    /// What all servos share.
    pub servo: ServoConfig,
    /// Joints by name (`shoulder_pan`, `gripper`, ...); those that are not named are [`JointConfig::default`].
    pub joints: BTreeMap<String, JointConfig>,
}

/// What all servos share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServoConfig {
    /// From a goal's sending to its taking effect, s, rounded to physics steps: bus, firmware and whatever runs between.
    /// None in the public model.
    pub delay_s: f64,
}

/// One joint with its servo and gear. The defaults were identified on an STS3215 for the public SO-101 MJCF.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JointConfig {
    /// Position gain of the servo, N m/rad.
    pub gain: f64,
    /// Viscous damping, N m s/rad.
    pub damping: f64,
    /// Dry friction, N m.
    pub frictionloss: f64,
    /// Inertia of rotor and gear at the joint, kg m2.
    pub armature: f64,
}

impl Default for JointConfig {
    fn default() -> Self {
        Self {
            gain: 17.8,
            damping: 0.60,
            frictionloss: 0.052,
            armature: 0.028,
        }
    }
}

/// Longest delay that is accepted, s.
pub const MAX_DELAY_S: f64 = 1.0;

impl ArmConfig {
    /// The joint called `name`.
    pub fn joint(&self, name: &str) -> JointConfig {
        self.joints.get(name).copied().unwrap_or_default()
    }

    /// What is wrong with it, in a sentence; `None` where nothing is.
    pub fn problem(&self) -> Option<String> {
        let known: Vec<String> = so101::spec().joints.into_iter().map(|j| j.name).collect();
        if !(0.0..=MAX_DELAY_S).contains(&self.servo.delay_s) {
            return Some(format!(
                "servo.delay_s must be within 0..={MAX_DELAY_S}, it is {}",
                self.servo.delay_s
            ));
        }
        self.joints.iter().find_map(|(name, joint)| {
            if !known.contains(name) {
                return Some(format!(
                    "there is no joint {name:?}; the joints are {}",
                    known.join(", ")
                ));
            }
            let positive = |field: &str, value: f64| {
                (!(value.is_finite() && value > 0.0))
                    .then(|| format!("joints.{name}.{field} must be above 0, it is {value}"))
            };
            let at_least_zero = |field: &str, value: f64| {
                (!(value.is_finite() && value >= 0.0))
                    .then(|| format!("joints.{name}.{field} must be at least 0, it is {value}"))
            };
            positive("gain", joint.gain)
                .or_else(|| positive("armature", joint.armature))
                .or_else(|| at_least_zero("damping", joint.damping))
                .or_else(|| at_least_zero("frictionloss", joint.frictionloss))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{Scene, SceneConfig};
    use mujoco_rs::prelude::*;

    fn one(name: &str, joint: JointConfig) -> ArmConfig {
        ArmConfig {
            joints: [(name.to_owned(), joint)].into(),
            ..ArmConfig::default()
        }
    }

    #[test]
    fn a_joint_that_is_named_differs_and_the_others_do_not() {
        let joint = JointConfig {
            gain: 12.0,
            damping: 0.8,
            frictionloss: 0.1,
            armature: 0.02,
        };
        let compile = |arm| {
            Scene::new(SceneConfig {
                arm,
                ..SceneConfig::default()
            })
            .unwrap()
        };
        let (changed, plain) = (
            compile(one("elbow_flex", joint)),
            compile(ArmConfig::default()),
        );
        for (i, hinge) in plain.hinges.iter().enumerate() {
            let of = |scene: &Scene| {
                let m: &MjModel = scene.model();
                let gain = m.actuator_gainprm()[hinge.servo][0];
                assert_eq!(m.actuator_biasprm()[hinge.servo][1], -gain);
                JointConfig {
                    gain,
                    damping: m.dof_damping()[hinge.velocity],
                    frictionloss: m.dof_frictionloss()[hinge.velocity],
                    armature: m.dof_armature()[hinge.velocity],
                }
            };
            assert_eq!(of(&plain), JointConfig::default());
            let expected = if i == 2 {
                joint
            } else {
                JointConfig::default()
            };
            assert_eq!(of(&changed), expected);
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_named() {
        let bad = |arm: ArmConfig| arm.problem().unwrap();
        let joint = JointConfig::default();
        assert!(bad(one("knee", joint)).contains("shoulder_pan"));
        assert!(
            bad(one("gripper", JointConfig { gain: 0.0, ..joint })).contains("joints.gripper.gain")
        );
        let negative = JointConfig {
            frictionloss: -0.1,
            ..joint
        };
        assert!(bad(one("gripper", negative)).contains("frictionloss"));
        let late = ArmConfig {
            servo: ServoConfig { delay_s: 2.0 },
            ..ArmConfig::default()
        };
        assert!(bad(late).contains("delay_s"));
        assert_eq!(ArmConfig::default().problem(), None);
    }
}
