//! Feetech STS servos on a serial bus: frames, registers, transactions, and the SO-101 arm made of them.
//!
//! | file | idea |
//! |---|---|
//! | [`codec`] | bytes of requests and status replies; a parser that survives any input |
//! | [`registers`] | the STS3215 control table as typed constants; dangerous values do not exist |
//! | [`transport`] | what carries the bytes, and what can be wrong with it |
//! | [`bus`] | transactions with hard deadlines, retries, partial results, statistics |
//! | [`arm`] | the SO-101 as a [`crate::Arm`] |
//! | [`setup`] | finding servos, giving them ids, setting them up |
//! | [`calibrate`] | from a limp arm to a calibration |
//!
//! Facts are from the manufacturer's protocol manual and memory table (STS3215) and from open drivers and firmware for it.

pub mod arm;
pub mod bus;
pub mod calibrate;
pub mod codec;
pub mod registers;
pub mod setup;
pub mod transport;

pub use arm::{FeetechArm, FeetechConfig, Reading};
pub use bus::{Bus, BusConfig, BusError, BusStats, Reply};
pub use codec::{Alarms, ServoId};
pub use transport::{PortError, PortInfo, SerialTransport, Transport, list_ports};
