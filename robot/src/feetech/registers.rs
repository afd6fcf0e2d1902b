//! The STS3215 control table as typed constants.
//!
//! What may be done with a register is part of its type: a [`ReadOnly`] one has no payload, an [`Eeprom`] one is only written by
//! the unlocking, verifying [`Bus::store`](super::Bus::store). Torque, goal and mode are read-only in public: torque can only be
//! switched off ([`TORQUE_OFF`]), and the arm's driver alone can switch it on or set a goal. The two values that could ruin a
//! calibration (128 in the torque register, the factory reset instruction) exist nowhere in this crate.
//!
//! What must not be said does not compile:
//!
//! ```compile_fail
//! use rapport_robot::feetech::registers::TORQUE;
//! TORQUE.payload(128); // would make the present position the middle for good
//! ```
//! ```compile_fail
//! use rapport_robot::feetech::registers::GOAL_POSITION;
//! GOAL_POSITION.payload(2048); // would switch torque on and move, past the guard
//! ```
//! ```compile_fail
//! use rapport_robot::feetech::registers::{HOMING_OFFSET, SignMagnitude};
//! HOMING_OFFSET.payload(SignMagnitude::default()); // only `Bus::store` writes what survives power-off
//! ```
//!
//! What may be said does:
//!
//! ```
//! use rapport_robot::feetech::registers::{TORQUE_LIMIT, TORQUE_OFF};
//! assert_eq!(TORQUE_LIMIT.payload(500).bytes(), [244, 1]);
//! assert_eq!(TORQUE_OFF.bytes(), [0]);
//! ```

use std::marker::PhantomData;

use super::codec::ServoId;

/// Encoder steps in one turn of the output shaft.
pub const STEPS_PER_TURN: f64 = 4096.0;

/// Model number of the STS3215.
pub const MODEL_STS3215: u16 = 777;

/// One past the last register that a read may cover; a longer one comes back truncated.
pub const TABLE_END: u8 = 0x57;

/// In the phase register: positions count several turns.
pub const MULTI_TURN: u8 = 0x10;

/// Ampere per unit of the current registers.
pub const AMPERE_PER_UNIT: f64 = 0.0065;

/// Volt per unit of the voltage registers.
pub const VOLT_PER_UNIT: f64 = 0.1;

/// A number stored as a sign bit at bit `BIT` and a magnitude below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignMagnitude<const BIT: u32>(i16);

impl<const BIT: u32> SignMagnitude<BIT> {
    /// Largest magnitude.
    pub const MAX: i32 = (1 << BIT) - 1;

    /// `None` when the magnitude does not fit.
    pub const fn new(value: i32) -> Option<Self> {
        if value < -Self::MAX || value > Self::MAX {
            None
        } else {
            Some(Self(value as i16))
        }
    }

    /// The number.
    pub const fn get(self) -> i32 {
        self.0 as i32
    }

    /// As stored in the servo.
    pub const fn to_raw(self) -> u16 {
        let sign = if self.0 < 0 { 1u16 << BIT } else { 0 };
        sign | self.0.unsigned_abs()
    }

    /// From the servo. Bits above the sign are ignored; minus zero is zero.
    pub const fn from_raw(raw: u16) -> Self {
        let magnitude = (raw & ((1u32 << BIT) - 1) as u16) as i16;
        if raw & (1u16 << BIT) != 0 {
            Self(-magnitude)
        } else {
            Self(magnitude)
        }
    }
}

/// State of the torque switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torque {
    /// Limp.
    Off,
    /// Holding its goal.
    On,
}

/// Operating mode. Arms use [`Mode::Position`] and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Goes to the goal position.
    Position,
    /// Turns for ever at the goal speed.
    Velocity,
    /// Applies a share of the supply voltage.
    Pwm,
    /// Goal positions are relative steps.
    Step,
}

/// Whether writes to the EEPROM registers persist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// They do.
    Open,
    /// They do not.
    Closed,
}

/// Bus speeds. Indices 5 to 7 are the manufacturer's, which differ from several open drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BaudRate {
    B1000000,
    B500000,
    B250000,
    B128000,
    B115200,
    B76800,
    B57600,
    B38400,
}

impl BaudRate {
    /// All of them, in the order of their register value.
    pub const ALL: [Self; 8] = [
        Self::B1000000,
        Self::B500000,
        Self::B250000,
        Self::B128000,
        Self::B115200,
        Self::B76800,
        Self::B57600,
        Self::B38400,
    ];

    /// Bits per second.
    pub const fn bits_per_second(self) -> u32 {
        match self {
            Self::B1000000 => 1_000_000,
            Self::B500000 => 500_000,
            Self::B250000 => 250_000,
            Self::B128000 => 128_000,
            Self::B115200 => 115_200,
            Self::B76800 => 76_800,
            Self::B57600 => 57_600,
            Self::B38400 => 38_400,
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A value that a register can hold. Sealed: the table below is complete.
pub trait RegisterValue: Copy + PartialEq + std::fmt::Debug + sealed::Sealed {
    /// Bytes in the table, 1 or 2.
    const SIZE: u8;

    /// Little-endian; only the first [`Self::SIZE`] bytes count.
    fn to_bytes(self) -> [u8; 2];

    /// `None` when the bytes are too few or mean nothing.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

macro_rules! one_byte {
    ($type:ty, $to:expr, $from:expr) => {
        impl sealed::Sealed for $type {}
        impl RegisterValue for $type {
            const SIZE: u8 = 1;
            fn to_bytes(self) -> [u8; 2] {
                let to: fn($type) -> u8 = $to;
                [to(self), 0]
            }
            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let from: fn(u8) -> Option<$type> = $from;
                from(*bytes.first()?)
            }
        }
    };
}

one_byte!(u8, |v| v, Some);
one_byte!(ServoId, |v| v.get(), ServoId::new);
one_byte!(BaudRate, |v| v as u8, |b| BaudRate::ALL
    .get(usize::from(b))
    .copied());
one_byte!(Torque, |v| v as u8, |b| match b {
    0 => Some(Torque::Off),
    1 => Some(Torque::On),
    _ => None,
});
one_byte!(Lock, |v| v as u8, |b| match b {
    0 => Some(Lock::Open),
    1 => Some(Lock::Closed),
    _ => None,
});
one_byte!(Mode, |v| v as u8, |b| match b {
    0 => Some(Mode::Position),
    1 => Some(Mode::Velocity),
    2 => Some(Mode::Pwm),
    3 => Some(Mode::Step),
    _ => None,
});

impl sealed::Sealed for u16 {}
impl RegisterValue for u16 {
    const SIZE: u8 = 2;

    fn to_bytes(self) -> [u8; 2] {
        self.to_le_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|b| u16::from_le_bytes(*b))
    }
}

impl<const BIT: u32> sealed::Sealed for SignMagnitude<BIT> {}
impl<const BIT: u32> RegisterValue for SignMagnitude<BIT> {
    const SIZE: u8 = 2;

    fn to_bytes(self) -> [u8; 2] {
        self.to_raw().to_le_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        u16::from_bytes(bytes).map(Self::from_raw)
    }
}

/// Marks registers that nobody writes, or nobody outside the driver.
#[derive(Clone, Copy, Debug)]
pub struct ReadOnly;

/// Marks registers that forget at power-off and may be written at any time.
#[derive(Clone, Copy, Debug)]
pub struct Ram;

/// Marks registers that survive power-off and wear out with writing.
#[derive(Clone, Copy, Debug)]
pub struct Eeprom;

/// One register: name, address, the type of its value and what may be done with it.
#[derive(Debug)]
pub struct Register<T, A> {
    name: &'static str,
    address: u8,
    marker: PhantomData<fn() -> (T, A)>,
}

impl<T, A> Clone for Register<T, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, A> Copy for Register<T, A> {}

impl<T: RegisterValue, A> Register<T, A> {
    const fn new(name: &'static str, address: u8) -> Self {
        Self {
            name,
            address,
            marker: PhantomData,
        }
    }

    /// Name for messages.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// First address.
    pub const fn address(self) -> u8 {
        self.address
    }

    /// Bytes it takes in the table.
    pub const fn size(self) -> u8 {
        T::SIZE
    }

    /// The register's value inside a block of the table that begins at `base`; `None` when it is not all there or means nothing.
    pub fn in_block(self, base: u8, block: &[u8]) -> Option<T> {
        let at = usize::from(self.address.checked_sub(base)?);
        T::from_bytes(block.get(at..at + usize::from(T::SIZE))?)
    }

    pub(super) fn encode(self, value: T) -> Payload {
        Payload {
            address: self.address,
            bytes: value.to_bytes(),
            size: T::SIZE,
        }
    }
}

impl<T: RegisterValue> Register<T, Ram> {
    /// The bytes of a write.
    pub fn payload(self, value: T) -> Payload {
        self.encode(value)
    }
}

/// A register and its new value: the only thing that can be written to a servo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    address: u8,
    bytes: [u8; 2],
    size: u8,
}

impl Payload {
    /// First address.
    pub const fn address(&self) -> u8 {
        self.address
    }

    /// The bytes, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size)]
    }
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident: $type:ty, $access:ty = $address:expr;)*) => {
        $($(#[$doc])* pub const $name: Register<$type, $access> = Register::new(stringify!($name), $address);)*

        /// Name, address and size of every register in this table, for tools that print it.
        pub const TABLE: &[(&str, u8, u8)] = &[$((stringify!($name), $address, <$type as RegisterValue>::SIZE)),*];
    };
}

table! {
    /// Firmware version, major.
    FIRMWARE_MAJOR: u8, ReadOnly = 0;
    /// Firmware version, minor.
    FIRMWARE_MINOR: u8, ReadOnly = 1;
    /// Model number, [`MODEL_STS3215`].
    MODEL: u16, ReadOnly = 3;
    /// Bus address.
    ID: ServoId, Eeprom = 5;
    /// Bus speed.
    BAUD: BaudRate, Eeprom = 6;
    /// Wait before a reply, 2 µs units.
    RETURN_DELAY: u8, Eeprom = 7;
    /// 0: only pings and reads are answered; 1: writes too.
    RESPONSE_LEVEL: u8, Eeprom = 8;
    /// Smallest goal, steps. Both limits equal: no clamping.
    MIN_POSITION: u16, Eeprom = 9;
    /// Largest goal, steps.
    MAX_POSITION: u16, Eeprom = 11;
    /// Temperature that stops the motor, °C.
    MAX_TEMPERATURE: u8, Eeprom = 13;
    /// Highest supply voltage, 0.1 V.
    MAX_VOLTAGE: u8, Eeprom = 14;
    /// Lowest supply voltage, 0.1 V.
    MIN_VOLTAGE: u8, Eeprom = 15;
    /// Torque limit after power-up, 0.1 %.
    MAX_TORQUE: u16, Eeprom = 16;
    /// Phase options; bit 4: multi-turn feedback.
    PHASE: u8, Eeprom = 18;
    /// Which alarms switch the motor off.
    UNLOADING: u8, Eeprom = 19;
    /// Which alarms light the lamp.
    LED_ALARM: u8, Eeprom = 20;
    /// Proportional gain of the position loop.
    P_GAIN: u8, Eeprom = 21;
    /// Derivative gain of the position loop.
    D_GAIN: u8, Eeprom = 22;
    /// Integral gain of the position loop.
    I_GAIN: u8, Eeprom = 23;
    /// Smallest output that starts the motor, 0.1 %.
    START_FORCE: u16, Eeprom = 24;
    /// Dead zone, clockwise, steps.
    CW_DEAD_ZONE: u8, Eeprom = 26;
    /// Dead zone, counter-clockwise, steps.
    CCW_DEAD_ZONE: u8, Eeprom = 27;
    /// Current that trips the protection, [`AMPERE_PER_UNIT`].
    PROTECTION_CURRENT: u16, Eeprom = 28;
    /// Angular resolution.
    ANGULAR_RESOLUTION: u8, Eeprom = 30;
    /// Present position = actual position - this, steps.
    HOMING_OFFSET: SignMagnitude<11>, Eeprom = 31;
    /// Operating mode; the driver can only set [`Mode::Position`].
    MODE: Mode, ReadOnly = 33;
    /// Torque left after an overload, %.
    PROTECTIVE_TORQUE: u8, Eeprom = 34;
    /// Time in overload before the protection acts, 10 ms.
    PROTECTION_TIME: u8, Eeprom = 35;
    /// Output that counts as overload, %.
    OVERLOAD_TORQUE: u8, Eeprom = 36;
    /// Proportional gain of the velocity loop.
    VELOCITY_P_GAIN: u8, Eeprom = 37;
    /// Time over the protection current before the motor is switched off, 10 ms.
    OVER_CURRENT_TIME: u8, Eeprom = 38;
    /// Integral gain of the velocity loop.
    VELOCITY_I_GAIN: u8, Eeprom = 39;
    /// The torque switch. In public it can only be switched off: [`TORQUE_OFF`].
    TORQUE: Torque, ReadOnly = 40;
    /// Acceleration limit, 100 steps/s² per unit; 0: none.
    ACCELERATION: u8, Ram = 41;
    /// Goal, steps. Writing it also switches torque on, so only the driver does.
    GOAL_POSITION: SignMagnitude<15>, ReadOnly = 42;
    /// Goal time, or the output in mode [`Mode::Pwm`].
    GOAL_TIME: SignMagnitude<10>, ReadOnly = 44;
    /// Speed limit on the way to the goal, steps/s; 0: none.
    GOAL_SPEED: SignMagnitude<15>, ReadOnly = 46;
    /// Torque limit, 0.1 %.
    TORQUE_LIMIT: u16, Ram = 48;
    /// EEPROM lock.
    LOCK: Lock, Ram = 55;
    /// Position, steps.
    PRESENT_POSITION: SignMagnitude<15>, ReadOnly = 56;
    /// Speed, steps/s.
    PRESENT_SPEED: SignMagnitude<15>, ReadOnly = 58;
    /// Share of the largest output, 0.1 %.
    PRESENT_LOAD: SignMagnitude<10>, ReadOnly = 60;
    /// Supply voltage, [`VOLT_PER_UNIT`].
    PRESENT_VOLTAGE: u8, ReadOnly = 62;
    /// Temperature, °C.
    PRESENT_TEMPERATURE: u8, ReadOnly = 63;
    /// A registered write waits for its action instruction.
    WRITE_PENDING: u8, ReadOnly = 64;
    /// The alarm bits of every reply.
    STATUS: u8, ReadOnly = 65;
    /// 1 while moving.
    MOVING: u8, ReadOnly = 66;
    /// Motor current, [`AMPERE_PER_UNIT`].
    PRESENT_CURRENT: SignMagnitude<15>, ReadOnly = 69;
    /// The goal after clamping, steps.
    GOAL_COPY: SignMagnitude<15>, ReadOnly = 71;
    /// Factory block: largest acceleration, 100 steps/s².
    MAX_ACCELERATION: u8, Eeprom = 85;
}

/// Switches torque off.
pub const TORQUE_OFF: Payload = Payload {
    address: TORQUE.address,
    bytes: [0, 0],
    size: 1,
};

/// Switches torque on; the goal must be set to the present position before.
pub(super) const TORQUE_ON: Payload = Payload {
    address: TORQUE.address,
    bytes: [1, 0],
    size: 1,
};

/// Selects [`Mode::Position`], the only mode that can be selected.
pub(super) const POSITION_MODE: Payload = Payload {
    address: MODE.address,
    bytes: [0, 0],
    size: 1,
};

/// A new goal, which also switches torque on. `None` beyond the register's range.
pub(super) fn goal(steps: i32) -> Option<Payload> {
    SignMagnitude::new(steps).map(|value| GOAL_POSITION.encode(value))
}

/// One servo's measurements, from one read of [`Telemetry::LENGTH`] bytes at [`Telemetry::BASE`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Telemetry {
    /// Position, steps.
    pub position: i32,
    /// Speed, steps/s.
    pub speed: i32,
    /// Share of the largest output, `-1..=1`.
    pub load: f64,
    /// Supply voltage, V.
    pub voltage: f64,
    /// Temperature, °C.
    pub temperature: f64,
    /// Motor current, A.
    pub current: f64,
    /// It is moving.
    pub moving: bool,
}

impl Telemetry {
    /// First address of the block.
    pub const BASE: u8 = PRESENT_POSITION.address;

    /// Bytes of the block.
    pub const LENGTH: u8 = PRESENT_CURRENT.address + 2 - Self::BASE;

    /// `None` when the block is too short.
    pub fn from_block(block: &[u8]) -> Option<Self> {
        let base = Self::BASE;
        Some(Self {
            position: PRESENT_POSITION.in_block(base, block)?.get(),
            speed: PRESENT_SPEED.in_block(base, block)?.get(),
            load: f64::from(PRESENT_LOAD.in_block(base, block)?.get()) / 1000.0,
            voltage: f64::from(PRESENT_VOLTAGE.in_block(base, block)?) * VOLT_PER_UNIT,
            temperature: f64::from(PRESENT_TEMPERATURE.in_block(base, block)?),
            current: f64::from(PRESENT_CURRENT.in_block(base, block)?.get()) * AMPERE_PER_UNIT,
            moving: MOVING.in_block(base, block)? != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sign_magnitude_matches_the_values_of_the_datasheet() {
        // -100 steps in a bit-15 register, the two ends of the homing offset, a load of -30 %.
        assert_eq!(
            SignMagnitude::<15>::new(-100).map(|v| v.to_raw()),
            Some(0x8064)
        );
        assert_eq!(SignMagnitude::<15>::from_raw(0x8064).get(), -100);
        assert_eq!(
            SignMagnitude::<11>::new(-2047).map(|v| v.to_raw()),
            Some(0x0FFF)
        );
        assert_eq!(
            SignMagnitude::<11>::new(2047).map(|v| v.to_raw()),
            Some(0x07FF)
        );
        assert_eq!(SignMagnitude::<11>::new(2048), None);
        assert_eq!(SignMagnitude::<10>::from_raw(0x400 | 300).get(), -300);
        assert_eq!(SignMagnitude::<15>::from_raw(0x8000).get(), 0);
    }

    #[test]
    fn registers_lie_side_by_side_without_overlap() {
        for pair in TABLE.windows(2) {
            let ((name, address, size), (next, next_address, _)) = (pair[0], pair[1]);
            assert!(address + size <= next_address, "{name} overlaps {next}");
        }
        let (_, address, size) = TABLE[TABLE.len() - 1];
        assert!(address + size <= TABLE_END);
    }

    #[test]
    fn the_torque_register_knows_only_off_and_on() {
        assert_eq!(Torque::from_bytes(&[128]), None);
        assert_eq!(TORQUE_OFF.bytes(), [0]);
        assert_eq!(TORQUE_ON.bytes(), [1]);
        assert_eq!((TORQUE_ON.address(), POSITION_MODE.bytes()), (40, &[0][..]));
    }

    #[test]
    fn telemetry_reads_every_channel_at_its_place() {
        let mut block = [0u8; 15];
        block[0..2].copy_from_slice(&2048u16.to_le_bytes());
        block[2..4].copy_from_slice(&(0x8000u16 | 150).to_le_bytes());
        block[4..6].copy_from_slice(&(0x400u16 | 250).to_le_bytes());
        block[6] = 74;
        block[7] = 31;
        block[10] = 1;
        block[13..15].copy_from_slice(&100u16.to_le_bytes());
        let t = Telemetry::from_block(&block).unwrap();
        assert_eq!(
            (t.position, t.speed, t.load, t.moving),
            (2048, -150, -0.25, true)
        );
        assert!((t.voltage - 7.4).abs() < 1e-12 && t.temperature == 31.0);
        assert!((t.current - 0.65).abs() < 1e-12);
        assert_eq!(Telemetry::from_block(&block[..14]), None);
    }

    proptest! {
        #[test]
        fn sign_magnitude_round_trips(value in -32767i32..=32767) {
            let coded = SignMagnitude::<15>::new(value).unwrap();
            prop_assert_eq!(SignMagnitude::<15>::from_raw(coded.to_raw()).get(), value);
        }

        #[test]
        fn sign_magnitude_reads_any_bits_within_range(raw in any::<u16>()) {
            prop_assert!(SignMagnitude::<10>::from_raw(raw).get().abs() <= 1023);
            prop_assert!(SignMagnitude::<11>::from_raw(raw).get().abs() <= 2047);
        }
    }
}
