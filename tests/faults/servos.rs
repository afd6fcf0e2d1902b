//! Faults 26 to 37: servos that fail while they work.

use std::time::Duration;

use rapport::robot::guard::{GuardState, Reason};
use rapport::robot::{Clock as _, MotorAlarm};
use rapport::sim::Torque;

use crate::bench::{Bench, Goals, REST, Seen};

const SECOND: Duration = Duration::from_secs(1);

fn is_motor(reason: Option<Reason>, wanted: MotorAlarm) -> bool {
    matches!(reason, Some(Reason::Motor { alarm, .. }) if alarm == wanted)
}

/// Warm is counted, hot holds, too hot switches every servo off, also the one that complains in every reply.
pub fn over_temperature() -> Seen {
    let mut bench = Bench::running();
    bench.line.faults(|f| f.servo(2).temperature = Some(57.0));
    bench.stays(GuardState::Running, SECOND);
    assert!(bench.control.guard().report().warm > 50);
    bench.line.faults(|f| f.servo(2).temperature = Some(63.0));
    bench.until(GuardState::Hold, SECOND);
    bench.line.faults(|f| {
        f.servo(2).temperature = Some(71.0);
        f.servo(2).alarms = 4;
    });
    let taken = bench.until_limp(SECOND);
    assert!(matches!(bench.reason(), Some(Reason::Hot { .. })));
    bench.stays(GuardState::Fault, SECOND);
    bench.row(Some(taken))
}

/// A sagging supply holds. A servo that was without power for a moment stays off: no goal goes out after it was seen.
pub fn brown_out() -> Seen {
    let mut bench = Bench::running();
    bench.line.faults(|f| f.servo(4).voltage = Some(4.2));
    let held = bench.until(GuardState::Hold, SECOND);
    assert!(
        held >= Duration::from_millis(400),
        "a dip of some milliseconds is none: {held:?}"
    );

    let mut bench = Bench::running();
    bench.line.twin.chain().brown_out(4);
    let taken = bench.until(GuardState::Fault, SECOND);
    assert!(
        is_motor(bench.reason(), MotorAlarm::Reset),
        "{:?}",
        bench.reason()
    );
    // A goal may have switched it on again before; from now on none does.
    bench.line.twin.chain().brown_out(4);
    bench.stays(GuardState::Fault, SECOND);
    assert_eq!(bench.line.torques()[4], Torque::Off);
    bench.row(Some(taken))
}

/// Before the servo itself gives way (2 s), the arm holds.
pub fn overload() -> Seen {
    let mut bench = Bench::running();
    bench.goals = Goals::Fixed(REST.map(|q| q + 0.4).to_vec());
    bench.line.faults(|f| f.servo(1).jammed = true);
    let taken = bench.until(GuardState::Hold, 3 * SECOND);
    assert_eq!(
        bench.line.twin.chain().servos()[1].alarms(),
        0,
        "it has not given way yet"
    );

    let mut bench = Bench::running();
    bench.line.faults(|f| f.servo(1).alarms = 32);
    bench.until(GuardState::Hold, SECOND);
    assert!(
        is_motor(bench.reason(), MotorAlarm::Overload),
        "{:?}",
        bench.reason()
    );
    bench.row(Some(taken))
}

/// A servo that has cut its torque gets no goal that would switch it on again.
pub fn over_current() -> Seen {
    let mut bench = Bench::running();
    let mut clock = bench.line.twin.clone();
    clock.sleep_until(clock.now() + Duration::from_millis(4));
    bench.line.faults(|f| f.servo(1).current = Some(2.4));
    // A goal that goes out at the very moment switches it on again before anybody looks, which is why this one is put between two ticks: a cut-out
    // in step with the loop was not seen in 20 s.
    let mut on_at = bench.now();
    while bench.state() == GuardState::Running {
        on_at = bench.now();
        bench.tick();
        assert!(bench.now() < 20 * SECOND);
    }
    let taken = bench.now() - on_at;
    assert!(
        is_motor(bench.reason(), MotorAlarm::CutOut),
        "{:?}",
        bench.reason()
    );
    bench.stays(GuardState::Fault, SECOND);
    assert_eq!(bench.line.torques()[1], Torque::Off);
    bench.row(Some(taken))
}

/// The command stays near the joint that is stuck, so that nothing springs loose when it comes free.
pub fn stuck_joint() -> Seen {
    let mut bench = Bench::running();
    bench.line.faults(|f| f.servo(3).jammed = true);
    bench.goals = Goals::Fixed(REST.map(|q| q - 0.5).to_vec());
    let taken = bench.until(GuardState::Hold, 3 * SECOND);
    let gap = |b: &Bench| {
        let measured = &b.control.guard().measured().unwrap().positions;
        (b.control.guard().command()[3] - measured[3]).abs()
    };
    assert!(gap(&bench) < 0.25, "{}", gap(&bench));
    bench.line.faults(|f| f.servo(3).jammed = false);
    let before = bench.control.guard().measured().unwrap().positions[3];
    bench.stays(GuardState::Hold, SECOND);
    let after = bench.control.guard().measured().unwrap().positions[3];
    assert!((after - before).abs() < 0.3, "{before} {after}");
    bench.row(Some(taken))
}

/// The fault bit of the encoder, and an encoder that says the same for ever.
pub fn encoder_fault() -> Seen {
    let mut bench = Bench::running();
    let frozen = bench.line.twin.chain().servos()[2].table()[56..58].to_vec();
    let frozen = i32::from(u16::from_le_bytes([frozen[0], frozen[1]]));
    bench
        .line
        .faults(|f| f.servo(2).frozen_position = Some(frozen));
    bench.goals = Goals::Fixed(REST.map(|q| q + 0.4).to_vec());
    let taken = bench.until(GuardState::Hold, 3 * SECOND);

    let mut bench = Bench::running();
    bench.line.faults(|f| f.servo(2).alarms = 2);
    bench.until(GuardState::Fault, SECOND);
    bench.row(Some(taken))
}

/// Beyond the seam of the encoder there is no place inside the range: such an arm is not energised, and one that gets there holds.
pub fn wrapped_encoder() -> Seen {
    let mut bench = Bench::new();
    bench.line.faults(|f| f.servo(0).slip = 1500);
    let said = bench.control.enable().unwrap_err().to_string();
    assert!(said.contains("shoulder_pan"), "{said}");
    assert!(bench.line.torques().iter().all(|t| *t == Torque::Off));

    let mut bench = Bench::running();
    let limit = bench
        .line
        .calibration
        .motor("shoulder_pan")
        .unwrap()
        .range_max;
    let mut at = bench.line.twin.chain().servos()[0].goal();
    let mut taken = Duration::ZERO;
    while bench.state() == GuardState::Running && at < 4096 {
        // At a speed that a servo can have: no jump gives it away.
        at += 12;
        bench.line.faults(|f| f.servo(0).frozen_position = Some(at));
        bench.tick();
        taken += if at > limit {
            Duration::from_millis(10)
        } else {
            Duration::ZERO
        };
    }
    assert_eq!(bench.state(), GuardState::Hold, "{:?}", bench.reason());
    bench.row(Some(taken))
}

/// A horn that slips: a position that cannot be, again and again.
pub fn position_jump() -> Seen {
    let mut bench = Bench::running();
    bench.line.faults(|f| f.servo(2).slip = -700);
    let taken = bench.until(GuardState::Fault, 2 * SECOND);
    bench.row(Some(taken))
}

/// After the stop no byte of a goal leaves, whatever comes in. Before the first goal, torque goes on where the arm is.
pub fn goal_after_stop() -> Seen {
    let mut bench = Bench::new();
    bench.control.enable().unwrap();
    let positions = |b: &Bench| b.line.world.arm_state().unwrap().positions;
    let before = positions(&bench);
    bench.goals = Goals::None;
    bench.stays(GuardState::Armed, SECOND);
    for (a, b) in before.iter().zip(positions(&bench)) {
        assert!(
            (a - b).abs() < 0.05,
            "the stale goal 0 was not driven to: {a} {b}"
        );
    }
    bench.goals = Goals::Wave;
    bench.until(GuardState::Running, 5 * SECOND);
    bench.control.stop().unwrap();
    bench.line.adapter.lock().unwrap().sent.clear();
    bench.stays(GuardState::Limp, SECOND);
    let sent = bench.line.adapter.lock().unwrap().sent.clone();
    let goals = sent
        .windows(7)
        .filter(|w| w[..2] == [0xFF; 2] && matches!(w[4], 3 | 0x83) && w[5] == 42);
    assert_eq!(goals.count(), 0);
    bench.row(None)
}

/// The goal register is read back: a servo that takes none is named.
pub fn lost_goals() -> Seen {
    let mut bench = Bench::running();
    bench.line.faults(|f| f.servo(1).deaf = true);
    let taken = bench.until(GuardState::Hold, SECOND);
    assert!(
        is_motor(bench.reason(), MotorAlarm::Deaf),
        "{:?}",
        bench.reason()
    );
    bench.line.faults(|f| f.servo(1).deaf = false);
    bench.row(Some(taken))
}

/// Our limits are inside the servo's own, so it never has to clamp a goal.
pub fn clamped_goals() -> Seen {
    let mut bench = Bench::running();
    bench.goals = Goals::Fixed(vec![9.0; 6]);
    for _ in 0..300 {
        bench.tick();
        for servo in bench.line.twin.chain().servos() {
            let goal = &servo.table()[42..44];
            let goal = i32::from(u16::from_le_bytes([goal[0], goal[1]]));
            assert_eq!(servo.goal(), goal, "it clamps");
        }
    }
    bench.within_limits();
    bench.row(None)
}

/// A stop takes the torque back over two seconds: the arm sinks, it does not fall.
pub fn gravity() -> Seen {
    let fall = |soft: bool| {
        let mut bench = Bench::running();
        bench.goals = Goals::None;
        let start = bench.now();
        match soft {
            true => bench.control.stop().unwrap(),
            false => bench.control.emergency_stop().unwrap(),
        }
        let taken = bench.now() - start;
        bench.goals = Goals::None;
        for _ in 0..100 {
            bench.tick();
        }
        let heights = bench.line.heights.lock().unwrap();
        let after: Vec<_> = heights.iter().filter(|(at, _)| *at >= start).collect();
        // Over 20 ms, so that a step of the simulation is no speed.
        let fastest = after
            .iter()
            .zip(
                after
                    .iter()
                    .skip_while(|(at, _)| *at < start + Duration::from_millis(20)),
            )
            .map(|((t, h), (u, g))| (h - g) / (*u - *t).as_secs_f64())
            .fold(0.0, f64::max);
        drop(heights);
        (fastest, taken, bench)
    };
    let (hard, ..) = fall(false);
    let (soft, taken, bench) = fall(true);
    assert!(soft < hard, "{soft} {hard}");
    assert!(soft < 0.2, "{soft} m/s, at once {hard} m/s");
    bench.row(Some(taken))
}
