//! A servo bus with simulated STS3215 servos on it: the twin of an arm, byte for byte.
//!
//! A driver that speaks Feetech's protocol cannot tell it from the real thing: [`ServoBus`] is a serial port (a pseudo-terminal),
//! every servo has its complete control table, and the joints behind the horns are whatever implements [`JointPlant`], first of
//! all the arm of a MuJoCo [`World`](crate::World). [`VirtualBus`] is the same bus in virtual time, for tests that need
//! thousands of runs or exact timing. [`Faults`] damages bytes and servos.
//!
//! | file | idea |
//! |---|---|
//! | [`plant`] | what the servos' horns are fixed to |
//! | [`servo`] | one servo: control table, motion, protections |
//! | [`chain`] | the servos on one wire: requests in, replies out, with their timing |
//! | [`faults`] | what can go wrong, on the wire and in a servo |
//! | [`port`] | the chain as a serial port, or as a transport in virtual time |
//!
//! Where the manuals and the known firmware leave a question open, the twin does the more dangerous of the two: switching torque
//! on drives to a stale goal, and a register write to a locked EEPROM acts until the power is cut.

pub mod chain;
pub mod faults;
pub mod plant;
pub mod port;
pub mod servo;

pub use chain::{ServoBusConfig, ServoChain};
pub use faults::{Faults, ReplyFault, ServoFaults};
pub use plant::{JointPlant, JointReading, PlantError, WorldPlant};
pub use port::{ServoBus, ServoBusError, VirtualBus, VirtualPort};
pub use servo::{Servo, ServoConfig};

#[cfg(test)]
mod driver_tests;
#[cfg(test)]
mod setup_tests;
#[cfg(test)]
mod twin_tests;
