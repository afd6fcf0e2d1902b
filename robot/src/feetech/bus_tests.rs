use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::super::registers::{
    GOAL_POSITION, HOMING_OFFSET, PRESENT_POSITION, SignMagnitude, TORQUE, TORQUE_LIMIT, Torque,
};
use super::*;

/// What the line does with one request: bytes and the delay after which they arrive, milliseconds.
type Script = Box<dyn FnMut(&[u8]) -> Vec<(u64, Vec<u8>)> + Send>;

/// A line in virtual time. Every request goes through the script; what it returns arrives later.
struct Line {
    now: Duration,
    pending: VecDeque<(Duration, Vec<u8>)>,
    script: Script,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    broken: Option<i32>,
}

impl Transport for Line {
    fn name(&self) -> &str {
        "line"
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn discard_input(&mut self) -> io::Result<()> {
        self.pending.retain(|(at, _)| *at > self.now);
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], _: Duration) -> io::Result<()> {
        if let Some(errno) = self.broken {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.sent.lock().unwrap().push(bytes.to_vec());
        for (delay, reply) in (self.script)(bytes) {
            self.pending
                .push_back((self.now + Duration::from_millis(delay), reply));
        }
        self.pending.make_contiguous().sort_by_key(|(at, _)| *at);
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], deadline: Duration) -> io::Result<usize> {
        match self.pending.front_mut() {
            Some((at, bytes)) if *at <= deadline => {
                self.now = self.now.max(*at);
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                bytes.drain(..count);
                if bytes.is_empty() {
                    self.pending.pop_front();
                }
                Ok(count)
            }
            _ => {
                self.now = self.now.max(deadline);
                Ok(0)
            }
        }
    }
}

fn id(n: u8) -> ServoId {
    ServoId::new(n).unwrap()
}

fn ids() -> Vec<ServoId> {
    (1..=6).map(id).collect()
}

fn bus(script: impl FnMut(&[u8]) -> Vec<(u64, Vec<u8>)> + Send + 'static) -> Bus {
    line(script, None).0
}

fn line(
    script: impl FnMut(&[u8]) -> Vec<(u64, Vec<u8>)> + Send + 'static,
    broken: Option<i32>,
) -> (Bus, Arc<Mutex<Vec<Vec<u8>>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let line = Line {
        now: Duration::ZERO,
        pending: VecDeque::new(),
        script: Box::new(script),
        sent: sent.clone(),
        broken,
    };
    (Bus::new(Box::new(line), BusConfig::default()), sent)
}

fn reply(n: u8, data: &[u8]) -> Vec<u8> {
    codec::status(id(n), Alarms::default(), data).unwrap()
}

/// Healthy servos that answer every read with their id in every byte, all in one piece.
fn answer(request: &[u8]) -> Vec<u8> {
    match request[4] {
        codec::instruction::READ => reply(request[2], &vec![request[2]; request[6].into()]),
        codec::instruction::SYNC_READ => request[7..request.len() - 1]
            .iter()
            .flat_map(|n| reply(*n, &vec![*n; request[6].into()]))
            .collect(),
        codec::instruction::SYNC_WRITE => Vec::new(),
        _ => reply(request[2], &[]),
    }
}

#[test]
fn a_silent_servo_does_not_hide_the_others_and_soon_costs_little() {
    let without_three = |request: &[u8]| {
        let mut request = request.to_vec();
        if request[4] == codec::instruction::SYNC_READ {
            request.retain(|b| *b != 3);
        } else if request[2] == 3 {
            return Vec::new();
        }
        vec![(1, answer(&request))]
    };
    let mut bus = bus(without_three);
    for round in 0..6 {
        let before = bus.now();
        let values = bus.sync_read_block(&ids(), 56, 15).unwrap();
        for (n, value) in (1..=6).zip(&values) {
            assert_eq!(value.as_ref().map(|r| r.data[0]), (n != 3).then_some(n));
        }
        let took = bus.now() - before;
        assert!(
            took < Duration::from_millis(if round < 3 { 80 } else { 10 }),
            "round {round} took {took:?}"
        );
    }
    assert_eq!(bus.stats().retries, 6);
}

#[test]
fn one_late_reply_never_becomes_the_answer_to_a_later_request() {
    // The value is the number of the request, so a stale answer shows. One reply comes 65 ms late.
    for late_at in 2..6u64 {
        for delay in [21, 25, 43, 65, 66, 90, 130] {
            let asked = Arc::new(Mutex::new(0u64));
            let count = asked.clone();
            let mut bus = bus(move |request| {
                if request[5] != 56 {
                    return vec![(0, answer(request))];
                }
                let mut count = count.lock().unwrap();
                *count += 1;
                let mut data = vec![0; request[6].into()];
                data[0] = *count as u8;
                let wait = if *count == late_at { delay } else { 1 };
                vec![(wait, reply(request[2], &data))]
            });
            for _ in 0..150 {
                let value = bus.read_block(id(1), 56, 2).unwrap().data[0];
                let newest = *asked.lock().unwrap() as u8;
                assert_eq!(value, newest, "late {late_at}, delay {delay}");
            }
            assert_eq!(bus.stats().timeouts, 1);
        }
    }
}

#[test]
fn the_deadline_holds_while_bytes_dribble() {
    // One byte every 8 ms: a timeout per read would never end.
    let mut bus = bus(|request| {
        let bytes = answer(request);
        if request[5] != 56 {
            return vec![(0, bytes)];
        }
        bytes
            .iter()
            .enumerate()
            .map(|(n, byte)| (8 * n as u64, vec![*byte]))
            .collect()
    });
    let before = bus.now();
    assert!(matches!(
        bus.read_block(id(1), 56, 15),
        Err(BusError::Timeout { .. })
    ));
    // Three attempts of 20 ms and two quarantines of at most 40.
    assert!(
        bus.now() - before < Duration::from_millis(145),
        "{:?}",
        bus.now()
    );
}

#[test]
fn corrupt_replies_are_asked_again_and_never_returned() {
    let mut count = 0;
    let mut bus = bus(move |request| {
        count += 1;
        let mut bytes = answer(request);
        if count % 2 == 0 {
            bytes[5] ^= 0x10;
        }
        vec![(1, bytes)]
    });
    for _ in 0..20 {
        assert_eq!(bus.read_block(id(4), 56, 2).unwrap().data, [4, 4]);
    }
    assert!(bus.stats().bad_checksums >= 10);
}

#[test]
fn an_adapter_that_echoes_is_recognised_and_its_echo_is_no_answer() {
    let mut bus = bus(|request| {
        let mut bytes = request.to_vec();
        // Servo 2 alone is connected.
        if request[2] == 2 {
            bytes.extend(answer(request));
        }
        vec![(1, bytes)]
    });
    assert_eq!(bus.ping(id(1)).unwrap(), None);
    assert!(bus.ping(id(2)).unwrap().is_some());
    assert_eq!(bus.read_block(id(2), 56, 2).unwrap().data, [2, 2]);
    assert!(matches!(
        bus.read_block(id(1), 56, 2),
        Err(BusError::Timeout { .. })
    ));
}

#[test]
fn a_voltage_alarm_on_servo_one_is_not_mistaken_for_an_echo() {
    // Its ping reply has exactly the bytes of the request.
    let mut bus = bus(|request| match request[4] {
        codec::instruction::PING => {
            vec![(1, codec::status(id(1), Alarms::from_bits(1), &[]).unwrap())]
        }
        _ => vec![(1, answer(request))],
    });
    assert_eq!(bus.ping(id(1)).unwrap(), Some(Alarms::from_bits(1)));
}

#[test]
fn a_write_is_verified_without_an_acknowledgement() {
    let mut value = [0u8; 2];
    let mut bus = bus(move |request| match request[4] {
        codec::instruction::WRITE => {
            value.copy_from_slice(&request[6..8]);
            Vec::new()
        }
        _ if request[5] == 48 => {
            let mut data = vec![0; request[6].into()];
            data[..2].copy_from_slice(&value);
            vec![(1, reply(request[2], &data))]
        }
        _ => vec![(1, answer(request))],
    });
    bus.write(id(1), TORQUE_LIMIT, 500).unwrap();
}

#[test]
fn a_write_that_does_not_stick_is_an_error() {
    let mut bus = bus(|request| {
        let mut bytes = answer(request);
        if request[4] == codec::instruction::READ && request[5] == 48 {
            bytes = reply(request[2], &vec![0; request[6].into()]);
        }
        vec![(1, bytes)]
    });
    assert!(matches!(
        bus.write(id(1), TORQUE_LIMIT, 500),
        Err(BusError::NotStored { address: 48, .. })
    ));
}

#[test]
fn eeprom_is_unlocked_only_around_a_change() {
    let table = Arc::new(Mutex::new([0u8; 256]));
    let servo = table.clone();
    let (mut bus, sent) = line(
        move |request| {
            let mut table = servo.lock().unwrap();
            let address = usize::from(request[5]);
            match request[4] {
                codec::instruction::WRITE => {
                    let data = &request[6..request.len() - 1];
                    table[address..address + data.len()].copy_from_slice(data);
                    vec![(1, reply(request[2], &[]))]
                }
                _ => {
                    let data = &table[address..address + usize::from(request[6])];
                    vec![(1, reply(request[2], data))]
                }
            }
        },
        None,
    );
    let offset = SignMagnitude::new(-312).unwrap();
    bus.store(id(1), HOMING_OFFSET, offset).unwrap();
    assert_eq!(bus.read(id(1), HOMING_OFFSET).unwrap(), offset);
    let writes = |sent: &Mutex<Vec<Vec<u8>>>| {
        let sent = sent.lock().unwrap();
        let writes = sent.iter().filter(|f| f[4] == codec::instruction::WRITE);
        writes.map(|f| (f[5], f[6])).collect::<Vec<_>>()
    };
    assert_eq!(writes(&sent), [(55, 0), (31, 0x38), (55, 1)]);
    bus.store(id(1), HOMING_OFFSET, offset).unwrap();
    assert_eq!(
        writes(&sent).len(),
        3,
        "an equal value is not written again"
    );
    assert_eq!(table.lock().unwrap()[31..33], [0x38, 0x09]);
}

#[test]
fn a_pulled_cable_is_told_from_a_silent_servo() {
    let (mut bus, _) = line(|_| Vec::new(), Some(5));
    assert!(matches!(bus.ping(id(1)), Err(BusError::Gone { .. })));
    assert!(matches!(
        bus.sync_read(&ids(), PRESENT_POSITION),
        Err(BusError::Gone { .. })
    ));
    let mut bus = self::bus(|_| Vec::new());
    assert!(matches!(
        bus.read(id(1), TORQUE),
        Err(BusError::Timeout { .. })
    ));
}

#[test]
fn a_babbling_line_ends_in_bounded_work() {
    let mut bus = bus(|_| vec![(0, vec![0xFF; 100_000])]);
    assert_eq!(bus.ping(id(1)).unwrap(), None);
    assert!(bus.stats().skipped_bytes <= 2 * MAX_RECEIVED as u64);
}

#[test]
fn a_port_that_cannot_be_opened_says_why() {
    let open = |path: &str| Bus::open(path, BusConfig::default()).err().unwrap();
    let error = open("/dev/this-port-is-missing");
    assert!(matches!(&error, BusError::Port(PortError::Missing { .. })));
    assert!(error.to_string().contains("rapport find-port"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = open(file.path().to_str().unwrap());
    assert!(
        matches!(&error, BusError::Port(PortError::NotSerial { .. })),
        "{error}"
    );
}

#[test]
fn typed_reads_refuse_values_without_meaning() {
    let mut bus = bus(|request| {
        let data = vec![128; request.get(6).map_or(0, |n| (*n).into())];
        vec![(1, reply(request[2], &data))]
    });
    assert!(matches!(
        bus.read(id(1), TORQUE),
        Err(BusError::Nonsense {
            register: "TORQUE",
            ..
        })
    ));
    assert_eq!(
        bus.read(id(1), GOAL_POSITION).unwrap(),
        SignMagnitude::from_raw(0x8080)
    );
    assert_ne!(Torque::Off, Torque::On);
}
