//! One simulated STS3215: control table, motion towards the goal, protections.
//!
//! Behaviour from the manufacturer's memory table and from published measurements of the servo and its firmware.

use std::f64::consts::TAU;
use std::time::Duration;

use rapport_robot::feetech::registers::{
    self, AMPERE_PER_UNIT, BaudRate, MULTI_TURN, Mode, STEPS_PER_TURN, SignMagnitude, TABLE_END,
    VOLT_PER_UNIT,
};

use super::faults::ServoFaults;
use super::plant::{JointPlant, JointReading, PlantError};
use crate::arm_mjcf::MAX_SERVO_TORQUE;
use crate::world::Torque;

/// Bytes of the control table.
const TABLE: usize = TABLE_END as usize;

/// Registers below this survive power-off.
const EEPROM: usize = registers::TORQUE.address() as usize;

/// No-load speed, steps/s.
const MAX_SPEED: f64 = 3073.0;

/// Steps/s² per unit of the acceleration register.
const ACCELERATION_UNIT: f64 = 100.0;

/// Current at full torque, A.
const STALL_CURRENT: f64 = 2.5;

/// Temperature of a servo that rests, °C.
const AMBIENT: f64 = 28.0;

/// How much hotter a servo gets at full torque, kelvin, and how fast, s.
const HEATING: f64 = 50.0;
const HEATING_TIME: f64 = 120.0;

/// Resistance of supply and cable, ohm, for the voltage that a servo sees under its own load.
const SUPPLY_RESISTANCE: f64 = 0.15;

/// Kelvin below its limit at which an overheated servo works again.
const COOL_DOWN: f64 = 5.0;

/// Distance from its setpoint at which a servo pushes with all its torque, rad: the stiffness of the arm model's drives.
const SATURATION: f64 = MAX_SERVO_TORQUE / 17.8;

/// Slower than this it does not move, steps/s.
const STANDSTILL: f64 = 40.0;

/// Alarm bits.
const OVER_CURRENT: u8 = 1 << 3;
const OVERLOAD: u8 = 1 << 5;

/// Unit of the protections' times, s.
const TRIP_UNIT: f64 = 0.01;

/// Writing this to the torque register makes the present position the middle of the encoder.
const RECENTRE: u8 = 128;

/// How a servo is built into its joint and set up.
#[derive(Clone, Debug, PartialEq)]
pub struct ServoConfig {
    /// Bus address.
    pub id: u8,
    /// Bus speed.
    pub baud: BaudRate,
    /// Encoder step (without offset) where the hinge is at `mount_angle`.
    pub mount_step: f64,
    /// Hinge angle where the encoder is at `mount_step`, rad.
    pub mount_angle: f64,
    /// Homing offset, steps.
    pub homing_offset: i32,
    /// Smallest and largest goal, steps.
    pub limits: (u16, u16),
    /// Torque limit after power-up, 0.1 %.
    pub max_torque: u16,
    /// Supply voltage without load, V.
    pub supply: f64,
    /// Model number.
    pub model: u16,
    /// Firmware version.
    pub firmware: (u8, u8),
}

/// One servo.
#[derive(Clone, Debug)]
pub struct Servo {
    config: ServoConfig,
    table: [u8; TABLE],
    flash: [u8; EEPROM],
    registered: Option<(u8, Vec<u8>)>,
    /// Where the motion has got to on its way to the goal, present steps.
    setpoint: f64,
    /// Its speed, steps/s.
    setpoint_speed: f64,
    temperature: f64,
    overheated: bool,
    /// How long it has pushed against something that does not give way, and how long its current has been too high, s.
    strained: f64,
    flooded: f64,
    /// Tripped: it pushes with its protective torque only, until torque is switched off.
    overloaded: bool,
    /// Tripped: it has switched its torque off, and says so until it is switched on again.
    burnt: bool,
    /// Where its hinge is jammed, and the load with which it pushes there.
    jam: Option<(f64, f64)>,
    reading: JointReading,
    faults: ServoFaults,
}

impl Servo {
    /// A servo that has just been powered up.
    pub fn new(config: ServoConfig) -> Self {
        let mut flash = [0u8; EEPROM];
        let mut put = |address: u8, bytes: &[u8]| {
            let at = usize::from(address);
            flash[at..at + bytes.len()].copy_from_slice(bytes);
        };
        let (major, minor) = config.firmware;
        put(registers::FIRMWARE_MAJOR.address(), &[major, minor]);
        put(registers::MODEL.address(), &config.model.to_le_bytes());
        put(registers::ID.address(), &[config.id, config.baud as u8]);
        put(registers::RESPONSE_LEVEL.address(), &[1]);
        put(
            registers::MIN_POSITION.address(),
            &config.limits.0.to_le_bytes(),
        );
        put(
            registers::MAX_POSITION.address(),
            &config.limits.1.to_le_bytes(),
        );
        put(registers::MAX_TEMPERATURE.address(), &[70, 140, 40]);
        put(
            registers::MAX_TORQUE.address(),
            &config.max_torque.to_le_bytes(),
        );
        put(registers::UNLOADING.address(), &[0x2C, 0x2C, 16, 32, 0]);
        put(registers::START_FORCE.address(), &[16, 0, 1, 1]);
        put(
            registers::PROTECTION_CURRENT.address(),
            &310u16.to_le_bytes(),
        );
        put(registers::ANGULAR_RESOLUTION.address(), &[1]);
        let offset = SignMagnitude::<11>::new(config.homing_offset).unwrap_or_default();
        put(
            registers::HOMING_OFFSET.address(),
            &offset.to_raw().to_le_bytes(),
        );
        put(
            registers::PROTECTIVE_TORQUE.address(),
            &[20, 200, 80, 10, 200, 10],
        );
        let mut servo = Self {
            config,
            table: [0; TABLE],
            flash,
            registered: None,
            setpoint: 0.0,
            setpoint_speed: 0.0,
            temperature: AMBIENT,
            overheated: false,
            strained: 0.0,
            flooded: 0.0,
            overloaded: false,
            burnt: false,
            jam: None,
            reading: JointReading::default(),
            faults: ServoFaults::default(),
        };
        servo.power_up();
        servo
    }

    /// What a brown-out or a new power-up leaves: permanent registers as stored, torque off, goal 0, lock closed.
    pub fn power_up(&mut self) {
        self.table = [0; TABLE];
        self.table[..EEPROM].copy_from_slice(&self.flash);
        let max_torque = self.word(registers::MAX_TORQUE.address());
        self.put(registers::TORQUE_LIMIT.address(), &max_torque.to_le_bytes());
        self.put(registers::LOCK.address(), &[1]);
        self.put(
            registers::MAX_ACCELERATION.address() - 3,
            &[1, 0, 0, 254, 1],
        );
        self.registered = None;
        (self.overheated, self.overloaded, self.burnt) = (false, false, false);
        (self.strained, self.flooded) = (0.0, 0.0);
    }

    /// Bus address.
    pub fn id(&self) -> u8 {
        self.byte(registers::ID.address())
    }

    /// Bus speed, bits per second.
    pub fn baud(&self) -> u32 {
        let index = usize::from(self.byte(registers::BAUD.address()));
        let known = BaudRate::ALL.get(index).copied();
        known.unwrap_or(BaudRate::B1000000).bits_per_second()
    }

    /// The torque switch.
    pub fn torque(&self) -> Torque {
        if self.byte(registers::TORQUE.address()) == 0 {
            Torque::Off
        } else {
            Torque::On
        }
    }

    /// The goal that it moves to, steps, after its own limits.
    pub fn goal(&self) -> i32 {
        let goal = self.signed::<15>(registers::GOAL_POSITION.address());
        let low = i32::from(self.word(registers::MIN_POSITION.address()));
        let high = i32::from(self.word(registers::MAX_POSITION.address()));
        // Equal limits mean none.
        if low < high {
            goal.clamp(low, high)
        } else {
            goal
        }
    }

    /// The control table with the measurements filled in.
    pub fn table(&self) -> [u8; TABLE_END as usize] {
        let mut table = self.table;
        let mut put = |address: u8, bytes: &[u8]| {
            let at = usize::from(address);
            table[at..at + bytes.len()].copy_from_slice(bytes);
        };
        let speed = (self.reading.velocity * STEPS_PER_TURN / TAU).round() as i32;
        let load = (self.reading.load * 1000.0).round() as i32;
        let current = (self.current() / AMPERE_PER_UNIT).round() as i32;
        let moving = u8::from(speed.abs() > 10);
        put(
            registers::PRESENT_POSITION.address(),
            &coded::<15>(self.present()),
        );
        put(registers::PRESENT_SPEED.address(), &coded::<15>(speed));
        put(registers::PRESENT_LOAD.address(), &coded::<10>(load));
        let voltage = (self.voltage() / VOLT_PER_UNIT).round() as u8;
        put(registers::PRESENT_VOLTAGE.address(), &[voltage]);
        put(
            registers::PRESENT_TEMPERATURE.address(),
            &[self.temperature().round() as u8],
        );
        put(
            registers::WRITE_PENDING.address(),
            &[u8::from(self.registered.is_some()), self.alarms(), moving],
        );
        put(registers::PRESENT_CURRENT.address(), &coded::<15>(current));
        put(registers::GOAL_COPY.address(), &coded::<15>(self.goal()));
        table
    }

    /// The status byte of its replies.
    pub fn alarms(&self) -> u8 {
        let mut alarms = self.faults.alarms;
        let volts = (self.voltage() / VOLT_PER_UNIT).round() as u8;
        let low = self.byte(registers::MIN_VOLTAGE.address());
        let high = self.byte(registers::MAX_VOLTAGE.address());
        alarms |= u8::from(volts < low || volts > high);
        alarms |= u8::from(self.overheated) << 2;
        alarms |= if self.overloaded { OVERLOAD } else { 0 };
        alarms | if self.burnt { OVER_CURRENT } else { 0 }
    }

    /// Torque on, holding where it is, as an earlier program left it.
    pub(super) fn hold(&mut self) {
        let goal = coded::<15>(self.present());
        self.put(registers::GOAL_POSITION.address(), &goal);
        self.put(registers::TORQUE.address(), &[1]);
    }

    /// What is wrong with it from now on.
    pub(super) fn suffer(&mut self, faults: ServoFaults) {
        self.faults = faults;
    }

    /// It answers writes.
    pub(super) fn acknowledges(&self) -> bool {
        self.byte(registers::RESPONSE_LEVEL.address()) != 0
    }

    /// Bytes for a read; fewer than asked for beyond the table's end.
    pub(super) fn read(&self, address: u8, length: u8) -> Vec<u8> {
        let table = self.table();
        let start = usize::from(address).min(TABLE);
        let end = (start + usize::from(length)).min(TABLE);
        table[start..end].to_vec()
    }

    /// Keeps a write for [`Self::act`].
    pub(super) fn register_write(&mut self, address: u8, data: &[u8]) {
        if !self.faults.deaf {
            self.registered = Some((address, data.to_vec()));
        }
    }

    /// Carries out a kept write.
    pub(super) fn act(&mut self) {
        if let Some((address, data)) = self.registered.take() {
            self.write(address, &data);
        }
    }

    /// A write. Addresses that nobody may write keep their values.
    pub(super) fn write(&mut self, address: u8, data: &[u8]) {
        if self.faults.deaf {
            return;
        }
        let start = usize::from(address);
        let mode = self.byte(registers::MODE.address());
        let unlocked = self.byte(registers::LOCK.address()) == 0;
        for (at, &value) in (start..TABLE).zip(data) {
            if !writable(at) {
                continue;
            }
            if at == usize::from(registers::TORQUE.address()) && value == RECENTRE {
                self.recentre();
                continue;
            }
            self.table[at] = value;
            if at < EEPROM && unlocked {
                self.flash[at] = value;
            }
        }
        let covers = |register: u8| (start..start + data.len()).contains(&usize::from(register));
        if self.byte(registers::MODE.address()) != mode {
            self.put(registers::TORQUE.address(), &[0, 0]);
            self.put(registers::GOAL_SPEED.address(), &[0, 0]);
        }
        let stepping = matches!(self.byte(registers::MODE.address()), 0 | 3);
        if covers(registers::GOAL_POSITION.address()) && stepping {
            self.put(registers::TORQUE.address(), &[1]);
        }
    }

    /// Takes the offset that makes the present position the middle, for good.
    fn recentre(&mut self) {
        let offset = (self.actual().round() as i32 - 2048).clamp(-2047, 2047);
        let bytes = coded::<11>(offset);
        let at = usize::from(registers::HOMING_OFFSET.address());
        self.table[at..at + 2].copy_from_slice(&bytes);
        self.flash[at..at + 2].copy_from_slice(&bytes);
    }

    /// One step of time: measures the hinge, moves the setpoint, drives the plant.
    pub(super) fn advance(
        &mut self,
        joint: usize,
        plant: &mut dyn JointPlant,
        dt: Duration,
    ) -> Result<(), PlantError> {
        self.reading = plant.measure(joint)?;
        if let Some((_, load)) = self.jam {
            self.reading.load = load;
        }
        let dt = dt.as_secs_f64();
        let heat = HEATING * self.reading.load * self.reading.load;
        self.temperature += (AMBIENT + heat - self.temperature) * (dt / HEATING_TIME).min(1.0);
        let limit = f64::from(self.byte(registers::MAX_TEMPERATURE.address()));
        let trips = self.byte(registers::UNLOADING.address()) & 4 != 0;
        self.overheated = trips
            && (self.temperature() > limit
                || self.overheated && self.temperature() > limit - COOL_DOWN);
        self.protect(dt);
        let mode = self.byte(registers::MODE.address());
        let drives = self.torque() == Torque::On && !self.overheated && mode != Mode::Pwm as u8;
        if !drives {
            self.setpoint = self.present_exact();
            self.setpoint_speed = 0.0;
            return plant.set_torque(joint, Torque::Off);
        }
        let speed = self.signed::<15>(registers::GOAL_SPEED.address());
        if mode == Mode::Velocity as u8 {
            self.setpoint_speed = f64::from(speed).clamp(-MAX_SPEED, MAX_SPEED);
            self.setpoint += self.setpoint_speed * dt;
        } else {
            self.approach(f64::from(speed.abs()), dt);
        }
        // Relative to where the encoder says it is: that is all the servo knows, and with a broken encoder it runs away.
        let mut error = (self.setpoint - self.present_exact()) * TAU / STEPS_PER_TURN;
        let share = self.strength();
        if share < 1.0 {
            error = error.clamp(-share * SATURATION, share * SATURATION);
        }
        if self.faults.reversed {
            error = -error;
        }
        if self.faults.jammed {
            let at = self.jam.map_or(self.reading.angle, |(at, _)| at);
            self.jam = Some((at, (error / SATURATION).clamp(-share, share)));
            plant.set_goal(joint, at)?;
        } else {
            self.jam = None;
            plant.set_goal(joint, self.reading.angle + error)?;
        }
        plant.set_torque(joint, Torque::On)
    }

    /// The share of its torque that it may use, by the torque limit register and its own protection.
    fn strength(&self) -> f64 {
        let limit = f64::from(self.word(registers::TORQUE_LIMIT.address())) / 1000.0;
        if self.overloaded {
            limit.min(f64::from(self.byte(registers::PROTECTIVE_TORQUE.address())) / 100.0)
        } else {
            limit
        }
    }

    /// What the firmware does about a load or a current that lasts.
    fn protect(&mut self, dt: f64) {
        if self.torque() == Torque::Off {
            (self.overloaded, self.strained, self.flooded) = (false, 0.0, 0.0);
            return;
        }
        self.burnt = false;
        let mask = self.byte(registers::UNLOADING.address());
        let time = |servo: &Self, register: u8| f64::from(servo.byte(register)) * TRIP_UNIT;
        let most = f64::from(self.byte(registers::OVERLOAD_TORQUE.address())) / 100.0;
        let speed = self.reading.velocity * STEPS_PER_TURN / TAU;
        let strained = self.reading.load.abs() >= most && speed.abs() < STANDSTILL;
        self.strained = if strained { self.strained + dt } else { 0.0 };
        let patience = time(self, registers::PROTECTION_TIME.address());
        self.overloaded |= mask & OVERLOAD != 0 && strained && self.strained >= patience;
        let limit = f64::from(self.word(registers::PROTECTION_CURRENT.address())) * AMPERE_PER_UNIT;
        let flooded = self.current().abs() > limit;
        self.flooded = if flooded { self.flooded + dt } else { 0.0 };
        let patience = time(self, registers::OVER_CURRENT_TIME.address());
        // Overload is noticed first and then draws less.
        if mask & OVER_CURRENT != 0 && flooded && self.flooded >= patience && !self.overloaded {
            self.put(registers::TORQUE.address(), &[0]);
            self.burnt = true;
        }
    }

    fn current(&self) -> f64 {
        self.faults
            .current
            .unwrap_or(self.reading.load * STALL_CURRENT)
    }

    /// Moves the setpoint towards the goal within the speed and acceleration registers; 0 there means no limit.
    fn approach(&mut self, speed: f64, dt: f64) {
        let top = if speed > 0.0 {
            speed.min(MAX_SPEED)
        } else {
            MAX_SPEED
        };
        let units = f64::from(self.byte(registers::ACCELERATION.address()));
        let way = f64::from(self.goal()) - self.setpoint;
        let mut wanted = top.min(way.abs() / dt.max(1e-9));
        if units > 0.0 {
            let acceleration = units * ACCELERATION_UNIT;
            // The speed from which it can still stop at the goal.
            wanted = way.signum() * wanted.min((2.0 * acceleration * way.abs()).sqrt());
            let most = acceleration * dt;
            self.setpoint_speed += (wanted - self.setpoint_speed).clamp(-most, most);
        } else {
            self.setpoint_speed = way.signum() * wanted;
        }
        let step = self.setpoint_speed * dt;
        if step.abs() >= way.abs() && step * way >= 0.0 {
            self.setpoint = f64::from(self.goal());
            self.setpoint_speed = 0.0;
        } else {
            self.setpoint += step;
        }
    }

    /// Encoder steps without offset, from the hinge angle.
    fn actual(&self) -> f64 {
        let turned = (self.reading.angle - self.config.mount_angle) * STEPS_PER_TURN / TAU;
        self.config.mount_step + turned + f64::from(self.faults.slip)
    }

    /// What the position register says.
    fn present(&self) -> i32 {
        let present = self.present_exact().round() as i32;
        if self.counts_turns() {
            present
        } else {
            present.rem_euclid(STEPS_PER_TURN as i32)
        }
    }

    /// The same between the steps.
    fn present_exact(&self) -> f64 {
        if let Some(frozen) = self.faults.frozen_position {
            return f64::from(frozen);
        }
        let offset = self.signed::<11>(registers::HOMING_OFFSET.address());
        let present = self.actual() - f64::from(offset);
        if self.counts_turns() {
            present
        } else {
            present.rem_euclid(STEPS_PER_TURN)
        }
    }

    fn counts_turns(&self) -> bool {
        self.byte(registers::PHASE.address()) & MULTI_TURN != 0
    }

    fn temperature(&self) -> f64 {
        self.faults.temperature.unwrap_or(self.temperature)
    }

    fn voltage(&self) -> f64 {
        let drop = self.reading.load.abs() * STALL_CURRENT * SUPPLY_RESISTANCE;
        self.faults.voltage.unwrap_or(self.config.supply - drop)
    }

    fn byte(&self, address: u8) -> u8 {
        self.table[usize::from(address)]
    }

    fn word(&self, address: u8) -> u16 {
        u16::from_le_bytes([self.byte(address), self.byte(address + 1)])
    }

    fn signed<const BIT: u32>(&self, address: u8) -> i32 {
        SignMagnitude::<BIT>::from_raw(self.word(address)).get()
    }

    fn put(&mut self, address: u8, bytes: &[u8]) {
        let at = usize::from(address);
        self.table[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

fn coded<const BIT: u32>(value: i32) -> [u8; 2] {
    let max = SignMagnitude::<BIT>::MAX;
    SignMagnitude::<BIT>::new(value.clamp(-max, max))
        .unwrap_or_default()
        .to_raw()
        .to_le_bytes()
}

/// Firmware, model and measurements are not writable.
fn writable(address: usize) -> bool {
    let measured = registers::PRESENT_POSITION.address()..registers::GOAL_COPY.address() + 2;
    address >= usize::from(registers::ID.address())
        && !measured.contains(&u8::try_from(address).unwrap_or(u8::MAX))
}
