//! The real driver, unchanged, against the twin: every fault of the wire and of the servos that it must survive or report.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rapport_robot::calibration::{Calibration, MotorCalibration};
use rapport_robot::feetech::registers::{MIN_POSITION, MODE, PHASE, PRESENT_POSITION};
use rapport_robot::feetech::{
    Bus, BusConfig, BusError, FeetechArm, FeetechConfig, PortError, ServoId,
};
use rapport_robot::guard::{Guard, GuardConfig, GuardState};
use rapport_robot::{Arm as _, ArmError, Clock as _, SystemClock, so101};

use super::twin_tests::Hinges;
use super::*;
use crate::scene::{Scene, SceneConfig};
use crate::world::{Torque, World};

const REST: [f64; 6] = [0.1, -0.4, 0.3, 0.9, 0.2, 0.5];

fn id(n: u8) -> ServoId {
    ServoId::new(n).unwrap()
}

fn hinges_at(positions: [f64; 6]) -> Hinges {
    let hinges = Hinges::default();
    for (hinge, position) in hinges.0.lock().unwrap().iter_mut().zip(positions) {
        hinge.angle = position;
    }
    hinges.0.lock().unwrap()[5].angle = so101::jaw_angle_from_opening(positions[5]);
    hinges
}

/// The driver on a bus in virtual time, before it has said anything.
fn line() -> (VirtualBus, Bus, Hinges) {
    let hinges = hinges_at(REST);
    let config = ServoBusConfig::uncalibrated_so101();
    let (twin, port) = VirtualBus::new(&config, Box::new(hinges.clone())).unwrap();
    let bus = Bus::new(Box::new(port), BusConfig::default());
    (twin, bus, hinges)
}

fn connect(bus: Bus) -> Result<FeetechArm, ArmError> {
    FeetechArm::on_bus(
        bus,
        &ServoBusConfig::calibration(),
        FeetechConfig::default(),
    )
}

fn arm() -> (VirtualBus, FeetechArm, Hinges) {
    let (twin, bus, hinges) = line();
    (twin, connect(bus).unwrap(), hinges)
}

fn torques(twin: &VirtualBus) -> Vec<Torque> {
    let chain = twin.chain();
    chain.servos().iter().map(Servo::torque).collect()
}

fn mismatch(result: Result<FeetechArm, ArmError>) -> String {
    match result {
        Err(ArmError::Mismatch(sentence)) => sentence,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it connected"),
    }
}

/// Raw write that no driver of ours would send.
fn poke(twin: &VirtualBus, n: u8, address: u8, data: &[u8]) {
    let mut frame = vec![0xFF, 0xFF, n, data.len() as u8 + 3, 3, address];
    frame.extend(data);
    frame.push(rapport_robot::feetech::codec::checksum(&frame[2..]));
    let now = twin.now();
    twin.chain().receive(&frame, now);
}

#[test]
fn a_healthy_arm_reads_every_channel() {
    let (_twin, mut arm, _) = arm();
    let state = arm.read().unwrap();
    for (read, is) in state.positions.iter().zip(REST) {
        // Half a tick, and LeRobot's 4095 ticks a turn.
        assert!((read - is).abs() < 1.5e-3, "{read} {is}");
    }
    assert_eq!(state.velocities, [0.0; 6]);
    assert_eq!(state.loads, [0.0; 6]);
    assert!(state.temperatures.iter().all(|t| (20.0..40.0).contains(t)));
    assert!(state.voltages.iter().all(|v| (7.0..8.0).contains(v)));
    assert_eq!(state.currents, [0.0; 6]);
    assert_eq!(arm.spec(), &so101::spec());
}

#[test]
fn enabling_moves_nothing_and_disabling_is_read_back() {
    let (twin, mut arm, hinges) = arm();
    assert_eq!(arm.torque_enabled().unwrap(), [false; 6]);
    arm.enable().unwrap();
    assert_eq!(arm.torque_enabled().unwrap(), [true; 6]);
    twin.clone()
        .sleep_until(twin.now() + Duration::from_secs(1));
    for (hinge, is) in hinges.0.lock().unwrap()[..5].iter().zip(REST) {
        assert!((hinge.angle - is).abs() < 1e-3, "{} {is}", hinge.angle);
    }
    assert_eq!(twin.chain().servos()[5].table()[48..50], [0xF4, 1]);
    arm.disable().unwrap();
    assert_eq!(arm.torque_enabled().unwrap(), [false; 6]);
    assert_eq!(torques(&twin), [Torque::Off; 6]);
}

#[test]
fn a_dropped_arm_is_limp() {
    let (twin, mut arm, _) = arm();
    arm.enable().unwrap();
    assert_eq!(torques(&twin), [Torque::On; 6]);
    drop(arm);
    assert_eq!(torques(&twin), [Torque::Off; 6]);
}

#[test]
fn an_arm_outside_its_range_is_not_enabled() {
    let (twin, mut arm, hinges) = arm();
    // The calibrated range of shoulder_lift ends 2 degrees behind the model's 1.745.
    hinges.0.lock().unwrap()[1].angle = -1.9;
    match arm.enable() {
        Err(ArmError::Mismatch(sentence)) => {
            assert!(
                sentence.contains("shoulder_lift stands at tick"),
                "{sentence}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(torques(&twin), [Torque::Off; 6]);
}

#[test]
fn a_servo_that_is_not_what_it_should_be_is_refused_before_anything_moves() {
    let set = |n: u8, address: u8, data: &[u8]| {
        let (twin, bus, _) = line();
        poke(&twin, n, address, data);
        let sentence = mismatch(connect(bus));
        assert_eq!(torques(&twin), [Torque::Off; 6]);
        sentence
    };
    assert!(set(3, MODE.address(), &[1]).contains("elbow_flex: its mode is Velocity"));
    assert!(set(1, PHASE.address(), &[0x10]).contains("shoulder_pan: it counts several turns"));
    assert!(set(6, MIN_POSITION.address(), &[0, 0]).contains("gripper: the servo holds offset 0"));

    let (_twin, bus, _) = line();
    let mut motors: Vec<(String, MotorCalibration)> = ServoBusConfig::calibration()
        .motors()
        .map(|(name, motor)| (name.to_owned(), *motor))
        .collect();
    motors[0].1.homing_offset = -312;
    let other = Calibration::new(motors).unwrap();
    let sentence = mismatch(FeetechArm::on_bus(bus, &other, FeetechConfig::default()));
    assert!(
        sentence.contains("the calibration file says -312"),
        "{sentence}"
    );
}

#[test]
fn two_servos_with_one_id_are_noticed() {
    let (twin, bus, hinges) = line();
    // The calibration says 6; the gripper has become a second 5, which stands elsewhere.
    poke(&twin, 6, 5, &[5]);
    hinges.0.lock().unwrap()[4].angle = -1.0;
    assert!(matches!(connect(bus), Err(ArmError::Silent { joints, .. }) if joints == ["gripper"]));
}

#[test]
fn a_servo_silent_from_the_start_is_named() {
    let (twin, bus, _) = line();
    twin.chain().faults.servo(3).silent = true;
    match connect(bus) {
        Err(ArmError::Silent { joints, .. }) => assert_eq!(joints, ["wrist_flex"]),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn one_silent_servo_hides_no_other_and_is_no_obstacle_to_switching_off() {
    for silent in 0..6 {
        let (twin, mut arm, hinges) = arm();
        arm.enable().unwrap();
        twin.chain().faults.servo(silent).silent = true;
        hinges.0.lock().unwrap()[(silent + 1) % 6].angle += 0.01;
        let mut before = twin.now();
        for round in 0..8 {
            if round == 3 {
                before = twin.now();
            }
            match arm.read() {
                Err(ArmError::Silent { joints, .. }) => {
                    assert_eq!(joints, [so101::spec().joints[silent].name.clone()]);
                }
                other => panic!("{other:?}"),
            }
        }
        // Only the first reads ask the silent one again.
        let took = twin.now() - before;
        assert!(took < Duration::from_millis(50), "{took:?}");
        for (joint, (_, reading)) in arm.readings().enumerate() {
            let age = twin.now() - reading.unwrap().stamp;
            assert_eq!(age < Duration::from_millis(10), joint != silent, "{age:?}");
        }
        match arm.disable() {
            Err(ArmError::Silent { joints, .. }) => assert_eq!(joints.len(), 1),
            other => panic!("{other:?}"),
        }
        for (joint, torque) in torques(&twin).into_iter().enumerate() {
            let expected = if joint == silent {
                Torque::On
            } else {
                Torque::Off
            };
            assert_eq!(torque, expected);
        }
    }
}

#[test]
fn an_alarm_is_reported_and_stops_neither_reading_nor_switching_off() {
    let (twin, mut arm, _) = arm();
    arm.enable().unwrap();
    twin.chain().faults.servo(1).alarms = 0x20;
    arm.read().unwrap();
    let alarms: Vec<String> = arm
        .readings()
        .filter_map(|(_, reading)| reading.map(|r| r.alarms.to_string()))
        .collect();
    assert_eq!(alarms[1], "overload");
    assert_eq!(alarms[0], "no alarm");
    arm.disable().unwrap();
    assert_eq!(torques(&twin), [Torque::Off; 6]);
}

#[test]
fn a_servo_that_is_deaf_to_switching_off_is_named() {
    let (twin, mut arm, _) = arm();
    arm.enable().unwrap();
    twin.chain().faults.servo(2).deaf = true;
    match arm.disable() {
        Err(ArmError::Silent { joints, .. }) => assert_eq!(joints, ["elbow_flex"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        torques(&twin).iter().filter(|t| **t == Torque::On).count(),
        1
    );
}

#[test]
fn no_reading_of_300_is_stale_after_one_late_reply() {
    for late_ms in [25, 65, 120, 400] {
        let (twin, mut arm, hinges) = arm();
        for cycle in 0..300 {
            // 0.5 rad/s, so an old answer shows.
            twin.clone()
                .sleep_until(twin.now() + Duration::from_millis(10));
            let angle = 0.005 * f64::from(cycle) - 0.75;
            hinges.0.lock().unwrap()[0].angle = angle;
            if cycle == 50 {
                let late = ReplyFault::Delay(Duration::from_millis(late_ms));
                twin.chain().faults.script.extend(vec![late; 6]);
            }
            let state = arm.read().unwrap();
            assert!(
                (state.positions[0] - angle).abs() < 2.5e-3,
                "cycle {cycle}, {late_ms} ms: {} instead of {angle}",
                state.positions[0]
            );
        }
        assert_eq!(arm.stats().timeouts, 6);
    }
}

#[test]
fn one_damaged_reply_is_asked_again() {
    let faults = [
        ReplyFault::Lose,
        ReplyFault::Duplicate,
        ReplyFault::DropByte(0),
        ReplyFault::DropByte(3),
        ReplyFault::DropByte(11),
        ReplyFault::Flip(5, 0x40),
        ReplyFault::Flip(2, 0x07),
        ReplyFault::Shorten(1),
        ReplyFault::Shorten(15),
        ReplyFault::FromId(40),
        ReplyFault::Noise(vec![0xFF; 40]),
        ReplyFault::Noise(vec![0xFF, 0xFF, 3, 17]),
        // A value with a valid checksum that cannot be: 90 degrees in 10 ms, 25 V.
        ReplyFault::Forge(6, 0x04),
        ReplyFault::Forge(11, 0xF0),
    ];
    for fault in faults {
        for slot in 0..6 {
            let (twin, mut arm, _) = arm();
            arm.read().unwrap();
            let mut script = vec![ReplyFault::Pass; slot];
            script.push(fault.clone());
            twin.chain().faults.script.extend(script);
            let state = arm.read().unwrap();
            for (read, is) in state.positions.iter().zip(REST) {
                assert!((read - is).abs() < 1.5e-3, "{fault:?}: {read} {is}");
            }
        }
    }
}

#[test]
fn a_true_jump_is_a_fault() {
    let (twin, mut arm, _) = arm();
    arm.read().unwrap();
    twin.chain().faults.servo(4).slip = 600;
    match arm.read() {
        Err(error @ ArmError::Implausible { .. }) => {
            let sentence = error.to_string();
            assert!(
                sentence.contains("wrist_roll: it jumped from tick"),
                "{sentence}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reset_servo_shows_in_the_torque_switches() {
    let (twin, mut arm, _) = arm();
    arm.enable().unwrap();
    twin.chain().brown_out(1);
    assert_eq!(
        arm.torque_enabled().unwrap(),
        [true, false, true, true, true, true]
    );
}

#[test]
fn an_echoing_adapter_makes_no_difference() {
    let (twin, bus, _) = line();
    twin.chain().faults.echo = true;
    let mut arm = connect(bus).unwrap();
    arm.enable().unwrap();
    for _ in 0..10 {
        arm.read().unwrap();
    }
    arm.disable().unwrap();
    assert_eq!(torques(&twin), [Torque::Off; 6]);
}

#[test]
fn dribbling_bytes_end_at_the_deadline() {
    let (twin, mut arm, _) = arm();
    twin.chain().faults.dribble = Duration::from_millis(8);
    let before = twin.now();
    assert!(matches!(arm.read(), Err(ArmError::Silent { .. })));
    let took = twin.now() - before;
    assert!(took < Duration::from_millis(200), "{took:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_damage_never_becomes_a_wrong_position(
        seed in any::<u64>(), drop in 0.0f64..0.01, flip in 0.0f64..0.01,
    ) {
        let hinges = hinges_at(REST);
        let config = ServoBusConfig { seed, ..ServoBusConfig::uncalibrated_so101() };
        let (twin, port) = VirtualBus::new(&config, Box::new(hinges.clone())).unwrap();
        let mut arm = connect(Bus::new(Box::new(port), BusConfig::default())).unwrap();
        arm.read().unwrap();
        twin.chain().faults.drop_probability = drop;
        twin.chain().faults.flip_probability = flip;
        let mut read = 0;
        for cycle in 0..50 {
            let moved = 0.002 * f64::from(cycle);
            hinges.0.lock().unwrap()[0].angle = REST[0] + moved;
            if let Ok(state) = arm.read() {
                read += 1;
                for (joint, (measured, is)) in state.positions.iter().zip(REST).enumerate() {
                    let is = if joint == 0 { is + moved } else { is };
                    // What passes the checksum by chance (1 in 256) is bounded by what could have moved since the last reading.
                    prop_assert!((measured - is).abs() < 0.25, "{measured} {is}");
                }
            }
        }
        prop_assert!(read > 20, "{read} of 50 reads");
        twin.chain().faults = Faults::default();
        arm.enable().unwrap();
        twin.chain().faults.flip_probability = flip / 10.0;
        let _ = arm.disable();
        prop_assert_eq!(torques(&twin), vec![Torque::Off; 6]);
    }
}

#[test]
fn no_goal_leaves_the_guard_after_the_stop_whatever_the_line_does() {
    // A goal would switch torque on again.
    let (twin, arm, _) = arm();
    let mut guard = Guard::new(Box::new(arm), GuardConfig::default()).unwrap();
    let mut clock = twin.clone();
    guard.enable(clock.now()).unwrap();
    let tick = |clock: &mut VirtualBus, guard: &mut Guard| {
        clock.sleep_until(clock.now() + Duration::from_millis(10));
        guard.measure(clock.now());
        guard.send(clock.now(), Some(&[0.3, -0.3, 0.2, 0.8, 0.1, 0.4]));
    };
    for _ in 0..100 {
        tick(&mut clock, &mut guard);
    }
    twin.chain().faults.flip_probability = 0.004;
    twin.chain().faults.latency = Duration::from_millis(3);
    guard.stop().unwrap();
    assert_eq!(torques(&twin), [Torque::Off; 6]);
    for _ in 0..50 {
        tick(&mut clock, &mut guard);
        assert_eq!(torques(&twin), [Torque::Off; 6]);
    }
}

// From here on over a real pseudo-terminal, in the time of the wall. A test machine may be busy, so deadlines are generous.

fn patient() -> FeetechConfig {
    FeetechConfig {
        bus: BusConfig {
            turnaround_ms: 200,
            ..BusConfig::default()
        },
        ..FeetechConfig::default()
    }
}

fn twin_of_world() -> (ServoBus, World) {
    let world = World::new(Scene::new(SceneConfig::default()).unwrap()).unwrap();
    world.place_arm(&REST).unwrap();
    let plant = Box::new(WorldPlant::new(world.clone()));
    let config = ServoBusConfig::uncalibrated_so101();
    (ServoBus::start(&config, plant, None).unwrap(), world)
}

fn open(twin: &ServoBus) -> FeetechArm {
    let path = twin.path().to_str().unwrap();
    FeetechArm::connect_with(path, &ServoBusConfig::calibration(), patient()).unwrap()
}

#[test]
fn the_driver_holds_a_mujoco_arm_through_a_serial_port() {
    let (twin, world) = twin_of_world();
    let mut arm = open(&twin);
    arm.enable().unwrap();
    assert_eq!(arm.torque_enabled().unwrap(), [true; 6]);
    let held = arm.read().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let later = arm.read().unwrap();
    for (a, b) in held.positions.iter().zip(&later.positions) {
        assert!((a - b).abs() < 0.08, "{a} {b}");
    }
    assert!(later.loads.iter().any(|load| load.abs() > 0.01));
    arm.disable().unwrap();
    assert_eq!(arm.torque_enabled().unwrap(), [false; 6]);
    let before = world.base_from_tool().unwrap().translation.z;
    std::thread::sleep(Duration::from_millis(400));
    let after = world.base_from_tool().unwrap().translation.z;
    assert!(
        after < before - 0.01,
        "without torque it sinks: {before} {after}"
    );
    drop(arm);
    twin.stop().unwrap();
}

#[test]
fn a_guarded_driver_moves_a_mujoco_arm_through_a_serial_port() {
    let (twin, world) = twin_of_world();
    let chain = so101::chain();
    let mut guard = Guard::with_chain(Box::new(open(&twin)), chain, GuardConfig::so101()).unwrap();
    let clock = SystemClock::default();
    guard.enable(clock.now()).unwrap();
    let goal = [-0.3, -0.2, 0.1, 0.7, -0.3, 0.9];
    let reached = |world: &World| {
        let at = world.arm_state().unwrap().positions;
        at.iter().zip(goal).all(|(q, goal)| (q - goal).abs() < 0.07)
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached(&world) && Instant::now() < deadline {
        guard.measure(clock.now());
        guard.send(clock.now(), Some(&goal));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(
        reached(&world),
        "{:?}, {:?}",
        guard.reason(),
        guard.report()
    );
    let measured = guard.measure(clock.now()).unwrap().positions.clone();
    for (read, is) in measured.iter().zip(world.arm_state().unwrap().positions) {
        assert!((read - is).abs() < 0.02, "{read} {is}");
    }
    guard.stop().unwrap();
    assert!((0..6).all(|joint| !world.servo(joint).unwrap().enabled));
    drop(guard);
    twin.stop().unwrap();
}

#[test]
fn a_cable_pulled_in_motion_is_a_fault_within_one_cycle() {
    let (twin, _world) = twin_of_world();
    let mut guard = Guard::new(Box::new(open(&twin)), GuardConfig::default()).unwrap();
    let clock = SystemClock::default();
    guard.enable(clock.now()).unwrap();
    let goal = [1.0; 6];
    for _ in 0..10 {
        guard.measure(clock.now());
        guard.send(clock.now(), Some(&goal));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(guard.state().follows_goals(), "{:?}", guard.reason());
    drop(twin);
    assert!(guard.measure(clock.now()).is_none());
    assert_eq!(guard.state(), GuardState::Fault);
    let reason = guard.reason().unwrap().to_string();
    assert!(reason.contains("cut its power"), "{reason}");
}

#[test]
fn a_pulled_cable_is_reported_at_once() {
    let (twin, _world) = twin_of_world();
    let mut arm = open(&twin);
    arm.enable().unwrap();
    arm.read().unwrap();
    drop(twin);
    let started = Instant::now();
    assert!(matches!(arm.read(), Err(ArmError::Gone(_))));
    assert!(matches!(arm.disable(), Err(ArmError::Gone(_))));
    assert!(matches!(arm.torque_enabled(), Err(ArmError::Gone(_))));
    assert!(started.elapsed() < Duration::from_millis(100));
}

#[test]
fn a_port_is_held_by_one_driver_at_a_time() {
    let (twin, _world) = twin_of_world();
    let path = twin.path().to_str().unwrap().to_owned();
    let first = Bus::open(&path, BusConfig::default()).unwrap();
    let error = Bus::open(&path, BusConfig::default()).err().unwrap();
    assert!(
        matches!(&error, BusError::Port(PortError::Busy { .. })),
        "{error}"
    );
    match FeetechArm::connect(&path, &ServoBusConfig::calibration()) {
        Err(ArmError::Open { port, advice, .. }) => {
            assert_eq!(
                (port.as_str(), advice.as_str()),
                (path.as_str(), "close the other program")
            );
        }
        other => panic!("{:?}", other.err()),
    }
    drop(first);
    let mut again = Bus::open(
        &path,
        BusConfig {
            turnaround_ms: 200,
            ..BusConfig::default()
        },
    )
    .unwrap();
    assert!(again.ping(id(1)).unwrap().is_some());
    assert!(again.ping(id(9)).unwrap().is_none());
    let positions = again.sync_read(&[id(1), id(6)], PRESENT_POSITION).unwrap();
    assert!(positions.iter().all(Option::is_some));
}

#[test]
fn a_link_names_the_port_and_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("arm");
    let start = |link: &std::path::Path| {
        ServoBus::start(
            &ServoBusConfig::uncalibrated_so101(),
            Box::new(Hinges::default()),
            Some(link),
        )
    };
    let first = start(&link).unwrap();
    let mut bus = Bus::open(first.path().to_str().unwrap(), patient().bus).unwrap();
    assert!(bus.ping(id(3)).unwrap().is_some());
    // A newer twin takes the name over; the older one then leaves it alone.
    let second = start(&link).unwrap();
    drop(bus);
    first.stop().unwrap();
    assert!(link.exists());
    second.stop().unwrap();
    assert!(!link.is_symlink());

    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "keep me").unwrap();
    assert!(matches!(start(&file), Err(ServoBusError::Link { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "keep me");
}
