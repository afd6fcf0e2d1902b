//! What can go wrong on a servo bus, to be switched on and off while it runs.

use std::collections::VecDeque;
use std::time::Duration;

use rapport_robot::feetech::codec;

/// What happens to one status reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyFault {
    /// Nothing.
    Pass,
    /// It is never sent.
    Lose,
    /// It comes this much later.
    Delay(Duration),
    /// It comes twice.
    Duplicate,
    /// The byte at this place is missing.
    DropByte(usize),
    /// The byte at this place is combined with this mask, and the checksum stays what it was.
    Flip(usize, u8),
    /// The byte at this place is combined with this mask, and the checksum agrees with it.
    Forge(usize, u8),
    /// Its data ends so many bytes early, with length and checksum to match.
    Shorten(usize),
    /// Another servo seems to send it.
    FromId(u8),
    /// These bytes come before it.
    Noise(Vec<u8>),
}

/// What is wrong with one servo.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServoFaults {
    /// It hears and says nothing (unplugged, or another bus speed).
    pub silent: bool,
    /// It hears nothing that is written to it and still answers reads.
    pub deaf: bool,
    /// Alarm bits in every reply.
    pub alarms: u8,
    /// Temperature instead of the modelled one, °C.
    pub temperature: Option<f64>,
    /// Supply voltage instead of the modelled one, V.
    pub voltage: Option<f64>,
    /// The encoder says this and nothing else, steps.
    pub frozen_position: Option<i32>,
    /// The horn has slipped by this many steps.
    pub slip: i32,
    /// Its hinge does not move, whatever it does.
    pub jammed: bool,
    /// Its motor turns the other way round.
    pub reversed: bool,
    /// Motor current instead of the modelled one, A.
    pub current: Option<f64>,
}

/// What is wrong with the bus. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The adapter repeats what it is sent.
    pub echo: bool,
    /// Every reply comes this much later.
    pub latency: Duration,
    /// Time between the bytes of a reply; zero: they come together.
    pub dribble: Duration,
    /// Probability that a byte of a reply is lost.
    pub drop_probability: f64,
    /// Probability that a byte of a reply has one bit flipped.
    pub flip_probability: f64,
    /// What happens to the next replies, one each.
    pub script: VecDeque<ReplyFault>,
    /// What is wrong with each servo, in the order of the joints.
    pub servos: Vec<ServoFaults>,
}

impl Faults {
    /// The faults of one servo.
    pub fn servo(&mut self, joint: usize) -> &mut ServoFaults {
        if self.servos.len() <= joint {
            self.servos.resize(joint + 1, ServoFaults::default());
        }
        &mut self.servos[joint]
    }

    pub(super) fn of_servo(&self, joint: usize) -> ServoFaults {
        self.servos.get(joint).cloned().unwrap_or_default()
    }
}

impl ReplyFault {
    /// What becomes of a reply: its copies, and how much later they come.
    pub(super) fn apply(&self, mut frame: Vec<u8>) -> (Vec<Vec<u8>>, Duration) {
        let mut delay = Duration::ZERO;
        let last = frame.len() - 1;
        match self {
            Self::Pass => {}
            Self::Lose => return (Vec::new(), delay),
            Self::Delay(by) => delay = *by,
            Self::Duplicate => return (vec![frame.clone(), frame], delay),
            Self::DropByte(at) => {
                frame.remove(*at.min(&last));
            }
            Self::Flip(at, mask) => frame[*at.min(&last)] ^= mask,
            Self::Forge(at, mask) => {
                frame[*at.min(&last)] ^= mask;
                frame[last] = codec::checksum(&frame[2..last]);
            }
            Self::Shorten(by) => {
                let by = (*by).min(frame.len().saturating_sub(6));
                frame.truncate(last - by);
                frame[3] -= by as u8;
                frame.push(codec::checksum(&frame[2..]));
            }
            Self::FromId(id) => {
                frame[2] = *id;
                frame[last] = codec::checksum(&frame[2..last]);
            }
            Self::Noise(noise) => {
                frame.splice(0..0, noise.iter().copied());
            }
        }
        (vec![frame], delay)
    }
}
