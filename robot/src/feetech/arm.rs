//! The SO-101 made of six STS3215 servos, as an [`Arm`].
//!
//! Three facts of the servo shape this driver: a written goal switches torque on, so goals are refused while torque is meant to
//! be off; a servo holds its last goal for ever, so a lost connection is reported with that warning; and a corrupt frame in 256
//! has a good checksum, so every measurement is also checked for plausibility.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bus::{Bus, BusConfig, BusError, BusStats};
use super::codec::{Alarms, ServoId};
use super::registers::{self, Lock, Mode, Payload, Telemetry, Torque};
use crate::arm::{Arm, ArmError, ArmSpec, ArmState, CheckedGoal, JointKind, MotorAlarm};
use crate::calibration::{Calibration, MAX_TICK, MotorCalibration};
use crate::guardian::Guardian;
use crate::so101;

/// How the arm is driven.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeetechConfig {
    /// The bus.
    pub bus: BusConfig,
    /// The arm's limits stay this far inside the calibrated range, degrees.
    pub margin_deg: f64,
    /// Share of the largest torque that body joints may use, `0..=1`.
    pub body_torque: f64,
    /// Share of the largest torque that the gripper may use: it stalls on whatever it holds.
    pub gripper_torque: f64,
    /// Acceleration limit inside the servos, 100 steps/s² per unit; 0: none.
    pub acceleration: u8,
}

impl Default for FeetechConfig {
    fn default() -> Self {
        Self {
            bus: BusConfig::default(),
            margin_deg: 2.0,
            body_torque: 1.0,
            gripper_torque: 0.5,
            acceleration: 254,
        }
    }
}

/// What one servo said last, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Not older than this, on the arm's clock.
    pub stamp: Duration,
    /// The measurements.
    pub telemetry: Telemetry,
    /// What it complains about.
    pub alarms: Alarms,
}

/// Fastest plausible turn, steps/s: twice the no-load speed, because a limp arm is moved by hand.
const MAX_STEPS_PER_SECOND: f64 = 6200.0;

/// Steps that a position may jump beyond that.
const JUMP_ALLOWANCE: f64 = 40.0;

/// Steps by which a joint may stand outside its range and still be enabled (2 degrees: a gripper pressing on its stop).
const OUTSIDE_ALLOWANCE: i32 = 23;

/// Voltages and temperatures beyond these are corrupt, not measured.
const MAX_VOLTAGE: f64 = 16.0;
const MAX_TEMPERATURE: f64 = 125.0;

/// How often a reading that is hard to believe is asked for again.
const CONFIRMATIONS: usize = 3;

/// After so many looks in a row at another goal than it was sent, a servo is deaf.
const GOALS_LOST: u32 = 3;

/// Readings before the arm is enabled.
const READINGS_BEFORE_ENABLE: usize = 3;

#[derive(Clone, Debug)]
struct Joint {
    name: String,
    kind: JointKind,
    id: ServoId,
    calibration: MotorCalibration,
    last: Option<Reading>,
    /// What it was told to be at last, steps.
    goal: Option<i32>,
    /// Looks in a row at which it had another goal.
    goals_lost: u32,
    /// The torque that it may use, 0.1 %, and what it said of itself beside its measurements.
    torque_limit: u16,
    alarm: MotorAlarm,
}

/// An SO-101 on a serial port. Dropped with torque on, it switches torque off as well as it can.
pub struct FeetechArm {
    bus: Bus,
    config: FeetechConfig,
    spec: ArmSpec,
    joints: Vec<Joint>,
    clock_offset: Duration,
    energised: bool,
    /// Cuts torque should this process die.
    guardian: Option<Guardian>,
    /// The joint whose settings are looked at next.
    looked_at: usize,
}

impl FeetechArm {
    /// Opens the port and looks at every servo without changing anything: model, position mode, limits and offset as in the
    /// calibration.
    ///
    /// Errors: [`ArmError::Open`], [`ArmError::Silent`] with the names of the servos that do not answer, [`ArmError::Mismatch`].
    pub fn connect(path: &str, calibration: &Calibration) -> Result<Self, ArmError> {
        Self::connect_with(path, calibration, FeetechConfig::default())
    }

    /// [`Self::connect`] with other settings.
    pub fn connect_with(
        path: &str,
        calibration: &Calibration,
        config: FeetechConfig,
    ) -> Result<Self, ArmError> {
        check_calibration(calibration)?;
        let bus = Bus::open(path, config.bus.clone()).map_err(|error| bus_error(error, &[]))?;
        Self::on_bus(bus, calibration, config)
    }

    /// [`Self::connect`] over a bus that is already open.
    pub fn on_bus(
        bus: Bus,
        calibration: &Calibration,
        config: FeetechConfig,
    ) -> Result<Self, ArmError> {
        check_calibration(calibration)?;
        let mut spec = so101::spec();
        let mut joints = Vec::with_capacity(spec.dof());
        for joint in &mut spec.joints {
            let (Some(calibration), Some(id)) = (
                calibration.motor(&joint.name).copied(),
                calibration
                    .motor(&joint.name)
                    .and_then(|motor| ServoId::new(motor.id)),
            ) else {
                return Err(ArmError::Mismatch(format!(
                    "the calibration has no motor for {}",
                    joint.name
                )));
            };
            if joint.kind == JointKind::Revolute {
                let margin = config.margin_deg.to_radians();
                let [low, high] = [calibration.range_min, calibration.range_max]
                    .map(|tick| calibration.position_from_ticks(joint.kind, f64::from(tick)));
                joint.min = joint.min.max(low + margin);
                joint.max = joint.max.min(high - margin);
            }
            joints.push(Joint {
                name: joint.name.clone(),
                kind: joint.kind,
                id,
                calibration,
                last: None,
                goal: None,
                goals_lost: 0,
                torque_limit: 0,
                alarm: MotorAlarm::None,
            });
        }
        let mut arm = Self {
            bus,
            config,
            spec,
            joints,
            clock_offset: Duration::ZERO,
            energised: false,
            guardian: None,
            looked_at: 0,
        };
        arm.verify()?;
        Ok(arm)
    }

    /// Puts a [`Guardian`] beside the arm: `program guardian`, which is this program itself ([`crate::guardian::serve`]). In virtual time
    /// there is no port to guard, and none is started.
    ///
    /// Errors: [`ArmError::Io`] where it cannot be started.
    pub fn guarded_by(mut self, program: &Path) -> Result<Self, ArmError> {
        self.guardian = self.bus.guardian(program, &self.ids())?;
        Ok(self)
    }

    /// Tells the guardian; without one all is well.
    fn tell(&mut self, word: fn(&mut Guardian) -> io::Result<()>) -> Result<(), ArmError> {
        let Some(guardian) = &mut self.guardian else {
            return Ok(());
        };
        word(guardian).map_err(|_| {
            ArmError::Mismatch(
                "the guardian process, which cuts torque should this one die, has ended; connect again".into(),
            )
        })
    }

    /// Makes stamps run on a clock that says `now` at this moment, instead of starting at 0 when the port was opened.
    pub fn set_time(&mut self, now: Duration) {
        self.clock_offset = now.saturating_sub(self.bus.now());
        for joint in &mut self.joints {
            joint.last = None;
        }
    }

    /// What each servo said last, `[dof]`; `None` before its first answer. After [`Arm::read`] has failed because some were
    /// silent, the others are fresh here; the stamps tell.
    pub fn readings(&self) -> impl ExactSizeIterator<Item = (&str, Option<&Reading>)> {
        self.joints
            .iter()
            .map(|joint| (joint.name.as_str(), joint.last.as_ref()))
    }

    /// What happened on the bus.
    pub fn stats(&self) -> BusStats {
        self.bus.stats()
    }

    fn ids(&self) -> Vec<ServoId> {
        self.joints.iter().map(|joint| joint.id).collect()
    }

    fn error(&self, error: BusError) -> ArmError {
        bus_error(error, &self.joints)
    }

    fn silent(&self, joints: Vec<String>) -> ArmError {
        ArmError::Silent {
            joints,
            deadline_ms: self.config.bus.turnaround_ms,
        }
    }

    /// Names of the joints for which `present` is false.
    fn names_without(&self, present: impl Iterator<Item = bool>) -> Vec<String> {
        self.joints
            .iter()
            .zip(present)
            .filter(|(_, here)| !here)
            .map(|(joint, _)| joint.name.clone())
            .collect()
    }

    /// Compares the servos' permanent settings with what this arm should be.
    fn verify(&mut self) -> Result<(), ArmError> {
        let ids = self.ids();
        let length = registers::TORQUE.address();
        let tables = self
            .bus
            .sync_read_block(&ids, 0, length)
            .map_err(|error| self.error(error))?;
        let missing = self.names_without(tables.iter().map(Option::is_some));
        if !missing.is_empty() {
            if self.bus.stats().bad_checksums > 0 {
                return Err(ArmError::Mismatch(format!(
                    "the answers of {missing:?} are garbled: two servos with one id, another bus speed, or a bad cable; \
                     connect the servos one by one and run `rapport setup-motors`"
                )));
            }
            return Err(self.silent(missing));
        }
        let mut firmware = None;
        for (joint, table) in self.joints.iter().zip(tables.iter().flatten()) {
            let version = (table.data[0], table.data[1]);
            let (first, first_version) = firmware.get_or_insert((&joint.name, version));
            if *first_version != version {
                return Err(ArmError::Mismatch(format!(
                    "{first} has firmware {}.{} and {} has {}.{}; bring all servos to the same one",
                    first_version.0, first_version.1, joint.name, version.0, version.1
                )));
            }
            joint.verify(&table.data)?;
        }
        Ok(())
    }

    /// One sync read of everything, each plausible answer kept in its joint. Returns when it was asked, and who gave none.
    fn measure(&mut self) -> Result<(Duration, Vec<String>), ArmError> {
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
    fn look_at_settings(&mut self) -> Result<(), ArmError> {
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

    fn decode(&self, reply: &super::bus::Reply) -> Option<Reading> {
        Some(Reading {
            stamp: reply.asked_at + self.clock_offset,
            telemetry: Telemetry::from_block(&reply.data)?,
            alarms: reply.alarms,
        })
    }

    /// The present positions in steps, after several readings that agree; refuses an arm that stands outside its range, because
    /// a goal would be clamped and the arm would jump to it.
    fn steady_positions(&mut self) -> Result<Vec<i32>, ArmError> {
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

    /// Closes the permanent settings where an earlier program left them open.
    fn lock_settings(&mut self) -> Result<(), BusError> {
        let ids = self.ids();
        let locks = self.bus.sync_read(&ids, registers::LOCK)?;
        for (id, lock) in ids.iter().zip(locks) {
            if lock == Some(Lock::Open) {
                self.bus.write(*id, registers::LOCK, Lock::Closed)?;
            }
        }
        Ok(())
    }

    fn energise(&mut self, positions: &[i32]) -> Result<(), BusError> {
        self.lock_settings()?;
        let mut goals = Vec::with_capacity(positions.len());
        for (joint, position) in self.joints.iter().zip(positions) {
            if let Some(goal) = registers::goal(*position) {
                goals.push((joint.id, goal));
            }
        }
        for (joint, position) in self.joints.iter_mut().zip(positions) {
            (joint.goal, joint.goals_lost) = (Some(*position), 0);
            joint.alarm = MotorAlarm::None;
            joint.torque_limit = joint.full_torque(&self.config).round() as u16;
            let limit = joint.torque_limit;
            self.bus.write(joint.id, registers::TORQUE_LIMIT, limit)?;
            let acceleration = self.config.acceleration;
            self.bus
                .write(joint.id, registers::ACCELERATION, acceleration)?;
        }
        // From the first goal on, torque is on.
        self.energised = true;
        self.bus.sync_write(&goals)?;
        let on: Vec<(ServoId, Payload)> = self
            .ids()
            .into_iter()
            .map(|id| (id, registers::TORQUE_ON))
            .collect();
        self.bus.sync_write(&on)?;
        for (id, goal) in goals {
            self.bus.write_verified_if_different(id, goal)?;
            self.bus
                .write_verified_if_different(id, registers::TORQUE_ON)?;
        }
        Ok(())
    }
}

impl Joint {
    /// The most torque that it may ever use, 0.1 %.
    fn full_torque(&self, config: &FeetechConfig) -> f64 {
        let share = match self.kind {
            JointKind::Revolute => config.body_torque,
            JointKind::Gripper => config.gripper_torque,
        };
        1000.0 * share.clamp(0.0, 1.0)
    }

    /// What a servo's settings say of it: a reset one has forgotten its acceleration and torque limits, whatever goals have switched on
    /// again since; a deaf one has another goal than it was sent.
    fn fault_in(&self, block: &[u8], acceleration: u8) -> SettingsFault {
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
    fn note(&mut self, fault: SettingsFault) {
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

    fn verify(&self, table: &[u8]) -> Result<(), ArmError> {
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
    fn judge(&self, reading: &Reading) -> Verdict {
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
enum SettingsFault {
    None,
    Forgotten,
    TorqueOff,
    OtherGoal,
}

/// What to think of a reading.
#[derive(Debug)]
enum Verdict {
    /// Position and speed tell the same story.
    Fine,
    /// It could be, or a corrupt frame had a good checksum: ask again.
    Doubtful,
    /// It cannot be.
    Impossible(String),
}

impl Reading {
    fn seconds_since(&self, earlier: &Self) -> f64 {
        self.stamp.saturating_sub(earlier.stamp).as_secs_f64()
    }

    fn steps_from(&self, earlier: &Self) -> f64 {
        f64::from((self.telemetry.position - earlier.telemetry.position).abs())
    }

    /// No servo turns faster.
    fn can_follow(&self, earlier: &Self) -> bool {
        let reach = MAX_STEPS_PER_SECOND * self.seconds_since(earlier) + JUMP_ALLOWANCE;
        self.steps_from(earlier) <= reach
    }
}

impl Arm for FeetechArm {
    fn spec(&self) -> &ArmSpec {
        &self.spec
    }

    fn read(&mut self) -> Result<ArmState, ArmError> {
        if self.energised {
            self.tell(Guardian::alive)?;
        }
        let (stamp, missing) = self.measure()?;
        if !missing.is_empty() {
            return Err(self.silent(missing));
        }
        if self.energised {
            self.look_at_settings()?;
        }
        let mut state = ArmState {
            stamp,
            ..ArmState::default()
        };
        for joint in &self.joints {
            let Some(Reading {
                telemetry: t,
                alarms,
                ..
            }) = joint.last
            else {
                return Err(self.silent(vec![joint.name.clone()]));
            };
            let c = joint.calibration;
            let per_tick = c.position_per_tick(joint.kind);
            state
                .positions
                .push(c.position_from_ticks(joint.kind, f64::from(t.position)));
            state.velocities.push(f64::from(t.speed) * per_tick);
            state
                .loads
                .push((t.load * per_tick.signum()).clamp(-1.0, 1.0));
            state.temperatures.push(t.temperature);
            state.voltages.push(t.voltage);
            state.currents.push(t.current.abs());
            state.alarms.push(match joint.alarm {
                _ if alarms.current() => MotorAlarm::CutOut,
                MotorAlarm::None if alarms.overload() => MotorAlarm::Overload,
                alarm => alarm,
            });
        }
        Ok(state)
    }

    fn command(&mut self, goal: &CheckedGoal) -> Result<(), ArmError> {
        if !self.energised {
            return Err(ArmError::Mismatch(
                "torque is off, and a goal would switch it on; enable the arm first".into(),
            ));
        }
        if goal.positions().len() != self.joints.len() {
            return Err(ArmError::Mismatch(format!(
                "the goal has {} joints, {} has {}",
                goal.positions().len(),
                self.spec.name,
                self.joints.len()
            )));
        }
        let mut goals = Vec::with_capacity(self.joints.len());
        for (joint, &position) in self.joints.iter().zip(goal.positions()) {
            let payload = joint
                .calibration
                .goal_tick(joint.kind, position)
                .and_then(registers::goal)
                .ok_or_else(|| {
                    ArmError::Mismatch(format!("the goal of {} is {position}", joint.name))
                })?;
            goals.push((joint.id, payload));
        }
        for (joint, (_, payload)) in self.joints.iter_mut().zip(&goals) {
            joint.goal = registers::GOAL_POSITION
                .in_block(payload.address(), payload.bytes())
                .map(|goal| goal.get());
        }
        let sent = self.bus.sync_write(&goals);
        sent.map_err(|error| self.error(error))
    }

    fn soften(&mut self, share: f64) -> Result<(), ArmError> {
        let mut limits = Vec::with_capacity(self.joints.len());
        for joint in &mut self.joints {
            joint.torque_limit =
                (share.clamp(0.0, 1.0) * joint.full_torque(&self.config)).round() as u16;
            limits.push((
                joint.id,
                registers::TORQUE_LIMIT.payload(joint.torque_limit),
            ));
        }
        let sent = self.bus.sync_write(&limits);
        sent.map_err(|error| self.error(error))
    }

    fn enable(&mut self) -> Result<(), ArmError> {
        if self.energised {
            return Ok(());
        }
        for joint in &mut self.joints {
            joint.last = None;
        }
        let positions = self.steady_positions()?;
        self.tell(Guardian::armed)?;
        if let Err(error) = self.energise(&positions) {
            // The first error is the one to report; half an arm with torque is worse than none.
            let _ = self.disable();
            return Err(self.error(error));
        }
        Ok(())
    }

    fn disable(&mut self) -> Result<(), ArmError> {
        // No goal may follow: it would switch torque on again.
        self.energised = false;
        let ids = self.ids();
        // One unacknowledged frame reaches everybody at once; then each is asked, whatever became of the others.
        let mut gone = None;
        if let Err(error) = self.bus.sync_torque_off(&ids) {
            gone = Some(error);
        }
        let torque = self.bus.sync_read(&ids, registers::TORQUE);
        let torque = torque.unwrap_or_else(|_| vec![None; ids.len()]);
        let mut still_on = Vec::new();
        for (joint, torque) in self.joints.iter().zip(torque) {
            if torque == Some(Torque::Off) {
                continue;
            }
            match self.bus.torque_off(joint.id) {
                Ok(()) => {}
                Err(error @ BusError::Gone { .. }) => gone = Some(error),
                Err(_) => still_on.push(joint.name.clone()),
            }
        }
        match gone {
            Some(error @ BusError::Gone { .. }) => Err(self.error(error)),
            _ if still_on.is_empty() => {
                // A guardian that has ended has no more to do.
                let _ = self.tell(Guardian::limp);
                Ok(())
            }
            _ => Err(self.silent(still_on)),
        }
    }

    fn torque_enabled(&mut self) -> Result<Vec<bool>, ArmError> {
        let ids = self.ids();
        let torque = self
            .bus
            .sync_read(&ids, registers::TORQUE)
            .map_err(|error| self.error(error))?;
        let missing = self.names_without(torque.iter().map(Option::is_some));
        if !missing.is_empty() {
            return Err(self.silent(missing));
        }
        Ok(torque
            .into_iter()
            .map(|torque| torque == Some(Torque::On))
            .collect())
    }
}

impl Drop for FeetechArm {
    fn drop(&mut self) {
        if self.energised {
            // Nobody is left to tell.
            let _ = self.disable();
        }
    }
}

fn check_calibration(calibration: &Calibration) -> Result<(), ArmError> {
    calibration
        .check(&so101::spec())
        .map_err(|error| ArmError::Mismatch(error.to_string()))
}

/// The arm's words for what the bus says; servos are called by their joints' names.
fn bus_error(error: BusError, joints: &[Joint]) -> ArmError {
    match error {
        BusError::Port(port) => ArmError::Open {
            cause: port.cause(),
            advice: port.advice().into(),
            port: port.port().into(),
        },
        BusError::Timeout { ids, deadline_ms } => ArmError::Silent {
            joints: ids
                .iter()
                .map(|id| {
                    joints
                        .iter()
                        .find(|joint| joint.id == *id)
                        .map_or_else(|| id.to_string(), |joint| joint.name.clone())
                })
                .collect(),
            deadline_ms,
        },
        BusError::Gone { port } => ArmError::Gone(port),
        BusError::Io { source, .. } => ArmError::Io(source),
        error => ArmError::Mismatch(error.to_string()),
    }
}
