//! Setting an arm up from servos as they come out of the box, against the twin.

use std::f64::consts::TAU;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rapport_robot::calibration::Calibration;
use rapport_robot::feetech::calibrate::{Homing, Sweep};
use rapport_robot::feetech::registers::{BaudRate, MODEL_STS3215};
use rapport_robot::feetech::setup::{self, SetupError};
use rapport_robot::feetech::{Bus, BusConfig, FeetechArm, FeetechConfig, ServoId};
use rapport_robot::{Arm as _, Clock as _, JointKind, JointSpec, so101};

use super::twin_tests::{Hinge, Hinges};
use super::*;
use crate::world::Torque;

fn id(n: u8) -> ServoId {
    ServoId::new(n).unwrap()
}

fn patient() -> BusConfig {
    BusConfig {
        turnaround_ms: 200,
        broadcast_ms: 300,
        ..BusConfig::default()
    }
}

/// A servo as it is sold: id 1, no offset, no limits.
fn new_servo(n: u8, baud: BaudRate, mount_step: f64) -> ServoConfig {
    ServoConfig {
        id: n,
        baud,
        mount_step,
        mount_angle: 0.0,
        homing_offset: 0,
        limits: (0, 4095),
        max_torque: 1000,
        supply: 7.4,
        model: MODEL_STS3215,
        firmware: (3, 10),
    }
}

fn twin(servos: Vec<ServoConfig>) -> ServoBus {
    let hinges = Hinges(Arc::new(Mutex::new(vec![Hinge::default(); servos.len()])));
    let config = ServoBusConfig {
        servos,
        ..ServoBusConfig::uncalibrated_so101()
    };
    ServoBus::start(&config, Box::new(hinges), None).unwrap()
}

fn path(twin: &ServoBus) -> String {
    twin.path().to_str().unwrap().to_owned()
}

#[test]
fn a_single_servo_is_found_at_another_speed_and_given_its_id_for_good() {
    let twin = twin(vec![new_servo(1, BaudRate::B115200, 2048.0)]);
    let found = setup::find_single(&path(&twin), &patient()).unwrap();
    assert_eq!((found.id, found.model, found.baud), (1, 777, 115_200));
    let found = setup::assign(&path(&twin), &patient(), id(4)).unwrap();
    assert_eq!(
        (found.id, found.baud, found.firmware),
        (4, 1_000_000, (3, 10))
    );
    twin.chain().brown_out(0);
    let servo = twin.chain().servos()[0].clone();
    assert_eq!((servo.id(), servo.baud()), (4, 1_000_000));
    let mut bus = Bus::open(&path(&twin), patient()).unwrap();
    let found = setup::scan(&mut bus, [id(4)]).unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn two_servos_at_once_and_none_at_all_are_refused() {
    let two = twin(vec![
        new_servo(1, BaudRate::B1000000, 0.0),
        new_servo(2, BaudRate::B1000000, 0.0),
    ]);
    match setup::assign(&path(&two), &patient(), id(5)) {
        Err(SetupError::Several { ids, .. }) => assert_eq!(ids, [id(1), id(2)]),
        other => panic!("{other:?}"),
    }
    let none = twin(vec![new_servo(1, BaudRate::B1000000, 0.0)]);
    none.chain().faults.servo(0).silent = true;
    assert!(matches!(
        setup::find_single(&path(&none), &patient()),
        Err(SetupError::Nobody { .. })
    ));
}

/// Six new servos with their horns put on at odd angles, and the person who moves the joints.
struct Bench {
    twin: VirtualBus,
    hinges: Hinges,
    spec: Vec<JointSpec>,
}

impl Bench {
    fn new(mounts: [f64; 6]) -> (Self, Bus) {
        let servo = |(n, mount): (u8, f64)| new_servo(n, BaudRate::B1000000, mount);
        let config = ServoBusConfig {
            servos: (1..=6).zip(mounts).map(servo).collect(),
            ..ServoBusConfig::uncalibrated_so101()
        };
        let hinges = Hinges::default();
        let (twin, port) = VirtualBus::new(&config, Box::new(hinges.clone())).unwrap();
        let bench = Self {
            twin,
            hinges,
            spec: so101::spec().joints,
        };
        (bench, Bus::new(Box::new(port), BusConfig::default()))
    }

    /// Hinge angles at a share (0..1) of each joint's range.
    fn pose(&self, share: f64) {
        for (hinge, joint) in self.hinges.0.lock().unwrap().iter_mut().zip(&self.spec) {
            let (low, high) = match joint.kind {
                JointKind::Revolute => (joint.min, joint.max),
                JointKind::Gripper => (so101::GRIPPER_CLOSED, so101::GRIPPER_OPEN),
            };
            hinge.angle = low + share * (high - low);
        }
    }

    fn sweep(&self, sweep: &mut Sweep) {
        let there = (0..=40).map(|n| f64::from(n) / 40.0);
        for share in there.clone().chain(there.rev()) {
            self.pose(share);
            sweep.observe().unwrap();
        }
    }
}

#[test]
fn an_arm_of_new_servos_is_calibrated_and_then_measures_its_joints() {
    // The fourth and fifth cross the seam of their encoder before they are centred.
    let (bench, bus) = Bench::new([300.0, 3500.0, 1000.0, 4090.0, 10.0, 2048.0]);
    bench.pose(0.5);
    let homing = Homing::begin(bus, &so101::spec()).unwrap();
    let mut sweep = homing.centre().unwrap();
    bench.sweep(&mut sweep);
    let (calibration, bus) = sweep.finish().unwrap();
    assert!(calibration.motor("wrist_roll").unwrap().range_max == 4095);
    let pan = calibration.motor("shoulder_pan").unwrap();
    let steps = 2.0 * 1.919_86 * 4096.0 / TAU;
    assert!((f64::from(pan.range_max - pan.range_min) - steps).abs() <= 2.0);
    assert_eq!(pan.homing_offset, 300 - 2047);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("arm.json");
    calibration.save(&file).unwrap();
    let calibration = Calibration::load(&file).unwrap();
    // As after the next power-up: everything was stored for good.
    for joint in 0..6 {
        bench.twin.chain().brown_out(joint);
    }
    let mut arm = FeetechArm::on_bus(bus, &calibration, FeetechConfig::default()).unwrap();
    for (share, opening) in [(0.5, 0.5), (0.8, 0.8), (0.1, 0.1)] {
        bench.pose(share);
        // A hand needs a moment for that.
        let mut time = bench.twin.clone();
        time.sleep_until(time.now() + Duration::from_secs(2));
        let state = arm.read().unwrap();
        let angles: Vec<f64> = bench
            .hinges
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|h| h.angle)
            .collect();
        for (read, is) in state.positions.iter().zip(angles).take(4) {
            assert!((read - is).abs() < 3e-3, "{read} {is}");
        }
        assert!((state.positions[5] - opening).abs() < 2e-3);
    }
}

#[test]
fn a_joint_centred_at_its_end_is_refused() {
    let (bench, bus) = Bench::new([2048.0; 6]);
    bench.pose(0.02);
    let mut sweep = Homing::begin(bus, &so101::spec())
        .unwrap()
        .centre()
        .unwrap();
    bench.sweep(&mut sweep);
    match sweep.finish() {
        Err(SetupError::Calibration(error)) => {
            assert!(
                error.to_string().contains("across the end of its encoder"),
                "{error}"
            );
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn a_joint_that_nobody_moved_is_refused() {
    let (bench, bus) = Bench::new([2048.0; 6]);
    bench.pose(0.5);
    let mut sweep = Homing::begin(bus, &so101::spec())
        .unwrap()
        .centre()
        .unwrap();
    sweep.observe().unwrap();
    let error = sweep.finish().err().unwrap().to_string();
    assert!(
        error.contains("was not moved to both of its ends"),
        "{error}"
    );
}

#[test]
fn servos_left_with_torque_on_hold_the_arm_until_a_driver_takes_over() {
    let hinges = Hinges::default();
    hinges.0.lock().unwrap()[1].angle = 0.4;
    let config = ServoBusConfig {
        torque: Torque::On,
        ..ServoBusConfig::uncalibrated_so101()
    };
    let (twin, port) = VirtualBus::new(&config, Box::new(hinges.clone())).unwrap();
    assert!(
        twin.chain()
            .servos()
            .iter()
            .all(|s| s.torque() == Torque::On)
    );
    let bus = Bus::new(Box::new(port), BusConfig::default());
    let calibration = ServoBusConfig::calibration();
    let mut arm = FeetechArm::on_bus(bus, &calibration, FeetechConfig::default()).unwrap();
    assert_eq!(arm.torque_enabled().unwrap(), [true; 6]);
    arm.enable().unwrap();
    assert!((hinges.0.lock().unwrap()[1].angle - 0.4).abs() < 2e-3);
}
