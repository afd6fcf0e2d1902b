//! Finding servos, giving them their ids, and setting them up as an arm's joints.

use serde::Serialize;

use super::bus::{Bus, BusConfig, BusError};
use super::codec::ServoId;
use super::registers::{self, BaudRate, Lock};
use crate::arm::JointKind;
use crate::calibration::{Calibration, CalibrationError};

/// Why a servo could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// No servo answers at any speed.
    #[error("no servo answers on {port} at any bus speed; check the cable and the servo's power")]
    Nobody {
        /// Device path.
        port: String,
    },
    /// More than one does.
    #[error("several servos answer on {port}: {ids:?}; connect only the one to set up")]
    Several {
        /// Device path.
        port: String,
        /// Their ids.
        ids: Vec<ServoId>,
    },
    /// Another servo model.
    #[error("{id} is model {model}, not an STS3215 (777)")]
    Model {
        /// Whose.
        id: ServoId,
        /// Its model number.
        model: u16,
    },
    /// What was measured cannot be a calibration.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
}

/// A servo that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Bus address.
    pub id: u8,
    /// Model number; 777 is the STS3215.
    pub model: u16,
    /// Firmware version.
    pub firmware: (u8, u8),
    /// Bus speed, bits per second.
    pub baud: u32,
}

/// Asks each of these ids once. Servos that are not there cost the bus's turnaround time each.
///
/// Errors: [`BusError`] when the whole bus fails.
pub fn scan(bus: &mut Bus, ids: impl IntoIterator<Item = ServoId>) -> Result<Vec<Found>, BusError> {
    let mut found = Vec::new();
    for id in ids {
        if bus.ping(id)?.is_some() {
            found.push(identify(bus, id)?);
        }
    }
    Ok(found)
}

/// Finds the only servo on a port, at whatever bus speed it is.
///
/// Errors: [`SetupError::Nobody`], [`SetupError::Several`], [`SetupError::Model`], [`SetupError::Bus`].
pub fn find_single(path: &str, config: &BusConfig) -> Result<Found, SetupError> {
    for baud in BaudRate::ALL {
        let mut bus = open_at(path, config, baud)?;
        let ids = bus.broadcast_ping()?;
        match ids[..] {
            [] => {}
            [id] => {
                let found = identify(&mut bus, id)?;
                if found.model != registers::MODEL_STS3215 {
                    return Err(SetupError::Model {
                        id,
                        model: found.model,
                    });
                }
                return Ok(found);
            }
            _ => {
                return Err(SetupError::Several {
                    port: path.to_owned(),
                    ids,
                });
            }
        }
    }
    Err(SetupError::Nobody {
        port: path.to_owned(),
    })
}

/// Gives the only servo on a port an id and the bus speed of `config`, for good, and reads both back.
///
/// Errors: as [`find_single`]; [`BusError::NotStored`] when the servo does not keep them.
pub fn assign(path: &str, config: &BusConfig, id: ServoId) -> Result<Found, SetupError> {
    let found = find_single(path, config)?;
    let wanted = BaudRate::ALL
        .into_iter()
        .find(|baud| baud.bits_per_second() == config.baud)
        .unwrap_or(BaudRate::B1000000);
    let present = BaudRate::ALL
        .into_iter()
        .find(|baud| baud.bits_per_second() == found.baud)
        .unwrap_or(wanted);
    let old = ServoId::new(found.id).unwrap_or(id);
    let mut bus = open_at(path, config, present)?;
    bus.torque_off(old)?;
    bus.store(old, registers::ID, id)?;
    if present != wanted {
        bus.write(id, registers::LOCK, Lock::Open)?;
        // The servo answers at the new speed from here on, so the reading back is done there.
        bus.write_unheard(id, registers::BAUD.encode(wanted))?;
        drop(bus);
        bus = open_at(path, config, wanted)?;
        bus.write(id, registers::LOCK, Lock::Closed)?;
    }
    let found = identify(&mut bus, id)?;
    Ok(found)
}

/// Sets a servo up as a joint, for good, with LeRobot's values: position mode, one turn, answers at once, softer gains; a gripper
/// with half its torque and early protection. Torque is off afterwards. What already holds is not written again.
///
/// Errors: [`BusError`].
pub fn configure(bus: &mut Bus, id: ServoId, kind: JointKind) -> Result<(), BusError> {
    bus.torque_off(id)?;
    bus.store_payload(id, registers::POSITION_MODE)?;
    let phase = bus.read(id, registers::PHASE)?;
    bus.store(id, registers::PHASE, phase & !registers::MULTI_TURN)?;
    bus.store(id, registers::RETURN_DELAY, 0)?;
    bus.store(id, registers::RESPONSE_LEVEL, 1)?;
    bus.store(id, registers::P_GAIN, 16)?;
    bus.store(id, registers::I_GAIN, 0)?;
    bus.store(id, registers::D_GAIN, 32)?;
    bus.store(id, registers::MAX_ACCELERATION, 254)?;
    if kind == JointKind::Gripper {
        bus.store(id, registers::MAX_TORQUE, 500)?;
        bus.store(id, registers::PROTECTION_CURRENT, 250)?;
        bus.store(id, registers::OVERLOAD_TORQUE, 25)?;
    }
    Ok(())
}

/// Writes a calibration's offsets and ranges into the servos, for good. Torque must be off.
///
/// Errors: [`BusError`].
pub fn store_calibration(bus: &mut Bus, calibration: &Calibration) -> Result<(), BusError> {
    for (_, motor) in calibration.motors() {
        let (Some(id), Some(offset), Ok(low), Ok(high)) = (
            ServoId::new(motor.id),
            registers::SignMagnitude::new(motor.homing_offset),
            u16::try_from(motor.range_min),
            u16::try_from(motor.range_max),
        ) else {
            // A calibration has been checked when it was made.
            continue;
        };
        bus.store(id, registers::HOMING_OFFSET, offset)?;
        bus.store(id, registers::MIN_POSITION, low)?;
        bus.store(id, registers::MAX_POSITION, high)?;
    }
    Ok(())
}

fn open_at(path: &str, config: &BusConfig, baud: BaudRate) -> Result<Bus, BusError> {
    let config = BusConfig {
        baud: baud.bits_per_second(),
        ..config.clone()
    };
    Bus::open(path, config)
}

fn identify(bus: &mut Bus, id: ServoId) -> Result<Found, BusError> {
    Ok(Found {
        id: bus.read(id, registers::ID)?.get(),
        model: bus.read(id, registers::MODEL)?,
        firmware: (
            bus.read(id, registers::FIRMWARE_MAJOR)?,
            bus.read(id, registers::FIRMWARE_MINOR)?,
        ),
        baud: bus.config().baud,
    })
}
