//! Transactions on a servo bus.
//!
//! The protocol has no request numbers: a reply that comes too late looks like the answer to the next request. Four things keep
//! it from being taken for one: received bytes are thrown away before every request; after a timeout the line must first fall
//! silent; only the asked ids and the asked length are accepted; and after a timeout reads ask for a different number of bytes,
//! so that for some time the length of a reply tells which request it belongs to.

mod pace;

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::codec::{self, Alarms, FrameError, ReplyParser, ServoId, Status};
use super::registers::{self, Eeprom, LOCK, Lock, Payload, Ram, Register, RegisterValue};
use super::transport::{PortError, SerialTransport, Transport, is_gone};
use crate::guardian::Guardian;
use pace::Pace;

/// How a bus is driven.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusConfig {
    /// Bits per second.
    pub baud: u32,
    /// Longest time, milliseconds, that a reply may take beyond its time on the wire: adapter, USB and scheduler. An FTDI adapter with its
    /// factory latency timer needs more than 16. On a line that answers quicker a reply is waited for less long: four times what
    /// the slowest of the last replies took, and 3 ms.
    pub turnaround_ms: u64,
    /// How often what failed is asked again.
    pub retries: u32,
    /// Milliseconds of silence that end the quarantine after a timeout.
    pub quiet_ms: u64,
    /// Longest quarantine, milliseconds.
    pub quarantine_ms: u64,
    /// Milliseconds to wait for the answers to a broadcast ping, which come about 3 ms apart in the order of the ids.
    pub broadcast_ms: u64,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            baud: 1_000_000,
            turnaround_ms: 20,
            retries: 2,
            quiet_ms: 2,
            quarantine_ms: 40,
            broadcast_ms: 800,
        }
    }
}

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The port could not be opened.
    #[error("{error}; {advice}", error = .0, advice = .0.advice())]
    Port(#[from] PortError),
    /// No valid reply before the deadline.
    #[error("no answer from {ids:?} within {deadline_ms} ms; check cable, power and ids")]
    Timeout {
        /// Who was silent.
        ids: Vec<ServoId>,
        /// The deadline of one attempt.
        deadline_ms: u64,
    },
    /// The device is gone.
    #[error(
        "{port} is gone; the servos hold their last goal: cut their power before touching them"
    )]
    Gone {
        /// Device path.
        port: String,
    },
    /// The port takes no more bytes.
    #[error("{port} takes no bytes; unplug the adapter and plug it in again")]
    Blocked {
        /// Device path.
        port: String,
    },
    /// A register holds something that it cannot mean.
    #[error(
        "{id}: register {register} holds {bytes:02x?}, which means nothing; power-cycle the servo"
    )]
    Nonsense {
        /// Whose register.
        id: ServoId,
        /// Which register.
        register: &'static str,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A written register reads back differently.
    #[error(
        "{id}: address {address} was set to {wrote:02x?} and reads {reads:02x?}; power-cycle the servo"
    )]
    NotStored {
        /// Whose register.
        id: ServoId,
        /// First address.
        address: u8,
        /// What was written.
        wrote: Vec<u8>,
        /// What is there.
        reads: Vec<u8>,
    },
    /// The request is no frame: a mistake of the caller.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Anything else from the system.
    #[error("{port}: {source}")]
    Io {
        /// Device path.
        port: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What happened on a bus so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusStats {
    /// Requests sent.
    pub requests: u64,
    /// Good replies.
    pub replies: u64,
    /// Replies that did not come in time.
    pub timeouts: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Quarantines after timeouts.
    pub quarantines: u64,
    /// Bytes that arrived in quarantine and were thrown away.
    pub late_bytes: u64,
    /// Bytes that belonged to no frame.
    pub skipped_bytes: u64,
    /// Frames with a wrong checksum.
    pub bad_checksums: u64,
    /// Frames of asked servos with a wrong length.
    pub wrong_lengths: u64,
    /// Frames of servos that were not asked.
    pub foreign_frames: u64,
    /// Second replies to one request.
    pub duplicate_frames: u64,
    /// Duration of the longest transaction.
    pub longest: Duration,
}

/// One servo's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The alarm bits that came with it.
    pub alarms: Alarms,
    /// The register bytes, as many as were asked for.
    pub data: Vec<u8>,
    /// When the request was sent, on the transport's clock: the data is not older than this.
    pub asked_at: Duration,
}

/// Whether the adapter repeats what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Echo {
    Unknown,
    Absent,
    Present,
}

/// Bytes that one transaction reads at most; more is a babbling line.
const MAX_RECEIVED: usize = 8192;

/// How many lengths the reads rotate through after timeouts.
const LENGTHS: u8 = 8;

/// A servo that gave no answer in so many sync reads is not asked twice in one any more.
const DEAD_AFTER: u32 = 3;

/// This long after an answer to a broadcast ping no other one follows.
const BROADCAST_PAUSE: Duration = Duration::from_millis(300);

/// A servo needs this long to store a byte and change its speed.
const WRITE_PAUSE: Duration = Duration::from_millis(20);

/// After this long without a timeout no late reply is left on the way.
const FORGET_TIMEOUTS: Duration = Duration::from_secs(2);

/// The master of a servo bus.
pub struct Bus {
    transport: Box<dyn Transport>,
    config: BusConfig,
    echo: Echo,
    extra_length: u8,
    last_timeout: Option<Duration>,
    quarantine: bool,
    gone: bool,
    /// Servos that gave no answer, and in how many sync reads in a row.
    silent: Vec<(ServoId, u32)>,
    pace: Pace,
    stats: BusStats,
}

impl Bus {
    /// Opens a serial port; see [`SerialTransport::open`].
    pub fn open(path: &str, config: BusConfig) -> Result<Self, BusError> {
        let transport = SerialTransport::open(path, config.baud)?;
        Ok(Self::new(Box::new(transport), config))
    }

    /// Over any transport.
    pub fn new(transport: Box<dyn Transport>, config: BusConfig) -> Self {
        Self {
            transport,
            config,
            echo: Echo::Unknown,
            extra_length: 0,
            last_timeout: None,
            quarantine: false,
            gone: false,
            silent: Vec::new(),
            pace: Pace::default(),
            stats: BusStats::default(),
        }
    }

    /// The port's name.
    pub fn name(&self) -> &str {
        self.transport.name()
    }

    /// Starts a process on this port that switches these servos' torque off when this one dies; `None` where the port is none of the
    /// system's, as in virtual time.
    ///
    /// Errors: `program` cannot be started.
    pub fn guardian(&self, program: &Path, ids: &[ServoId]) -> io::Result<Option<Guardian>> {
        let Some(port) = self.transport.share()? else {
            return Ok(None);
        };
        let values: Vec<_> = ids.iter().map(|id| (*id, registers::TORQUE_OFF)).collect();
        let frame = codec::sync_write(&values).map_err(io::Error::other)?;
        Guardian::start(program, port, &frame).map(Some)
    }

    /// Time on the transport's clock, on which replies are stamped.
    pub fn now(&self) -> Duration {
        self.transport.now()
    }

    /// How the bus is driven.
    pub fn config(&self) -> &BusConfig {
        &self.config
    }

    /// What happened so far.
    pub fn stats(&self) -> BusStats {
        self.stats
    }

    /// Asks a servo whether it is there. One attempt; a timeout is the answer no.
    pub fn ping(&mut self, id: ServoId) -> Result<Option<Alarms>, BusError> {
        let mut alarms = None;
        self.transact(&codec::ping(id), &[id], 0, |status, _| {
            alarms = Some(status.alarms);
        })?;
        Ok(alarms)
    }

    /// Asks everybody. Servos answer one after the other, later with larger ids; with colliding answers some are lost.
    pub fn broadcast_ping(&mut self) -> Result<Vec<ServoId>, BusError> {
        let everybody: Vec<ServoId> = (0..codec::BROADCAST).filter_map(ServoId::new).collect();
        let request = codec::broadcast_ping();
        if self.quarantine {
            self.drain()?;
        }
        let discarded = self.transport.discard_input();
        self.check(discarded)?;
        let end = self.transport.now() + Duration::from_millis(self.config.broadcast_ms);
        let sent = self.transport.send(&request, end);
        self.check(sent)?;
        self.stats.requests += 1;
        // An echo has the broadcast address and is skipped like noise.
        let mut parser = ReplyParser::new(&everybody, 0);
        let mut found = Vec::new();
        let mut buffer = [0u8; 512];
        let mut received = 0;
        let mut deadline = end;
        while received < MAX_RECEIVED && self.transport.now() < deadline {
            let count = self.transport.receive(&mut buffer, deadline);
            let count = self.check(count)?;
            received += count;
            parser.push(&buffer[..count]);
            while let Some(status) = parser.next_reply() {
                found.push(status.id);
                deadline = end.min(self.transport.now() + BROADCAST_PAUSE);
            }
        }
        self.quarantine = true;
        Ok(found)
    }

    /// Reads one register.
    pub fn read<T: RegisterValue, A>(
        &mut self,
        id: ServoId,
        register: Register<T, A>,
    ) -> Result<T, BusError> {
        let reply = self.read_block(id, register.address(), register.size())?;
        T::from_bytes(&reply.data).ok_or(BusError::Nonsense {
            id,
            register: register.name(),
            bytes: reply.data,
        })
    }

    /// Reads `length` bytes from `address`.
    pub fn read_block(&mut self, id: ServoId, address: u8, length: u8) -> Result<Reply, BusError> {
        for attempt in 0..=self.config.retries {
            self.stats.retries += u64::from(attempt > 0);
            if let Some(reply) = self.read_once(id, address, length)? {
                return Ok(reply);
            }
        }
        Err(self.timeout(vec![id]))
    }

    /// [`Self::read_block`] in one attempt; `None` where it fails.
    pub fn read_once(
        &mut self,
        id: ServoId,
        address: u8,
        length: u8,
    ) -> Result<Option<Reply>, BusError> {
        let asked = self.rotated_length(address, length);
        let request = codec::read(id, address, asked)?;
        let mut reply = None;
        self.transact(&request, &[id], asked, |status, asked_at| {
            reply = Some(Reply::new(status, length, asked_at));
        })?;
        Ok(reply)
    }

    /// Reads one register of several servos. `None` where a servo did not answer (or holds nonsense); the others are not affected.
    pub fn sync_read<T: RegisterValue, A>(
        &mut self,
        ids: &[ServoId],
        register: Register<T, A>,
    ) -> Result<Vec<Option<T>>, BusError> {
        let replies = self.sync_read_block(ids, register.address(), register.size())?;
        Ok(replies
            .into_iter()
            .map(|reply| T::from_bytes(&reply?.data))
            .collect())
    }

    /// Reads `length` bytes from `address` of several servos with one request, and asks those that were silent again, unless they
    /// were silent in the last reads as well: a dead servo must not slow the others down. One entry per id, `None` where all
    /// attempts failed; an error only when the whole bus fails.
    pub fn sync_read_block(
        &mut self,
        ids: &[ServoId],
        address: u8,
        length: u8,
    ) -> Result<Vec<Option<Reply>>, BusError> {
        let mut replies: Vec<Option<Reply>> = vec![None; ids.len()];
        for attempt in 0..=self.config.retries {
            let mut missing: Vec<ServoId> = ids
                .iter()
                .zip(&replies)
                .filter_map(|(id, reply)| reply.is_none().then_some(*id))
                .collect();
            if attempt > 0 {
                missing.retain(|id| !self.is_dead(*id));
                if missing.is_empty() {
                    break;
                }
                self.stats.retries += 1;
            }
            // Once the last slot has been heard the wait is short, so those that will not answer come first.
            missing.sort_by_key(|id| !self.is_dead(*id));
            let asked = self.rotated_length(address, length);
            let request = codec::sync_read(&missing, address, asked)?;
            self.transact(&request, &missing, asked, |status, asked_at| {
                if let Some(at) = ids.iter().position(|id| *id == status.id) {
                    replies[at] = Some(Reply::new(status, length, asked_at));
                }
            })?;
        }
        for (id, reply) in ids.iter().zip(&replies) {
            let known = self.silent.iter().position(|(silent, _)| silent == id);
            match (known, reply) {
                (Some(at), Some(_)) => drop(self.silent.swap_remove(at)),
                (Some(at), None) => self.silent[at].1 = self.silent[at].1.saturating_add(1),
                (None, None) => self.silent.push((*id, 1)),
                (None, Some(_)) => {}
            }
        }
        Ok(replies)
    }

    fn is_dead(&self, id: ServoId) -> bool {
        let dead = |(silent, reads): &(ServoId, u32)| *silent == id && *reads >= DEAD_AFTER;
        self.silent.iter().any(dead)
    }

    /// Writes a register that forgets at power-off, and reads it back.
    pub fn write<T: RegisterValue>(
        &mut self,
        id: ServoId,
        register: Register<T, Ram>,
        value: T,
    ) -> Result<(), BusError> {
        self.write_verified(id, register.payload(value))
    }

    /// Switches one servo's torque off and reads the switch back.
    pub fn torque_off(&mut self, id: ServoId) -> Result<(), BusError> {
        self.write_verified(id, registers::TORQUE_OFF)
    }

    /// Writes a register that survives power-off, unless it already holds the value: unlock, write, read back, lock.
    pub fn store<T: RegisterValue>(
        &mut self,
        id: ServoId,
        register: Register<T, Eeprom>,
        value: T,
    ) -> Result<(), BusError> {
        self.store_payload(id, register.encode(value))
    }

    pub(super) fn store_payload(&mut self, id: ServoId, payload: Payload) -> Result<(), BusError> {
        let length = payload.bytes().len() as u8;
        let present = self.read_block(id, payload.address(), length)?;
        if present.data == payload.bytes() {
            return Ok(());
        }
        self.write(id, LOCK, Lock::Open)?;
        let stored = self.write_verified(id, payload);
        // A servo that has just changed its address is locked at the new one.
        let now_at = match registers::ID.in_block(payload.address(), payload.bytes()) {
            Some(new) if payload.address() == registers::ID.address() && stored.is_ok() => new,
            _ => id,
        };
        let locked = self.write(now_at, LOCK, Lock::Closed);
        stored.and(locked)
    }

    /// Writes, then reads back: works with and without acknowledgements (register 8) and after a lost one.
    pub(super) fn write_verified(&mut self, id: ServoId, payload: Payload) -> Result<(), BusError> {
        let request = codec::write(id, payload)?;
        let length = payload.bytes().len() as u8;
        let reader = match registers::ID.in_block(payload.address(), payload.bytes()) {
            Some(new) if payload.address() == registers::ID.address() => new,
            _ => id,
        };
        let mut last = Err(self.timeout(vec![id]));
        for attempt in 0..=self.config.retries {
            self.stats.retries += u64::from(attempt > 0);
            // The acknowledgement only says that the line is free again.
            self.transact(&request, &[id], 0, |_, _| {})?;
            last = match self.read_block(reader, payload.address(), length) {
                Ok(reply) if reply.data == payload.bytes() => return Ok(()),
                Ok(reply) => Err(BusError::NotStored {
                    id,
                    address: payload.address(),
                    wrote: payload.bytes().to_vec(),
                    reads: reply.data,
                }),
                Err(error @ BusError::Timeout { .. }) => Err(error),
                Err(error) => return Err(error),
            };
        }
        last
    }

    /// Writes without waiting for anything: for the write that changes how the servo answers.
    pub(super) fn write_unheard(&mut self, id: ServoId, payload: Payload) -> Result<(), BusError> {
        let request = codec::write(id, payload)?;
        self.transact(&request, &[], 0, |_, _| {})?;
        // The frame must have left before the port's speed changes.
        let sent_by = self.transport.now() + self.wire(request.len()) + WRITE_PAUSE;
        let mut late = [0u8; 64];
        while self.transport.now() < sent_by {
            let count = self.transport.receive(&mut late, sent_by);
            self.check(count)?;
        }
        Ok(())
    }

    /// Writes unless the register already holds the value.
    pub(super) fn write_verified_if_different(
        &mut self,
        id: ServoId,
        payload: Payload,
    ) -> Result<(), BusError> {
        let length = payload.bytes().len() as u8;
        let present = self.read_block(id, payload.address(), length)?;
        if present.data == payload.bytes() {
            return Ok(());
        }
        self.write_verified(id, payload)
    }

    /// Writes the same register of several servos at once. Nobody answers: read back what matters.
    pub(super) fn sync_write(&mut self, values: &[(ServoId, Payload)]) -> Result<(), BusError> {
        let request = codec::sync_write(values)?;
        self.transact(&request, &[], 0, |_, _| {})
    }

    /// Switches the torque of these servos off with one frame that nobody acknowledges; follow it with [`Self::torque_off`].
    pub fn sync_torque_off(&mut self, ids: &[ServoId]) -> Result<(), BusError> {
        let values: Vec<_> = ids.iter().map(|id| (*id, registers::TORQUE_OFF)).collect();
        self.sync_write(&values)
    }

    /// The number of bytes to ask for, different from the ones asked for before recent timeouts.
    fn rotated_length(&mut self, address: u8, length: u8) -> u8 {
        if let Some(at) = self.last_timeout
            && self.transport.now().saturating_sub(at) > FORGET_TIMEOUTS
        {
            self.last_timeout = None;
            self.extra_length = 0;
        }
        let room = registers::TABLE_END.saturating_sub(address.saturating_add(length));
        length + self.extra_length.min(room)
    }

    fn timeout(&self, ids: Vec<ServoId>) -> BusError {
        BusError::Timeout {
            ids,
            deadline_ms: self.config.turnaround_ms,
        }
    }

    fn wire(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 * 10.0 / f64::from(self.config.baud.max(1)))
    }

    /// One request and its replies, over when all have come or the deadline has passed, whatever arrives meanwhile.
    fn transact(
        &mut self,
        request: &[u8],
        ids: &[ServoId],
        data_length: u8,
        on_reply: impl FnMut(Status<'_>, Duration),
    ) -> Result<(), BusError> {
        if self.gone {
            return Err(BusError::Gone {
                port: self.name().to_owned(),
            });
        }
        if self.echo == Echo::Unknown
            && let Some(first) = ids.first()
        {
            self.detect_echo(*first)?;
        }
        self.exchange(request, ids, data_length, on_reply)
    }

    fn exchange(
        &mut self,
        request: &[u8],
        ids: &[ServoId],
        data_length: u8,
        mut on_reply: impl FnMut(Status<'_>, Duration),
    ) -> Result<(), BusError> {
        if self.quarantine {
            self.drain()?;
        }
        let discarded = self.transport.discard_input();
        self.check(discarded)?;

        let asked_at = self.transport.now();
        let longest = Duration::from_millis(self.config.turnaround_ms);
        let turnaround = self.pace.patience(longest);
        let reply_length = codec::status_length(data_length);
        // A servo answers in the slot that its place in the request gives it, three byte times after the slot before.
        let slots = self.wire((reply_length + 3) * ids.len());
        let mut deadline = asked_at + self.wire(request.len()) + slots + turnaround;
        let sent = self.transport.send(request, deadline);
        self.check(sent)?;
        self.stats.requests += 1;
        let Some(last) = ids.last() else {
            return Ok(());
        };

        let mut parser = ReplyParser::new(ids, data_length);
        if self.echo == Echo::Present {
            parser = parser.after_echo_of(request);
        }
        let mut buffer = [0u8; 512];
        let mut received = 0;
        let mut last_seen = false;
        while !parser.is_complete() && received < MAX_RECEIVED {
            let count = self.transport.receive(&mut buffer, deadline);
            let count = self.check(count)?;
            if count == 0 {
                break;
            }
            received += count;
            parser.push(&buffer[..count]);
            while let Some(status) = parser.next_reply() {
                self.stats.replies += 1;
                on_reply(status, asked_at);
            }
            let now = self.transport.now();
            if !last_seen && parser.has_seen(*last) {
                // The slots of the silent ones are over; wait no longer than a second round of them would take.
                last_seen = true;
                let settle = slots + Duration::from_millis(self.config.quiet_ms);
                deadline = deadline.min(now + settle);
            }
            if now >= deadline {
                break;
            }
        }
        let missing = ids.iter().filter(|id| !parser.has_seen(**id)).count() as u64;
        let p = parser.stats();
        let s = &mut self.stats;
        s.skipped_bytes += p.skipped_bytes;
        s.bad_checksums += p.bad_checksums;
        s.wrong_lengths += p.wrong_lengths;
        s.foreign_frames += p.foreign_frames;
        s.duplicate_frames += p.duplicate_frames;
        s.longest = s.longest.max(self.transport.now().saturating_sub(asked_at));
        if missing == 0 {
            let wire = self.wire(request.len()) + slots;
            let took = self.transport.now().saturating_sub(asked_at + wire);
            self.pace.answered(took);
        } else {
            self.pace.timed_out();
            s.timeouts += missing;
            self.quarantine = true;
            self.last_timeout = Some(self.transport.now());
            self.extra_length = (self.extra_length + 1) % LENGTHS;
        }
        Ok(())
    }

    /// Reads until the line has been silent for a while.
    fn drain(&mut self) -> Result<(), BusError> {
        self.quarantine = false;
        self.stats.quarantines += 1;
        let quiet = Duration::from_millis(self.config.quiet_ms);
        let end = self.transport.now() + Duration::from_millis(self.config.quarantine_ms);
        let mut buffer = [0u8; 512];
        loop {
            let now = self.transport.now();
            if now >= end {
                return Ok(());
            }
            let count = self.transport.receive(&mut buffer, (now + quiet).min(end));
            let count = self.check(count)?;
            if count == 0 {
                return Ok(());
            }
            self.stats.late_bytes += count as u64;
        }
    }

    /// Learns whether the adapter repeats what is sent, from a request that no reply can be equal to. A silent servo on an adapter
    /// without echo teaches nothing.
    fn detect_echo(&mut self, id: ServoId) -> Result<(), BusError> {
        let request = codec::read(id, registers::ID.address(), 1)?;
        let discarded = self.transport.discard_input();
        self.check(discarded)?;
        let now = self.transport.now();
        let deadline = now
            + self.wire(request.len() + codec::status_length(1))
            + Duration::from_millis(self.config.turnaround_ms);
        let sent = self.transport.send(&request, deadline);
        self.check(sent)?;
        self.stats.requests += 1;
        let mut heard = Vec::new();
        let mut buffer = [0u8; 64];
        while self.echo == Echo::Unknown && heard.len() < MAX_RECEIVED {
            let count = self.transport.receive(&mut buffer, deadline);
            let count = self.check(count)?;
            if count == 0 {
                break;
            }
            heard.extend_from_slice(&buffer[..count]);
            let mut parser = ReplyParser::new(&[id], 1);
            parser.push(&heard);
            let answered = parser.next_reply().is_some();
            if heard.windows(request.len()).any(|w| w == request) {
                self.echo = Echo::Present;
                // The reply may still be on its way.
                self.quarantine = !answered;
            } else if answered {
                self.echo = Echo::Absent;
            }
            if self.transport.now() >= deadline {
                break;
            }
        }
        if self.echo == Echo::Unknown {
            self.quarantine = true;
            self.last_timeout = Some(self.transport.now());
            self.extra_length = (self.extra_length + 1) % LENGTHS;
        }
        Ok(())
    }

    fn check<T>(&mut self, result: io::Result<T>) -> Result<T, BusError> {
        result.map_err(|source| {
            let port = self.transport.name().to_owned();
            if is_gone(&source) {
                self.gone = true;
                BusError::Gone { port }
            } else if source.kind() == io::ErrorKind::TimedOut {
                self.quarantine = true;
                BusError::Blocked { port }
            } else {
                BusError::Io { port, source }
            }
        })
    }
}

impl Reply {
    fn new(status: Status<'_>, length: u8, asked_at: Duration) -> Self {
        Self {
            alarms: status.alarms,
            data: status.data[..usize::from(length)].to_vec(),
            asked_at,
        }
    }
}

#[cfg(test)]
#[path = "bus_tests.rs"]
mod tests;
