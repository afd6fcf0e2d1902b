//! Calibrating an arm: its middle pose becomes the middle of every encoder, then each joint is moved to both of its ends by hand.
//!
//! [`Homing::begin`] (torque off) -> the person puts the arm into its middle pose -> [`Homing::centre`] -> the person moves every
//! joint through its range while [`Sweep::observe`] is called again and again -> [`Sweep::finish`].

use super::bus::Bus;
use super::codec::ServoId;
use super::registers::{self, PRESENT_POSITION, SignMagnitude};
use super::setup::{self, SetupError};
use crate::arm::{ArmSpec, JointKind};
use crate::calibration::{
    Calibration, CalibrationError, MAX_HOMING_OFFSET, MAX_TICK, MotorCalibration,
};

/// Joints that turn all the way round: their range is the whole encoder, whatever was swept.
const FULL_TURN: [&str; 1] = ["wrist_roll"];

/// Where LeRobot puts the middle pose.
const MIDDLE: i32 = 2047;

/// Steps of a turn.
const TURN: i32 = 4096;

#[derive(Debug)]
struct Joint {
    name: String,
    kind: JointKind,
    id: ServoId,
}

/// An arm that is limp and waits for its middle pose.
pub struct Homing {
    bus: Bus,
    joints: Vec<Joint>,
}

/// An arm whose joints are being moved through their ranges by hand.
pub struct Sweep {
    bus: Bus,
    joints: Vec<Joint>,
    offsets: Vec<i32>,
    swept: Vec<Swept>,
}

/// What one joint has been through so far, steps. Positions beyond the encoder's ends are counted on, not wrapped.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Joint name.
    pub name: String,
    /// Smallest position so far.
    pub min: i32,
    /// Where it is now.
    pub position: i32,
    /// Largest position so far.
    pub max: i32,
}

impl Homing {
    /// Switches all torque off and clears old offsets and limits. Servos: ids 1, 2, ... in the order of the joints.
    ///
    /// Errors: [`SetupError::Bus`], [`SetupError::Model`].
    pub fn begin(mut bus: Bus, spec: &ArmSpec) -> Result<Self, SetupError> {
        let joints: Vec<Joint> = spec
            .joints
            .iter()
            .zip(1u8..)
            .filter_map(|(joint, id)| {
                Some(Joint {
                    name: joint.name.clone(),
                    kind: joint.kind,
                    id: ServoId::new(id)?,
                })
            })
            .collect();
        for joint in &joints {
            let model = bus.read(joint.id, registers::MODEL)?;
            if model != registers::MODEL_STS3215 {
                return Err(SetupError::Model {
                    id: joint.id,
                    model,
                });
            }
        }
        for joint in &joints {
            setup::configure(&mut bus, joint.id, joint.kind)?;
            bus.store(joint.id, registers::HOMING_OFFSET, SignMagnitude::default())?;
            bus.store(joint.id, registers::MIN_POSITION, 0)?;
            bus.store(joint.id, registers::MAX_POSITION, MAX_TICK as u16)?;
        }
        Ok(Self { bus, joints })
    }

    /// Makes the present pose the middle of every joint.
    ///
    /// Errors: [`SetupError::Bus`].
    pub fn centre(mut self) -> Result<Sweep, SetupError> {
        let mut offsets = Vec::with_capacity(self.joints.len());
        let mut swept = Vec::with_capacity(self.joints.len());
        for joint in &self.joints {
            let position = self.bus.read(joint.id, PRESENT_POSITION)?.get();
            // One position in 4096 is a step too far for the register; a step is less than a tenth of a degree.
            let offset = (position - MIDDLE).clamp(-MAX_HOMING_OFFSET, MAX_HOMING_OFFSET);
            let stored = SignMagnitude::new(offset).unwrap_or_default();
            self.bus.store(joint.id, registers::HOMING_OFFSET, stored)?;
            offsets.push(offset);
            swept.push(Swept {
                name: joint.name.clone(),
                min: position - offset,
                position: position - offset,
                max: position - offset,
            });
        }
        Ok(Sweep {
            bus: self.bus,
            joints: self.joints,
            offsets,
            swept,
        })
    }
}

impl Sweep {
    /// Measures the joints once more. Call it tens of times a second: a joint that turns by half a turn in between is lost.
    ///
    /// Errors: [`SetupError::Bus`] when the whole bus fails; a servo that misses a reading keeps its values.
    pub fn observe(&mut self) -> Result<&[Swept], SetupError> {
        let ids: Vec<ServoId> = self.joints.iter().map(|joint| joint.id).collect();
        let positions = self.bus.sync_read(&ids, PRESENT_POSITION)?;
        for (swept, position) in self.swept.iter_mut().zip(positions) {
            if let Some(position) = position {
                // The nearest of the positions that read like this: a joint that crosses the encoder's seam is counted on.
                let turned = (position.get() - swept.position).rem_euclid(TURN);
                let turned = if turned > TURN / 2 {
                    turned - TURN
                } else {
                    turned
                };
                swept.position += turned;
                swept.min = swept.min.min(swept.position);
                swept.max = swept.max.max(swept.position);
            }
        }
        Ok(&self.swept)
    }

    /// The calibration so far. Nothing is stored.
    ///
    /// Errors: [`SetupError::Calibration`] when a joint was not swept or crossed the seam of its encoder (its middle pose was
    /// not its middle).
    pub fn measured(&self) -> Result<Calibration, SetupError> {
        let mut motors = Vec::with_capacity(self.joints.len());
        for ((joint, offset), swept) in self.joints.iter().zip(&self.offsets).zip(&self.swept) {
            let (range_min, range_max) = if FULL_TURN.contains(&joint.name.as_str()) {
                (0, MAX_TICK)
            } else {
                (swept.min, swept.max)
            };
            if range_min < 0 || range_max > MAX_TICK {
                return Err(CalibrationError::Invalid(format!(
                    "{} went from {range_min} to {range_max}, across the end of its encoder: it was not in the middle of its range \
                     in the middle pose",
                    joint.name
                ))
                .into());
            }
            motors.push((
                joint.name.clone(),
                MotorCalibration {
                    id: joint.id.get(),
                    drive_mode: 0,
                    homing_offset: *offset,
                    range_min,
                    range_max,
                },
            ));
        }
        Ok(Calibration::new(motors)?)
    }

    /// Writes the ranges into the servos and gives the calibration, to be saved.
    ///
    /// Errors: as [`Sweep::measured`], then the servos keep the full range; [`SetupError::Bus`].
    pub fn finish(mut self) -> Result<(Calibration, Bus), SetupError> {
        let calibration = self.measured()?;
        setup::store_calibration(&mut self.bus, &calibration)?;
        Ok((calibration, self.bus))
    }
}
