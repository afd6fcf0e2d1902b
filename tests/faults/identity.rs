//! Faults 17 to 25: servos that are not what, or not set up as, they should be.

use std::time::Duration;

use rapport::robot::feetech::registers::{
    HOMING_OFFSET, ID, LOCK, Lock, MAX_POSITION, MIN_POSITION, MODE, MODEL, P_GAIN, RESPONSE_LEVEL,
};
use rapport::robot::feetech::{BusConfig, ServoId};
use rapport::robot::guard::{GuardError, GuardState};
use rapport::robot::sanity::Response;
use rapport::sim::Torque;

use crate::bench::{Bench, Line, Seen};

const SECOND: Duration = Duration::from_secs(1);

fn id(n: u8) -> ServoId {
    ServoId::new(n).unwrap()
}

/// A servo with other bytes in its permanent settings.
fn with_bytes(servo: u8, address: u8, bytes: &[u8]) -> Line {
    let line = Line::new();
    poke(&line, servo, LOCK.address(), &[0]);
    poke(&line, servo, address, bytes);
    poke(&line, servo, LOCK.address(), &[1]);
    line
}

/// Writes behind the driver's back.
fn poke(line: &Line, servo: u8, address: u8, bytes: &[u8]) {
    let mut frame = vec![0xFF, 0xFF, servo, bytes.len() as u8 + 3, 3, address];
    frame.extend(bytes);
    frame.push(rapport::robot::feetech::codec::checksum(&frame[2..]));
    let now = rapport::robot::Clock::now(&line.twin);
    let mut chain = line.twin.chain();
    chain.receive(&frame, now);
    chain.take_due(now + Duration::from_millis(50));
}

/// From the start it is named and nothing is energised; dying later it hides no other servo, and stopping reaches the others.
pub fn silent_servo() -> Seen {
    let mut line = Line::new();
    line.faults(|f| f.servo(3).silent = true);
    let said = line.refusal();
    assert!(
        said.contains("wrist_flex") && !said.contains("elbow"),
        "{said}"
    );

    let mut bench = Bench::running();
    bench.line.faults(|f| f.servo(3).silent = true);
    let taken = bench.until(GuardState::Hold, SECOND);
    let reason = bench.reason().unwrap().to_string();
    assert!(reason.contains("wrist_flex"), "{reason}");
    match bench.control.stop() {
        Err(GuardError::TorqueRemains { joints, .. }) => {
            assert!(joints.contains(&"wrist_flex".to_owned()), "{joints:?}");
        }
        other => panic!("{other:?}"),
    }
    let torques = bench.line.torques();
    assert_eq!(torques.iter().filter(|t| **t == Torque::Off).count(), 5);
    bench.row(Some(taken))
}

pub fn duplicate_id() -> Seen {
    let mut line = with_bytes(2, ID.address(), &[3]);
    let said = line.refusal();
    assert!(
        said.contains("one id") || said.contains("no answer"),
        "{said}"
    );
    Seen::refused(&line)
}

pub fn wrong_model() -> Seen {
    // The model is in the firmware: no write reaches it, so the twin is asked to be another one by its versions.
    let mut line = Line::with(|servos| servos[4].model = 1284);
    let said = line.refusal();
    assert!(
        said.contains("wrist_roll") && said.contains("1284"),
        "{said}"
    );
    let mut line = Line::with(|servos| servos[4].firmware = (3, 9));
    let said = line.refusal();
    assert!(said.contains("firmware") && said.contains("3.9"), "{said}");
    assert_eq!(MODEL.address(), 3);
    Seen::refused(&line)
}

pub fn wrong_mode() -> Seen {
    for mode in [1, 2, 3] {
        let mut line = with_bytes(5, MODE.address(), &[mode]);
        let said = line.refusal();
        assert!(
            said.contains("wrist_roll") && said.contains("mode"),
            "{said}"
        );
    }
    Seen::refused(&with_bytes(5, MODE.address(), &[2]))
}

pub fn wrong_limits() -> Seen {
    for (low, high) in [(0u16, 0u16), (3000, 1000), (1100, 3000)] {
        let line = with_bytes(2, MIN_POSITION.address(), &low.to_le_bytes());
        poke(&line, 2, MAX_POSITION.address(), &high.to_le_bytes());
        let mut line = line;
        let said = line.refusal();
        assert!(
            said.contains("shoulder_lift") && said.contains("range"),
            "{said}"
        );
    }
    Seen::refused(&Line::new())
}

/// Another offset than the file's is refused at connect. A motor that turns the other way round drives away from its goal as soon as torque
/// is on: then torque goes off. A small move of every joint finds those that do not do what they are told.
pub fn wrong_direction() -> Seen {
    let mut line = with_bytes(1, HOMING_OFFSET.address(), &100u16.to_le_bytes());
    let said = line.refusal();
    assert!(said.contains("offset"), "{said}");

    let mut bench = Bench::new();
    bench.control.enable().unwrap();
    let moved = bench.control.sanity_move();
    assert_eq!(moved.len(), 6);
    assert!(moved.iter().all(Response::is_right), "{moved:?}");
    bench.line.faults(|f| f.servo(1).jammed = true);
    let moved = bench.control.sanity_move();
    assert_eq!(moved.last().unwrap().name, "shoulder_lift", "{moved:?}");
    assert!(!moved.last().unwrap().is_right());

    let mut bench = Bench::running();
    bench.line.faults(|f| f.servo(2).reversed = true);
    let taken = bench.until(GuardState::Fault, SECOND);
    let reason = bench.reason().unwrap().to_string();
    assert!(reason.contains("elbow_flex runs away"), "{reason}");
    bench.row(Some(taken))
}

/// What is stored is read back, and an open lock is closed again.
pub fn open_lock() -> Seen {
    let line = Line::new();
    poke(&line, 6, LOCK.address(), &[0]);
    let mut bench = Bench::on(line, |_| {});
    let lock =
        |bench: &Bench| bench.line.twin.chain().servos()[5].table()[usize::from(LOCK.address())];
    assert_eq!(lock(&bench), 0, "looking changes nothing");
    bench = bench.run();
    assert_eq!(lock(&bench), 1);
    bench.control.stop().unwrap();

    // A write that the servo forgets when its power goes is found by reading it back after that.
    let mut line = Line::new();
    let mut bus = line.bus();
    bus.store(id(1), P_GAIN, 20).unwrap();
    line.twin.chain().brown_out(0);
    assert_eq!(bus.read(id(1), P_GAIN).unwrap(), 20);
    bus.write(id(1), LOCK, Lock::Closed).unwrap();
    poke(&line, 1, P_GAIN.address(), &[30]);
    line.twin.chain().brown_out(0);
    assert_eq!(
        bus.read(id(1), P_GAIN).unwrap(),
        20,
        "with a closed lock it does not last"
    );
    bench.row(None)
}

/// There is no way to say it: see the `compile_fail` examples of `rapport::robot::feetech::registers`. Whatever the driver does, no servo
/// ever sees 128 in register 40, nor a reset.
pub fn recentring() -> Seen {
    let mut bench = Bench::running();
    bench.control.stop().unwrap();
    let sent = bench.line.adapter.lock().unwrap().sent.clone();
    let frames: Vec<_> = sent
        .windows(7)
        .filter(|w| w[0] == 0xFF && w[1] == 0xFF)
        .collect();
    assert!(frames.len() > 100);
    for frame in &frames {
        assert_ne!(frame[4], 6, "factory reset");
        assert_ne!(frame[4], 11, "calibration");
        let writes_torque = frame[4] == 3 && frame[5] == 40;
        assert!(!writes_torque || frame[6] <= 1, "{frame:?}");
    }
    bench.row(None)
}

pub fn no_acknowledgements() -> Seen {
    let line = Line::new();
    for servo in 1..=6 {
        poke(&line, servo, LOCK.address(), &[0]);
        poke(&line, servo, RESPONSE_LEVEL.address(), &[0]);
        poke(&line, servo, LOCK.address(), &[1]);
    }
    assert_eq!(BusConfig::default().retries, 2);
    let mut bench = Bench::on(line, |_| {}).run();
    for _ in 0..50 {
        bench.tick();
        bench.truthful();
    }
    bench.control.stop().unwrap();
    assert!(bench.line.torques().iter().all(|t| *t == Torque::Off));
    bench.row(None)
}
