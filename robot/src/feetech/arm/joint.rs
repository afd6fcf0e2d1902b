//! One servo as a joint: what its settings must be, and whether it can be believed.

use super::{FeetechConfig, Reading};
use crate::arm::{ArmError, JointKind, MotorAlarm};
use crate::calibration::{MAX_TICK, MotorCalibration};
use crate::feetech::codec::ServoId;
use crate::feetech::registers::{self, Mode, Torque};

/// Fastest plausible turn, steps/s: twice the no-load speed, because a limp arm is moved by hand.
pub(super) const MAX_STEPS_PER_SECOND: f64 = 6200.0;

/// Steps that a position may jump beyond that.
pub(super) const JUMP_ALLOWANCE: f64 = 40.0;

/// Voltages and temperatures beyond these are corrupt, not measured.
pub(super) const MAX_VOLTAGE: f64 = 16.0;
pub(super) const MAX_TEMPERATURE: f64 = 125.0;

/// After so many looks in a row at another goal than it was sent, a servo is deaf.
pub(super) const GOALS_LOST: u32 = 3;

#[derive(Clone, Debug)]
pub(super) struct Joint {
    pub(super) name: String,
    pub(super) kind: JointKind,
    pub(super) id: ServoId,
    pub(super) calibration: MotorCalibration,
    pub(super) last: Option<Reading>,
    /// What it was told to be at last, steps.
    pub(super) goal: Option<i32>,
    /// Looks in a row at which it had another goal.
    pub(super) goals_lost: u32,
    /// The torque that it may use, 0.1 %, and what it said of itself beside its measurements.
    pub(super) torque_limit: u16,
    pub(super) alarm: MotorAlarm,
}

impl Joint {
    /// The most torque that it may ever use, 0.1 %.
    pub(super) fn full_torque(&self, config: &FeetechConfig) -> f64 {
        let share = match self.kind {
            JointKind::Revolute => config.body_torque,
            JointKind::Gripper => config.gripper_torque,
        };
        1000.0 * share.clamp(0.0, 1.0)
    }

    /// What a servo's settings say of it: a reset one has forgotten its acceleration and torque limits, whatever goals have switched on
    /// again since; a deaf one has another goal than it was sent.
    pub(super) fn fault_in(&self, block: &[u8], acceleration: u8) -> SettingsFault {
        let base = registers::TORQUE.address();
        let limits = (
            registers::ACCELERATION.in_block(base, block),
            registers::TORQUE_LIMIT.in_block(base, block),
        );
        let goal = registers::GOAL_POSITION.in_block(base, block);
        if limits != (Some(acceleration), Some(self.torque_limit)) {
            SettingsFault::Forgotten
        } else if registers::TORQUE.in_block(base, block) == Some(Torque::Off) {
            SettingsFault::TorqueOff
        } else if goal.map(|goal| goal.get()) != self.goal {
            SettingsFault::OtherGoal
        } else {
            SettingsFault::None
        }
    }

    /// A goal may be lost now and then; the rest stays until the arm is energised again.
    pub(super) fn note(&mut self, fault: SettingsFault) {
        self.goals_lost = match fault {
            SettingsFault::OtherGoal => self.goals_lost + 1,
            _ => 0,
        };
        self.alarm = match (self.alarm, fault) {
            (alarm @ (MotorAlarm::Reset | MotorAlarm::CutOut), _) => alarm,
            (_, SettingsFault::Forgotten) => MotorAlarm::Reset,
            (_, SettingsFault::TorqueOff) => MotorAlarm::CutOut,
            _ if self.goals_lost >= GOALS_LOST => MotorAlarm::Deaf,
            _ => MotorAlarm::None,
        };
    }

    pub(super) fn verify(&self, table: &[u8]) -> Result<(), ArmError> {
        let name = &self.name;
        let mismatch = |cause: String| Err(ArmError::Mismatch(format!("{name}: {cause}")));
        let model = registers::MODEL.in_block(0, table);
        if model != Some(registers::MODEL_STS3215) {
            return mismatch(format!(
                "servo {} is model {}, not an STS3215 ({}); is this the right port?",
                self.id.get(),
                model.unwrap_or_default(),
                registers::MODEL_STS3215
            ));
        }
        let mode = registers::MODE.in_block(0, table);
        if mode != Some(Mode::Position) {
            return mismatch(format!(
                "its mode is {}, not position control; run `rapport setup-motors`",
                mode.map_or("unknown".into(), |mode| format!("{mode:?}"))
            ));
        }
        if registers::PHASE
            .in_block(0, table)
            .is_some_and(|phase| phase & registers::MULTI_TURN != 0)
        {
            return mismatch("it counts several turns; run `rapport setup-motors`".into());
        }
        let present = (
            registers::HOMING_OFFSET
                .in_block(0, table)
                .map(|offset| offset.get()),
            registers::MIN_POSITION.in_block(0, table).map(i32::from),
            registers::MAX_POSITION.in_block(0, table).map(i32::from),
        );
        let c = self.calibration;
        let wanted = (Some(c.homing_offset), Some(c.range_min), Some(c.range_max));
        if present != wanted {
            return mismatch(format!(
                "the servo holds offset {}, range {}..{}, the calibration file says {}, {}..{}; \
                 use the file of this arm or run `rapport calibrate`",
                present.0.unwrap_or_default(),
                present.1.unwrap_or_default(),
                present.2.unwrap_or_default(),
                c.homing_offset,
                c.range_min,
                c.range_max
            ));
        }
        Ok(())
    }

    /// Whether a servo can be where it says, given where it was.
    pub(super) fn judge(&self, reading: &Reading) -> Verdict {
        let now = &reading.telemetry;
        if reading.alarms.encoder() {
            return Verdict::Impossible("its encoder reports a fault".into());
        }
        if !(0..=MAX_TICK).contains(&now.position) {
            return Verdict::Impossible(format!(
                "it reports the impossible position {}",
                now.position
            ));
        }
        if now.voltage > MAX_VOLTAGE || now.temperature > MAX_TEMPERATURE {
            return Verdict::Impossible(format!(
                "it reports {:.1} V and {} degrees Celsius",
                now.voltage, now.temperature
            ));
        }
        let Some(last) = &self.last else {
            return Verdict::Fine;
        };
        if !reading.can_follow(last) {
            return Verdict::Impossible(format!(
                "it jumped from tick {} to {} within {:.0} ms",
                last.telemetry.position,
                now.position,
                reading.seconds_since(last) * 1000.0
            ));
        }
        let speed = f64::from(now.speed.abs().max(last.telemetry.speed.abs()));
        let explained = 1.5 * speed * reading.seconds_since(last) + JUMP_ALLOWANCE;
        if reading.steps_from(last) > explained {
            Verdict::Doubtful
        } else {
            Verdict::Fine
        }
    }
}

/// What is wrong with a servo's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SettingsFault {
    None,
    Forgotten,
    TorqueOff,
    OtherGoal,
}

/// What to think of a reading.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Position and speed tell the same story.
    Fine,
    /// It could be, or a corrupt frame had a good checksum: ask again.
    Doubtful,
    /// It cannot be.
    Impossible(String),
}

impl Reading {
    pub(super) fn seconds_since(&self, earlier: &Self) -> f64 {
        self.stamp.saturating_sub(earlier.stamp).as_secs_f64()
    }

    pub(super) fn steps_from(&self, earlier: &Self) -> f64 {
        f64::from((self.telemetry.position - earlier.telemetry.position).abs())
    }

    /// No servo turns faster.
    pub(super) fn can_follow(&self, earlier: &Self) -> bool {
        let reach = MAX_STEPS_PER_SECOND * self.seconds_since(earlier) + JUMP_ALLOWANCE;
        self.steps_from(earlier) <= reach
    }
}
