//! The servos on one wire: requests in, replies out, each at its time. Without input or output of its own.

use std::collections::VecDeque;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_robot::calibration::Calibration;
use rapport_robot::feetech::codec::{self, Alarms, ServoId, instruction};
use rapport_robot::feetech::registers::{self, BaudRate};
use rapport_robot::{JointKind, so101};

use super::faults::{Faults, ReplyFault};
use super::plant::{JointPlant, PlantError};
use super::servo::{Servo, ServoConfig};
use crate::world::Torque;

/// Instructions beside those of the driver.
const REG_WRITE: u8 = 0x04;
const ACTION: u8 = 0x05;

/// A request that has not gone on for this long is forgotten.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(20);

/// Time between two answers to a broadcast ping.
const PING_SLOT: Duration = Duration::from_millis(3);

/// The longest step of servo motion.
const MAX_STEP: Duration = Duration::from_millis(10);

/// What hangs on the bus.
#[derive(Clone, Debug, PartialEq)]
pub struct ServoBusConfig {
    /// The servos, in the order of the joints.
    pub servos: Vec<ServoConfig>,
    /// How an earlier program left the servos: limp, or holding where they are.
    pub torque: Torque,
    /// Seed of the random faults.
    pub seed: u64,
}

impl ServoBusConfig {
    /// An SO-101 as `rapport setup-motors` and `rapport calibrate` leave it: its servos hold this calibration, and the calibrated
    /// zero of every joint is the model's zero.
    pub fn so101(calibration: &Calibration) -> Self {
        let spec = so101::spec();
        let servo = |joint: &rapport_robot::JointSpec| {
            let motor = calibration.motor(&joint.name)?;
            let middle = f64::from(motor.range_min + motor.range_max) / 2.0;
            let (mount_angle, max_torque) = match joint.kind {
                JointKind::Revolute => (0.0, 1000),
                JointKind::Gripper => (0.5 * (so101::GRIPPER_OPEN + so101::GRIPPER_CLOSED), 500),
            };
            Some(ServoConfig {
                id: motor.id,
                baud: BaudRate::B1000000,
                mount_step: middle + f64::from(motor.homing_offset),
                mount_angle,
                homing_offset: motor.homing_offset,
                limits: (
                    motor.range_min.clamp(0, 4095) as u16,
                    motor.range_max.clamp(0, 4095) as u16,
                ),
                max_torque,
                supply: 7.4,
                model: registers::MODEL_STS3215,
                firmware: (3, 10),
            })
        };
        Self {
            servos: spec.joints.iter().filter_map(servo).collect(),
            ..Self::empty()
        }
    }

    /// An SO-101 that nobody has calibrated, with the ranges of [`Self::calibration`].
    pub fn uncalibrated_so101() -> Self {
        Self::so101(&Self::calibration())
    }

    /// The calibration of an arm that nobody has calibrated: every joint's middle in the middle of its encoder.
    pub fn calibration() -> Calibration {
        Calibration::uncalibrated(&so101::spec(), so101::GRIPPER_OPEN - so101::GRIPPER_CLOSED)
    }

    fn empty() -> Self {
        Self {
            servos: Vec::new(),
            torque: Torque::Off,
            seed: 0,
        }
    }
}

/// Servos on one wire and the hinges behind them.
pub struct ServoChain {
    servos: Vec<Servo>,
    plant: Box<dyn JointPlant>,
    /// What is wrong at present.
    pub faults: Faults,
    speed: u32,
    rng: ChaCha8Rng,
    request: Vec<u8>,
    heard_at: Duration,
    now: Duration,
    replies: VecDeque<(Duration, Vec<u8>)>,
    failure: Option<PlantError>,
}

impl ServoChain {
    /// Errors: [`PlantError`] when there are not as many servos as hinges, or the plant does not work.
    pub fn new(config: &ServoBusConfig, plant: Box<dyn JointPlant>) -> Result<Self, PlantError> {
        if config.servos.len() != plant.joints() {
            return Err(PlantError(format!(
                "{} servos for {} joints",
                config.servos.len(),
                plant.joints()
            )));
        }
        let mut chain = Self {
            servos: config.servos.iter().cloned().map(Servo::new).collect(),
            plant,
            faults: Faults::default(),
            speed: BaudRate::B1000000.bits_per_second(),
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            request: Vec::new(),
            heard_at: Duration::ZERO,
            now: Duration::ZERO,
            replies: VecDeque::new(),
            failure: None,
        };
        chain.step(Duration::ZERO)?;
        if config.torque == Torque::On {
            chain.servos.iter_mut().for_each(Servo::hold);
            chain.step(Duration::ZERO)?;
        }
        Ok(chain)
    }

    /// The speed that the master's port is set to, bits per second. Servos at another one hear nothing.
    pub fn set_speed(&mut self, bits_per_second: u32) {
        self.speed = bits_per_second;
    }

    /// The servos, in the order of the joints.
    pub fn servos(&self) -> &[Servo] {
        &self.servos
    }

    /// One servo loses its power for a moment.
    pub fn brown_out(&mut self, joint: usize) {
        if let Some(servo) = self.servos.get_mut(joint) {
            servo.power_up();
        }
    }

    /// Why the plant does not go on, if so.
    pub fn failure(&self) -> Option<&PlantError> {
        self.failure.as_ref()
    }

    /// Lets time pass until `now`.
    pub fn advance(&mut self, now: Duration) {
        while self.now < now && self.failure.is_none() {
            let dt = (now - self.now).min(MAX_STEP);
            self.now += dt;
            if let Err(error) = self.step(dt) {
                self.failure = Some(error);
            }
        }
        self.now = self.now.max(now);
    }

    fn step(&mut self, dt: Duration) -> Result<(), PlantError> {
        self.plant.advance(self.now)?;
        for (joint, servo) in self.servos.iter_mut().enumerate() {
            servo.suffer(self.faults.of_servo(joint));
            servo.advance(joint, self.plant.as_mut(), dt)?;
        }
        Ok(())
    }

    /// The master has sent these bytes, which have all arrived at `now`.
    pub fn receive(&mut self, bytes: &[u8], now: Duration) {
        self.advance(now);
        self.look();
        if self.faults.echo {
            self.replies.push_back((now, bytes.to_vec()));
        }
        if now.saturating_sub(self.heard_at) > REQUEST_TIMEOUT {
            self.request.clear();
        }
        self.heard_at = now;
        self.request.extend_from_slice(bytes);
        while let Some(frame) = self.next_request() {
            self.handle(&frame);
            // A servo acts on a request at once, not at the next tick.
            self.look();
        }
    }

    /// Brings servos and hinges together without time passing.
    fn look(&mut self) {
        if self.failure.is_none()
            && let Err(error) = self.step(Duration::ZERO)
        {
            self.failure = Some(error);
        }
    }

    /// When the next bytes leave.
    pub fn next_due(&self) -> Option<Duration> {
        self.replies.front().map(|(at, _)| *at)
    }

    /// Bytes that leave until `now`.
    pub fn take_due(&mut self, now: Duration) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.next_due().is_some_and(|at| at <= now) {
            if let Some((_, part)) = self.replies.pop_front() {
                bytes.extend(part);
            }
        }
        bytes
    }

    /// The next request with a right checksum: id, instruction, parameters.
    fn next_request(&mut self) -> Option<Vec<u8>> {
        loop {
            let start = self.request.iter().position(|byte| *byte == 0xFF);
            self.request.drain(..start.unwrap_or(self.request.len()));
            let [_, second, id, length, ..] = self.request[..] else {
                return None;
            };
            let total = usize::from(length) + 4;
            if second != 0xFF || id == 0xFF || length < 2 || total > codec::MAX_FRAME {
                self.request.remove(0);
                continue;
            }
            if self.request.len() < total {
                return None;
            }
            if codec::checksum(&self.request[2..total - 1]) != self.request[total - 1] {
                self.request.remove(0);
                continue;
            }
            let frame: Vec<u8> = self.request.drain(..total).collect();
            return Some(frame);
        }
    }

    fn handle(&mut self, frame: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        let (id, parameters) = (frame[2], &frame[5..frame.len() - 1]);
        let at = self.now + self.wire(frame.len());
        match (frame[4], parameters) {
            (instruction::SYNC_READ, [address, length, ids @ ..]) => {
                let slot = self.wire(codec::status_length(*length) + 3);
                for (index, id) in ids.iter().enumerate() {
                    for joint in self.hearing(*id) {
                        let data = self.servos[joint].read(*address, *length);
                        self.reply(joint, &data, at + slot * index as u32);
                    }
                }
            }
            (instruction::SYNC_WRITE, [address, length, blocks @ ..]) if *length > 0 => {
                for block in blocks.chunks_exact(usize::from(*length) + 1) {
                    for joint in self.hearing(block[0]) {
                        self.servos[joint].write(*address, &block[1..]);
                    }
                }
            }
            (instruction::PING, []) => {
                for (place, joint) in self.hearing(id).into_iter().enumerate() {
                    self.reply(joint, &[], at + PING_SLOT * place as u32);
                }
            }
            (instruction::READ, [address, length]) if id != codec::BROADCAST => {
                for joint in self.hearing(id) {
                    let data = self.servos[joint].read(*address, *length);
                    self.reply(joint, &data, at);
                }
            }
            (kind @ (instruction::WRITE | REG_WRITE), [address, data @ ..]) => {
                for joint in self.hearing(id) {
                    let acknowledges = self.servos[joint].acknowledges() && id != codec::BROADCAST;
                    if kind == REG_WRITE {
                        self.servos[joint].register_write(*address, data);
                    } else {
                        self.servos[joint].write(*address, data);
                    }
                    if acknowledges {
                        self.reply(joint, &[], at);
                    }
                }
            }
            (ACTION, []) => {
                for joint in self.hearing(id) {
                    self.servos[joint].act();
                }
            }
            _ => {}
        }
    }

    /// The joints whose servos hear this address.
    fn hearing(&self, id: u8) -> Vec<usize> {
        (0..self.servos.len())
            .filter(|joint| {
                let servo = &self.servos[*joint];
                (id == codec::BROADCAST || servo.id() == id)
                    && servo.baud() == self.speed
                    && !self.faults.of_servo(*joint).silent
            })
            .collect()
    }

    fn reply(&mut self, joint: usize, data: &[u8], at: Duration) {
        let servo = &self.servos[joint];
        let Some(id) = ServoId::new(servo.id()) else {
            return;
        };
        let Ok(frame) = codec::status(id, Alarms::from_bits(servo.alarms()), data) else {
            return;
        };
        let fault = self.faults.script.pop_front().unwrap_or(ReplyFault::Pass);
        let (copies, delay) = fault.apply(frame);
        let mut at = at + self.faults.latency + delay;
        for mut copy in copies {
            copy.retain(|_| {
                !self
                    .rng
                    .random_bool(self.faults.drop_probability.clamp(0.0, 1.0))
            });
            for byte in &mut copy {
                if self
                    .rng
                    .random_bool(self.faults.flip_probability.clamp(0.0, 1.0))
                {
                    *byte ^= 1 << self.rng.random_range(0..8);
                }
            }
            if self.faults.dribble.is_zero() {
                at += self.wire(copy.len());
                self.send_at(at, copy);
            } else {
                for byte in copy {
                    at += self.faults.dribble;
                    self.send_at(at, vec![byte]);
                }
            }
        }
    }

    /// Keeps the queue in the order of time, and of sending where times are equal.
    fn send_at(&mut self, at: Duration, bytes: Vec<u8>) {
        let place = self.replies.partition_point(|(other, _)| *other <= at);
        self.replies.insert(place, (at, bytes));
    }

    fn wire(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 * 10.0 / f64::from(self.speed.max(1)))
    }
}
