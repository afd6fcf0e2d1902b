//! The SO-101 made of six STS3215 servos, as an [`Arm`].
//!
//! Three facts of the servo shape this driver: a written goal switches torque on, so goals are refused while torque is meant to
//! be off; a servo holds its last goal for ever, so a lost connection is reported with that warning; and a corrupt frame in 256
//! has a good checksum, so every measurement is also checked for plausibility.

mod joint;
mod measuring;

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bus::{Bus, BusConfig, BusError, BusStats};
use super::codec::{Alarms, ServoId};
use super::registers::{self, Lock, Payload, Telemetry, Torque};
use crate::arm::{Arm, ArmError, ArmSpec, ArmState, CheckedGoal, JointKind, MotorAlarm};
use crate::calibration::Calibration;
use crate::guardian::Guardian;
use crate::so101;
use joint::Joint;

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
