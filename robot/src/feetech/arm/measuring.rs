//! Measuring the arm: one sync read of everything, what is hard to believe asked for again, one servo's settings beside it.

use std::time::Duration;

use super::joint::{JUMP_ALLOWANCE, SettingsFault, Verdict};
use super::{FeetechArm, Reading};
use crate::arm::ArmError;
use crate::feetech::bus::{BusError, Reply};
use crate::feetech::registers::{self, Telemetry};

/// Steps by which a joint may stand outside its range and still be enabled (2 degrees: a gripper pressing on its stop).
const OUTSIDE_ALLOWANCE: i32 = 23;

/// How often a reading that is hard to believe is asked for again.
const CONFIRMATIONS: usize = 3;

/// Readings before the arm is enabled.
const READINGS_BEFORE_ENABLE: usize = 3;

impl FeetechArm {
    /// One sync read of everything, each plausible answer kept in its joint. Returns when it was asked, and who gave none.
    pub(super) fn measure(&mut self) -> Result<(Duration, Vec<String>), ArmError> {
        let ids = self.ids();
        let asked = self.bus.now();
        let replies = self
            .bus
            .sync_read_block(&ids, Telemetry::BASE, Telemetry::LENGTH)
            .map_err(|error| self.error(error))?;
        let mut oldest = None::<Duration>;
        let mut missing = Vec::new();
        for (index, reply) in replies.into_iter().enumerate() {
            let reading = reply.and_then(|reply| self.decode(&reply));
            let reading = match reading {
                Some(first) => self.confirm(index, first)?,
                None => None,
            };
            match reading {
                Some(reading) => {
                    oldest = Some(oldest.map_or(reading.stamp, |stamp| stamp.min(reading.stamp)));
                    self.joints[index].last = Some(reading);
                }
                None => missing.push(self.joints[index].name.clone()),
            }
        }
        Ok((oldest.unwrap_or(asked + self.clock_offset), missing))
    }

    /// One servo's settings, another one at each measurement, so that each is looked at every sixth. What looks wrong is looked at twice, since a
    /// corrupt frame may have a good checksum; a servo that does not answer is left to the measurements.
    pub(super) fn look_at_settings(&mut self) -> Result<(), ArmError> {
        self.looked_at = (self.looked_at + 1) % self.joints.len().max(1);
        let (id, base) = (self.joints[self.looked_at].id, registers::TORQUE.address());
        let mut first = None;
        for _ in 0..2 {
            let block = self.bus.read_once(id, base, Telemetry::BASE - base);
            let Some(reply) = block.map_err(|error| self.error(error))? else {
                return Ok(());
            };
            let joint = &mut self.joints[self.looked_at];
            let fault = joint.fault_in(&reply.data, self.config.acceleration);
            if fault == SettingsFault::None || first == Some(fault) {
                joint.note(fault);
                return Ok(());
            }
            first = Some(fault);
        }
        Ok(())
    }

    /// A reading that can be believed: as it is, or because asking again says the same. `None` where the line is too bad to tell.
    fn confirm(&mut self, index: usize, first: Reading) -> Result<Option<Reading>, ArmError> {
        let (id, mut before) = (self.joints[index].id, first);
        let mut verdict = self.joints[index].judge(&first);
        if let Verdict::Fine = verdict {
            return Ok(Some(first));
        }
        for _ in 0..CONFIRMATIONS {
            let again = self.bus.read_block(id, Telemetry::BASE, Telemetry::LENGTH);
            let again = match again {
                Ok(reply) => self.decode(&reply),
                Err(BusError::Timeout { .. }) => None,
                Err(error) => return Err(self.error(error)),
            };
            let Some(again) = again else {
                return Ok(None);
            };
            let was_possible = !matches!(verdict, Verdict::Impossible(_));
            verdict = self.joints[index].judge(&again);
            match verdict {
                Verdict::Fine => return Ok(Some(again)),
                Verdict::Doubtful if was_possible && again.can_follow(&before) => {
                    return Ok(Some(again));
                }
                _ => before = again,
            }
        }
        match verdict {
            Verdict::Impossible(cause) => Err(ArmError::Implausible {
                joint: self.joints[index].name.clone(),
                cause,
            }),
            _ => Ok(None),
        }
    }

    fn decode(&self, reply: &Reply) -> Option<Reading> {
        Some(Reading {
            stamp: reply.asked_at + self.clock_offset,
            telemetry: Telemetry::from_block(&reply.data)?,
            alarms: reply.alarms,
        })
    }

    /// The present positions in steps, after several readings that agree; refuses an arm that stands outside its range, because
    /// a goal would be clamped and the arm would jump to it.
    pub(super) fn steady_positions(&mut self) -> Result<Vec<i32>, ArmError> {
        let mut first: Vec<i32> = Vec::new();
        let mut positions = Vec::new();
        for round in 0..READINGS_BEFORE_ENABLE {
            let (_, missing) = self.measure()?;
            if !missing.is_empty() {
                return Err(self.silent(missing));
            }
            positions = self
                .joints
                .iter()
                .filter_map(|joint| joint.last.map(|reading| reading.telemetry.position))
                .collect();
            if round == 0 {
                first.clone_from(&positions);
            }
            for ((joint, a), b) in self.joints.iter().zip(&first).zip(&positions) {
                if f64::from((a - b).abs()) > JUMP_ALLOWANCE {
                    return Err(ArmError::Mismatch(format!(
                        "{} is moving; hold the arm still until it is enabled",
                        joint.name
                    )));
                }
            }
        }
        for (joint, position) in self.joints.iter().zip(&mut positions) {
            let c = joint.calibration;
            let inside = (*position).clamp(c.range_min, c.range_max);
            if (inside - *position).abs() > OUTSIDE_ALLOWANCE {
                return Err(ArmError::Mismatch(format!(
                    "{} stands at tick {position}, outside its calibrated {}..{}; move it inside by hand",
                    joint.name, c.range_min, c.range_max
                )));
            }
            *position = inside;
        }
        Ok(positions)
    }
}
