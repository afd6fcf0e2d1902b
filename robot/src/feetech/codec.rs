//! Frames of the Feetech STS bus ("protocol 0"): half duplex, `FF FF id length instruction/status parameters checksum`.
//!
//! `length` counts the parameters plus two; the checksum is the inverted low byte of the sum of everything after the header.
//! There is no byte stuffing, so `FF FF` also occurs inside data, and eight checksum bits let one corrupt frame in 256 through:
//! the parser therefore accepts only the ids and the length that the request called for, and users check values for plausibility.

use std::fmt;

use super::registers::Payload;

/// Largest frame that a servo's receive buffer holds.
pub const MAX_FRAME: usize = 127;

/// The address of all servos at once; none of them answers.
pub const BROADCAST: u8 = 254;

/// Instruction bytes.
pub mod instruction {
    /// Is anybody there?
    pub const PING: u8 = 0x01;
    /// Read registers.
    pub const READ: u8 = 0x02;
    /// Write registers.
    pub const WRITE: u8 = 0x03;
    /// Read the same registers of several servos; each answers in its time slot.
    pub const SYNC_READ: u8 = 0x82;
    /// Write the same registers of several servos; none answers.
    pub const SYNC_WRITE: u8 = 0x83;
}

const HEADER: [u8; 2] = [0xFF, 0xFF];

/// Header, id, length, status and checksum: a frame without its parameters.
const OVERHEAD: usize = 6;

/// The address of one servo, `0..=253`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServoId(u8);

impl ServoId {
    /// `None` for the broadcast address and beyond.
    pub const fn new(id: u8) -> Option<Self> {
        if id < BROADCAST { Some(Self(id)) } else { None }
    }

    /// The address byte.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for ServoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "servo {}", self.0)
    }
}

impl fmt::Display for ServoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "servo {}", self.0)
    }
}

/// The status byte of a reply. It repeats register 65; a set bit does not mean that the request was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms(u8);

impl Alarms {
    /// From the status byte.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The status byte.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// No alarm at all.
    pub const fn is_clear(self) -> bool {
        self.0 == 0
    }

    /// Supply voltage outside its limits.
    pub const fn voltage(self) -> bool {
        self.0 & 1 != 0
    }

    /// Magnetic encoder fault: the position means nothing.
    pub const fn encoder(self) -> bool {
        self.0 & 2 != 0
    }

    /// Over-temperature.
    pub const fn temperature(self) -> bool {
        self.0 & 4 != 0
    }

    /// Over-current: the servo may have switched its torque off.
    pub const fn current(self) -> bool {
        self.0 & 8 != 0
    }

    /// Overload: the servo has cut its torque to the protective share.
    pub const fn overload(self) -> bool {
        self.0 & 32 != 0
    }
}

impl fmt::Display for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(u8, &str); 5] = [
            (1, "voltage"),
            (2, "encoder"),
            (4, "temperature"),
            (8, "current"),
            (32, "overload"),
        ];
        if self.is_clear() {
            return f.write_str("no alarm");
        }
        let mut known = 0;
        let mut separator = "";
        for (bit, name) in NAMES {
            known |= bit;
            if self.0 & bit != 0 {
                write!(f, "{separator}{name}")?;
                separator = ", ";
            }
        }
        if self.0 & !known != 0 {
            write!(f, "{separator}unknown bits {:#04x}", self.0 & !known)?;
        }
        Ok(())
    }
}

/// Why a request cannot be a frame. Always a mistake of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A sync request to nobody.
    #[error("a sync request needs at least one servo")]
    NoServos,
    /// The same servo twice.
    #[error("{0} is named twice in one sync request")]
    Duplicate(ServoId),
    /// Too many bytes in the request or in one of its replies.
    #[error("a frame of {0} bytes does not fit into the {MAX_FRAME} that a servo can hold")]
    TooLong(usize),
    /// A read of nothing.
    #[error("a read needs at least one byte")]
    Empty,
    /// Sync writes must go to one register.
    #[error("a sync write must write the same register of every servo")]
    MixedRegisters,
}

/// Checksum of a frame's bytes after the header.
pub fn checksum(body: &[u8]) -> u8 {
    !body.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte))
}

/// One frame from its parts; `kind` is the instruction of a request or the status byte of a reply.
fn frame(id: u8, kind: u8, parameters: &[&[u8]]) -> Result<Vec<u8>, FrameError> {
    let count: usize = parameters.iter().map(|p| p.len()).sum();
    if count + OVERHEAD > MAX_FRAME {
        return Err(FrameError::TooLong(count + OVERHEAD));
    }
    let mut bytes = Vec::with_capacity(count + OVERHEAD);
    bytes.extend(HEADER);
    bytes.extend([id, count as u8 + 2, kind]);
    for part in parameters {
        bytes.extend_from_slice(part);
    }
    bytes.push(checksum(&bytes[2..]));
    Ok(bytes)
}

fn check_read(length: u8) -> Result<(), FrameError> {
    match usize::from(length) + OVERHEAD {
        OVERHEAD => Err(FrameError::Empty),
        reply if reply > MAX_FRAME => Err(FrameError::TooLong(reply)),
        _ => Ok(()),
    }
}

fn check_distinct(ids: impl Iterator<Item = ServoId>) -> Result<(), FrameError> {
    let mut seen = IdSet::default();
    for id in ids {
        if !seen.insert(id) {
            return Err(FrameError::Duplicate(id));
        }
    }
    if seen.len() == 0 {
        return Err(FrameError::NoServos);
    }
    Ok(())
}

/// Request: answer if you are there.
pub fn ping(id: ServoId) -> Vec<u8> {
    ping_at(id.0)
}

/// Request: everybody answer who is there.
pub fn broadcast_ping() -> Vec<u8> {
    ping_at(BROADCAST)
}

fn ping_at(address: u8) -> Vec<u8> {
    let mut bytes = vec![HEADER[0], HEADER[1], address, 2, instruction::PING];
    bytes.push(checksum(&bytes[2..]));
    bytes
}

/// Request: `length` bytes from `address`.
pub fn read(id: ServoId, address: u8, length: u8) -> Result<Vec<u8>, FrameError> {
    check_read(length)?;
    frame(id.0, instruction::READ, &[&[address, length]])
}

/// Request: write one register.
pub fn write(id: ServoId, payload: Payload) -> Result<Vec<u8>, FrameError> {
    frame(
        id.0,
        instruction::WRITE,
        &[&[payload.address()], payload.bytes()],
    )
}

/// Request: `length` bytes from `address` of each servo in turn.
pub fn sync_read(ids: &[ServoId], address: u8, length: u8) -> Result<Vec<u8>, FrameError> {
    check_read(length)?;
    check_distinct(ids.iter().copied())?;
    let ids: Vec<u8> = ids.iter().map(|id| id.0).collect();
    frame(
        BROADCAST,
        instruction::SYNC_READ,
        &[&[address, length], &ids],
    )
}

/// Request: write the same register of several servos in one frame.
pub fn sync_write(values: &[(ServoId, Payload)]) -> Result<Vec<u8>, FrameError> {
    check_distinct(values.iter().map(|(id, _)| *id))?;
    let (_, first) = values.first().ok_or(FrameError::NoServos)?;
    let mut blocks = Vec::with_capacity(values.len() * 3);
    for (id, payload) in values {
        if payload.address() != first.address() || payload.bytes().len() != first.bytes().len() {
            return Err(FrameError::MixedRegisters);
        }
        blocks.push(id.0);
        blocks.extend_from_slice(payload.bytes());
    }
    frame(
        BROADCAST,
        instruction::SYNC_WRITE,
        &[&[first.address(), first.bytes().len() as u8], &blocks],
    )
}

/// A status reply, as a servo (or a simulated one) sends it.
pub fn status(id: ServoId, alarms: Alarms, data: &[u8]) -> Result<Vec<u8>, FrameError> {
    frame(id.0, alarms.0, &[data])
}

/// Bytes on the wire of a status reply with `data_length` bytes of data.
pub const fn status_length(data_length: u8) -> usize {
    data_length as usize + OVERHEAD
}

/// A set of servo ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct IdSet([u64; 4]);

impl IdSet {
    /// False when it was there already.
    fn insert(&mut self, id: ServoId) -> bool {
        let (word, bit) = (usize::from(id.0 >> 6), 1u64 << (id.0 & 63));
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }

    fn contains(&self, id: u8) -> bool {
        self.0[usize::from(id >> 6)] & (1 << (id & 63)) != 0
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// A reply that passed every check of form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// Who answered.
    pub id: ServoId,
    /// What it complains about.
    pub alarms: Alarms,
    /// Register bytes, exactly as many as were asked for.
    pub data: &'a [u8],
}

/// What a parser met besides good replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParserStats {
    /// Bytes that belonged to no frame.
    pub skipped_bytes: u64,
    /// Frames with the right head and a wrong checksum.
    pub bad_checksums: u64,
    /// Frames of an expected servo with a length that nobody asked for.
    pub wrong_lengths: u64,
    /// Well-formed frames of servos that were not asked.
    pub foreign_frames: u64,
    /// Second replies of one servo to one request.
    pub duplicate_frames: u64,
}

/// Finds the replies to one request in a stream of bytes that may hold anything else.
///
/// A byte is the start of at most one candidate and every candidate has the one length that was asked for, so work is bounded by
/// `bytes * frame length`, and the parser never waits for more than one frame's worth of bytes.
#[derive(Clone, Debug)]
pub struct ReplyParser {
    buffer: Vec<u8>,
    start: usize,
    wanted: IdSet,
    seen: IdSet,
    data_length: u8,
    echo: Option<Vec<u8>>,
    stats: ParserStats,
}

impl ReplyParser {
    /// Unread bytes kept at most; older ones are dropped.
    const CAPACITY: usize = 4096;

    /// For a request to `ids` that each answer with `data_length` bytes of data.
    pub fn new(ids: &[ServoId], data_length: u8) -> Self {
        let mut wanted = IdSet::default();
        for &id in ids {
            wanted.insert(id);
        }
        Self {
            buffer: Vec::with_capacity(256),
            start: 0,
            wanted,
            seen: IdSet::default(),
            data_length,
            echo: None,
            stats: ParserStats::default(),
        }
    }

    /// For an adapter that repeats what is sent: nothing is accepted before `request` has come back, so that no value is ever
    /// read from our own bytes (a request to read two bytes has the form of a reply with two bytes).
    pub fn after_echo_of(mut self, request: &[u8]) -> Self {
        self.echo = Some(request.to_vec());
        self
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
        if let Some(excess) = self.buffer.len().checked_sub(Self::CAPACITY) {
            self.buffer.drain(..excess);
            self.stats.skipped_bytes += excess as u64;
        }
    }

    /// The next good reply, if its bytes are all here.
    pub fn next_reply(&mut self) -> Option<Status<'_>> {
        self.strip_echo()?;
        loop {
            let bytes = &self.buffer[self.start..];
            match self.classify(bytes) {
                Candidate::Incomplete => return None,
                Candidate::Noise => {
                    self.start += 1;
                    self.stats.skipped_bytes += 1;
                }
                Candidate::WrongLength => {
                    self.start += 1;
                    self.stats.skipped_bytes += 1;
                    self.stats.wrong_lengths += 1;
                }
                Candidate::BadChecksum => {
                    self.start += 1;
                    self.stats.skipped_bytes += 1;
                    self.stats.bad_checksums += 1;
                }
                Candidate::Foreign => {
                    self.start += status_length(self.data_length);
                    self.stats.foreign_frames += 1;
                }
                Candidate::Good(id) => {
                    let begin = self.start;
                    let end = begin + status_length(self.data_length);
                    self.start = end;
                    if !self.seen.insert(id) {
                        self.stats.duplicate_frames += 1;
                        continue;
                    }
                    return Some(Status {
                        id,
                        alarms: Alarms(self.buffer[begin + 4]),
                        data: &self.buffer[begin + 5..end - 1],
                    });
                }
            }
        }
    }

    /// All expected servos have answered.
    pub fn is_complete(&self) -> bool {
        self.seen == self.wanted
    }

    /// This servo has answered.
    pub fn has_seen(&self, id: ServoId) -> bool {
        self.seen.contains(id.0)
    }

    /// What came besides good replies.
    pub fn stats(&self) -> ParserStats {
        self.stats
    }

    /// `None` while an echo is due and not complete.
    fn strip_echo(&mut self) -> Option<()> {
        let Some(echo) = &self.echo else {
            return Some(());
        };
        let bytes = &self.buffer[self.start..];
        let at = bytes.windows(echo.len()).position(|w| w == echo)?;
        self.start += at + echo.len();
        self.stats.skipped_bytes += at as u64;
        self.echo = None;
        Some(())
    }

    fn classify(&self, bytes: &[u8]) -> Candidate {
        let [first, rest @ ..] = bytes else {
            return Candidate::Incomplete;
        };
        if *first != HEADER[0] {
            return Candidate::Noise;
        }
        let [second, rest @ ..] = rest else {
            return Candidate::Incomplete;
        };
        if *second != HEADER[1] {
            return Candidate::Noise;
        }
        let [id, rest @ ..] = rest else {
            return Candidate::Incomplete;
        };
        let Some(id) = ServoId::new(*id) else {
            return Candidate::Noise;
        };
        let [length, ..] = rest else {
            return Candidate::Incomplete;
        };
        let expected = self.wanted.contains(id.0);
        if usize::from(*length) != usize::from(self.data_length) + 2 {
            return if expected {
                Candidate::WrongLength
            } else {
                Candidate::Noise
            };
        }
        let Some(frame) = bytes.get(..status_length(self.data_length)) else {
            return Candidate::Incomplete;
        };
        let valid = checksum(&frame[2..frame.len() - 1]) == frame[frame.len() - 1];
        match (valid, expected) {
            (true, true) => Candidate::Good(id),
            (true, false) => Candidate::Foreign,
            (false, true) => Candidate::BadChecksum,
            (false, false) => Candidate::Noise,
        }
    }
}

enum Candidate {
    Incomplete,
    Noise,
    WrongLength,
    BadChecksum,
    Foreign,
    Good(ServoId),
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
