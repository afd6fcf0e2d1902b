//! The numbers that are fitted, as a vector: logarithms of what must be positive, so that a step of 0.1 is a tenth of any of
//! them, and the delay in units of [`DELAY_UNIT`].

use rapport_robot::so101;

use super::motion::DOF;
use crate::arm_config::{ArmConfig, JointConfig, ServoConfig};

/// Delay that counts as much as a factor of e, s.
pub const DELAY_UNIT: f64 = 0.02;

/// Longest delay that is looked for, s.
pub const LONGEST_DELAY: f64 = 0.3;

/// No number is looked for beyond this factor from the public model's.
const FURTHEST: f64 = 20.0;

/// What is fitted of a joint, in the order of the vector.
pub const QUANTITIES: [Quantity; 4] = [
    Quantity::Gain,
    Quantity::Damping,
    Quantity::Frictionloss,
    Quantity::Armature,
];

/// A number of a joint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Position gain, N m/rad.
    Gain,
    /// Viscous damping, N m s/rad.
    Damping,
    /// Dry friction, N m.
    Frictionloss,
    /// Rotor inertia, kg m2.
    Armature,
}

impl Quantity {
    /// Its name in [`JointConfig`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Gain => "gain",
            Self::Damping => "damping",
            Self::Frictionloss => "frictionloss",
            Self::Armature => "armature",
        }
    }

    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Gain => "N m/rad",
            Self::Damping => "N m s/rad",
            Self::Frictionloss => "N m",
            Self::Armature => "kg m2",
        }
    }

    fn of(self, joint: &mut JointConfig) -> &mut f64 {
        match self {
            Self::Gain => &mut joint.gain,
            Self::Damping => &mut joint.damping,
            Self::Frictionloss => &mut joint.frictionloss,
            Self::Armature => &mut joint.armature,
        }
    }
}

/// Which joints may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One set of numbers for all joints: `[delay, 4]`.
    Shared,
    /// A set for each joint: `[delay, 6 x 4]`.
    PerJoint,
}

impl Layout {
    /// Length of the vector.
    pub fn len(self) -> usize {
        1 + QUANTITIES.len()
            * match self {
                Self::Shared => 1,
                Self::PerJoint => DOF,
            }
    }

    /// Never: there is always a delay.
    pub fn is_empty(self) -> bool {
        false
    }

    /// Names of the components: `delay_s`, `elbow_flex.gain`.
    pub fn names(self) -> Vec<String> {
        let joints: Vec<String> = match self {
            Self::Shared => vec!["every joint".into()],
            Self::PerJoint => so101::spec().joints.into_iter().map(|j| j.name).collect(),
        };
        std::iter::once("delay_s".to_owned())
            .chain(joints.iter().flat_map(|joint| {
                QUANTITIES.map(|quantity| format!("{joint}.{}", quantity.name()))
            }))
            .collect()
    }

    /// The vector of an arm; of its first joint where all share.
    pub fn vector(self, arm: &ArmConfig) -> Vec<f64> {
        let joints = so101::spec().joints;
        let count = (self.len() - 1) / QUANTITIES.len();
        std::iter::once(arm.servo.delay_s / DELAY_UNIT)
            .chain(joints[..count].iter().flat_map(|joint| {
                let mut joint = arm.joint(&joint.name);
                // Nothing has no logarithm.
                QUANTITIES.map(|quantity| quantity.of(&mut joint).max(1e-6).ln())
            }))
            .collect()
    }

    /// The arm of a vector.
    pub fn arm(self, vector: &[f64]) -> ArmConfig {
        let joints = so101::spec().joints.into_iter().enumerate();
        ArmConfig {
            servo: ServoConfig {
                delay_s: vector[0] * DELAY_UNIT,
            },
            joints: joints
                .map(|(j, spec)| {
                    let set = match self {
                        Self::Shared => 0,
                        Self::PerJoint => j,
                    };
                    let mut joint = JointConfig::default();
                    for (k, quantity) in QUANTITIES.into_iter().enumerate() {
                        *quantity.of(&mut joint) = vector[1 + set * QUANTITIES.len() + k].exp();
                    }
                    (spec.name, joint)
                })
                .collect(),
        }
    }

    /// Smallest and largest value of every component.
    pub fn bounds(self) -> (Vec<f64>, Vec<f64>) {
        let usual = self.vector(&ArmConfig::default());
        let beyond = |sign: f64| -> Vec<f64> {
            let far = usual.iter().map(|value| value + sign * FURTHEST.ln());
            far.collect()
        };
        let (mut low, mut high) = (beyond(-1.0), beyond(1.0));
        (low[0], high[0]) = (0.0, LONGEST_DELAY / DELAY_UNIT);
        (low, high)
    }

    /// A component as a number with a unit.
    pub fn value(component: usize, x: f64) -> f64 {
        if component == 0 {
            x * DELAY_UNIT
        } else {
            x.exp()
        }
    }

    /// The unit of a component.
    pub fn unit(component: usize) -> &'static str {
        match component.checked_sub(1) {
            None => "s",
            Some(k) => QUANTITIES[k % QUANTITIES.len()].unit(),
        }
    }

    /// The joint that a component belongs to; `None` for the delay.
    pub fn joint(component: usize) -> Option<usize> {
        component.checked_sub(1).map(|k| k / QUANTITIES.len())
    }
}
