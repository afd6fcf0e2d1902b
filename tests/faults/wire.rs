//! Faults 1 to 16: bytes, adapter, port.

use std::time::Duration;

use rapport::robot::ArmError;
use rapport::robot::feetech::registers::BaudRate;
use rapport::robot::feetech::{Bus, BusConfig, BusError, FeetechArm, PortError, ServoId};
use rapport::robot::guard::GuardState;
use rapport::sim::servo_bus::ReplyFault;

use crate::bench::{Bench, Line, Seen};

const SECOND: Duration = Duration::from_secs(1);

/// A reply in every fourth cycle is damaged like this for two seconds: the arm goes on, and what it believes is true.
fn shrugged_off(fault: ReplyFault) -> Seen {
    let mut bench = Bench::running();
    for tick in 0..200 {
        if tick % 4 == 0 {
            bench.line.faults(|f| {
                f.script.clear();
                f.script.extend((0..tick / 4 % 7).map(|_| ReplyFault::Pass));
                f.script.push_back(fault.clone());
            });
        }
        bench.tick();
        bench.truthful();
        assert_eq!(bench.state(), GuardState::Running, "{:?}", bench.reason());
    }
    bench.within_limits();
    bench.row(None)
}

pub fn dropped_bytes() -> Seen {
    for at in [0, 3, 5, 9] {
        shrugged_off(ReplyFault::DropByte(at));
    }
    shrugged_off(ReplyFault::DropByte(7))
}

/// A few are survived; when nothing gets through any more the arm holds.
pub fn flipped_bits() -> Seen {
    shrugged_off(ReplyFault::Flip(6, 0x10));
    let mut bench = Bench::running();
    bench.line.faults(|f| f.flip_probability = 1.0);
    let taken = bench.until(GuardState::Hold, SECOND);
    assert!(taken <= Duration::from_millis(250), "{taken:?}");
    bench.line.faults(|f| f.flip_probability = 0.0);
    bench.stays(GuardState::Hold, SECOND);
    bench.row(Some(taken))
}

/// Positions that are wrong and have a right checksum, three times in a row.
pub fn forged_values() -> Seen {
    shrugged_off(ReplyFault::Forge(6, 0x04));
    let mut bench = Bench::running();
    bench.line.faults(|f| f.servo(1).slip = 500);
    let taken = bench.until(GuardState::Fault, 2 * SECOND);
    bench.row(Some(taken))
}

pub fn noise_between_frames() -> Seen {
    shrugged_off(ReplyFault::Noise(vec![0xFF; 40]));
    shrugged_off(ReplyFault::Noise(vec![0x00, 0xFF, 0xFF, 0x03]))
}

pub fn short_replies() -> Seen {
    shrugged_off(ReplyFault::Shorten(1));
    shrugged_off(ReplyFault::Shorten(9))
}

pub fn wrong_lengths() -> Seen {
    // The length byte becomes 0, 1, 255, with and without a checksum that agrees.
    for mask in [17, 16, 238] {
        shrugged_off(ReplyFault::Flip(3, mask));
    }
    shrugged_off(ReplyFault::Forge(3, 16))
}

pub fn foreign_ids() -> Seen {
    shrugged_off(ReplyFault::FromId(77))
}

/// LeRobot's bus class: one reply that comes after its timeout makes every later read one cycle old (295 of 300).
pub fn late_reply() -> Seen {
    let mut bench = Bench::running();
    bench.line.faults(|f| {
        f.script
            .push_back(ReplyFault::Delay(Duration::from_millis(65)))
    });
    for _ in 0..300 {
        bench.tick();
        bench.truthful();
    }
    assert_eq!(bench.state(), GuardState::Running);
    bench.row(None)
}

pub fn duplicates() -> Seen {
    shrugged_off(ReplyFault::Duplicate)
}

/// Every transaction ends at its deadline, whatever dribbles in.
pub fn dribbling_bytes() -> Seen {
    let mut bench = Bench::running();
    bench.line.faults(|f| f.dribble = Duration::from_millis(8));
    let taken = bench.until(GuardState::Hold, SECOND);
    bench.row(Some(taken))
}

/// 4 ms more are nothing; half a second is blindness.
pub fn latency() -> Seen {
    let mut bench = Bench::running();
    bench.line.faults(|f| f.latency = Duration::from_millis(4));
    for _ in 0..100 {
        bench.tick();
    }
    assert!(bench.state().follows_goals(), "{:?}", bench.reason());
    bench
        .line
        .faults(|f| f.latency = Duration::from_millis(500));
    let taken = bench.until(GuardState::Hold, SECOND);
    bench.row(Some(taken))
}

pub fn echo() -> Seen {
    let line = Line::new();
    line.faults(|f| f.echo = true);
    let mut bench = Bench::on(line, |_| {}).run();
    for _ in 0..100 {
        bench.tick();
        bench.truthful();
    }
    bench.row(None)
}

/// Half a frame goes out, the rest is never sent as if it were a new one.
pub fn blocked_writes() -> Seen {
    let mut bench = Bench::running();
    for _ in 0..20 {
        bench.line.adapter.lock().unwrap().blocked_sends = 1;
        for _ in 0..8 {
            bench.tick();
            bench.truthful();
        }
        assert_eq!(bench.state(), GuardState::Running, "{:?}", bench.reason());
    }
    bench.line.adapter.lock().unwrap().blocked_sends = u32::MAX;
    let taken = bench.until(GuardState::Fault, SECOND);
    bench.line.adapter.lock().unwrap().blocked_sends = 0;
    bench.row(Some(taken))
}

/// Nothing can be sent any more: the servos hold, and a person must cut their power. Plugged in again, nothing arms by itself.
pub fn cable_out() -> Seen {
    let mut bench = Bench::running();
    bench.line.adapter.lock().unwrap().unplugged = true;
    let taken = bench.until(GuardState::Fault, SECOND);
    assert!(taken <= Duration::from_millis(20), "{taken:?}");
    let reason = bench.reason().unwrap().to_string();
    assert!(reason.contains("cut its power"), "{reason}");
    bench.line.adapter.lock().unwrap().unplugged = false;
    let sent = bench.line.adapter.lock().unwrap().sent.len();
    bench.stays(GuardState::Fault, SECOND);
    assert_eq!(
        bench.line.adapter.lock().unwrap().sent.len(),
        sent,
        "no byte after it"
    );
    bench.row(Some(taken))
}

/// Opened, each says what is wrong and what to do, before a byte is sent.
pub fn wrong_ports() -> Seen {
    let line = Line::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for (path, word) in [
        (dir.path().join("none"), "no such port"),
        (file, "not a serial port"),
        ("/dev/null".into(), "not a serial port"),
    ] {
        match FeetechArm::connect(path.to_str().unwrap(), &line.calibration) {
            Err(error @ ArmError::Open { .. }) => {
                assert!(error.to_string().contains(word), "{error}");
            }
            other => panic!("{:?}", other.err()),
        }
    }
    // Two programs on one port: rustix locks it for one of them.
    let (_master, slave) = pseudo_terminal();
    let first = Bus::open(&slave, BusConfig::default()).unwrap();
    let second = Bus::open(&slave, BusConfig::default());
    assert!(matches!(
        second.err(),
        Some(BusError::Port(PortError::Busy { .. }))
    ));
    drop(first);
    Seen::refused(&line)
}

/// The path of a terminal that nobody answers on.
fn pseudo_terminal() -> (std::os::fd::OwnedFd, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    (master, name.to_str().unwrap().to_owned())
}

pub fn wrong_speed() -> Seen {
    let mut line = Line::with(|servos| servos[2].baud = BaudRate::B115200);
    let said = line.refusal();
    assert!(said.contains("elbow_flex"), "{said}");
    let mut all = Line::with(|servos| servos.iter_mut().for_each(|s| s.baud = BaudRate::B500000));
    let said = all.refusal();
    assert!(
        said.contains("gripper") && said.contains("shoulder_pan"),
        "{said}"
    );
    // Asked for, a scan at that speed finds them.
    let mut line = Line::with(|servos| servos.iter_mut().for_each(|s| s.baud = BaudRate::B500000));
    line.twin.chain().set_speed(500_000);
    let mut bus = line.bus();
    let ids = (1..=6).filter_map(ServoId::new);
    let found = rapport::robot::feetech::setup::scan(&mut bus, ids).unwrap();
    assert_eq!(found.len(), 6);
    Seen::refused(&line)
}
