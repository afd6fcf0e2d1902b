//! The twin against the protocol: raw frames in, raw frames out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use rapport_robot::Clock as _;
use rapport_robot::feetech::codec::{checksum, instruction};
use rapport_robot::feetech::registers::{
    ACCELERATION, GOAL_POSITION, GOAL_SPEED, HOMING_OFFSET, ID, LOCK, MAX_TEMPERATURE, MODE, PHASE,
    PRESENT_POSITION, PRESENT_VOLTAGE, RESPONSE_LEVEL, Register, RegisterValue, TORQUE,
    TORQUE_LIMIT,
};

use super::*;
use crate::world::Torque;

/// Six hinges without inertia: with torque they are at their goal, without they stay where they are.
#[derive(Clone, Debug)]
pub struct Hinges(pub Arc<Mutex<Vec<Hinge>>>);

#[derive(Clone, Debug, Default)]
pub struct Hinge {
    pub angle: f64,
    pub goal: f64,
    pub on: bool,
}

impl Default for Hinges {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(vec![Hinge::default(); 6])))
    }
}

impl JointPlant for Hinges {
    fn joints(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn advance(&mut self, _: Duration) -> Result<(), PlantError> {
        for hinge in self.0.lock().unwrap().iter_mut().filter(|hinge| hinge.on) {
            hinge.angle = hinge.goal;
        }
        Ok(())
    }

    fn measure(&self, joint: usize) -> Result<JointReading, PlantError> {
        Ok(JointReading {
            angle: self.0.lock().unwrap()[joint].angle,
            ..JointReading::default()
        })
    }

    fn set_goal(&mut self, joint: usize, angle: f64) -> Result<(), PlantError> {
        self.0.lock().unwrap()[joint].goal = angle;
        Ok(())
    }

    fn set_torque(&mut self, joint: usize, torque: Torque) -> Result<(), PlantError> {
        self.0.lock().unwrap()[joint].on = torque == Torque::On;
        Ok(())
    }
}

fn chain() -> ServoChain {
    ServoChain::new(
        &ServoBusConfig::uncalibrated_so101(),
        Box::new(Hinges::default()),
    )
    .unwrap()
}

fn request(id: u8, kind: u8, parameters: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xFF, 0xFF, id, parameters.len() as u8 + 2, kind];
    frame.extend(parameters);
    frame.push(checksum(&frame[2..]));
    frame
}

/// What comes back within 50 ms.
fn ask(chain: &mut ServoChain, now: &mut Duration, bytes: &[u8]) -> Vec<u8> {
    chain.receive(bytes, *now);
    *now += Duration::from_millis(50);
    chain.advance(*now);
    chain.take_due(*now)
}

/// Raw access to one chain.
struct Line {
    chain: ServoChain,
    now: Duration,
}

impl Line {
    fn new() -> Self {
        Self {
            chain: chain(),
            now: Duration::ZERO,
        }
    }

    fn write<T: RegisterValue, A>(&mut self, id: u8, register: Register<T, A>, value: u16) {
        let value = value.to_le_bytes();
        let mut parameters = vec![register.address()];
        parameters.extend(&value[..register.size().into()]);
        let frame = request(id, instruction::WRITE, &parameters);
        ask(&mut self.chain, &mut self.now, &frame);
    }

    fn read<T: RegisterValue, A>(&mut self, id: u8, register: Register<T, A>) -> T {
        let parameters = [register.address(), register.size()];
        let frame = request(id, instruction::READ, &parameters);
        let reply = ask(&mut self.chain, &mut self.now, &frame);
        T::from_bytes(&reply[5..reply.len() - 1]).unwrap()
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.chain.advance(self.now);
    }
}

#[test]
fn requests_are_answered_as_published() {
    let mut line = Line::new();
    let mut now = line.now;
    let chain = &mut line.chain;
    let ping = [0xFF, 0xFF, 1, 2, 1, 0xFB];
    assert_eq!(ask(chain, &mut now, &ping), [0xFF, 0xFF, 1, 2, 0, 0xFC]);
    let model = request(1, instruction::READ, &[3, 2]);
    assert_eq!(
        ask(chain, &mut now, &model),
        [0xFF, 0xFF, 1, 4, 0, 9, 3, 0xEE]
    );
    // Bad checksum, unknown id, unknown instruction, factory reset: silence.
    for bytes in [
        vec![0xFF, 0xFF, 1, 2, 1, 0xFA],
        request(77, instruction::PING, &[]),
        request(1, 0x55, &[]),
        request(1, 0x06, &[]),
    ] {
        assert!(ask(chain, &mut now, &bytes).is_empty());
    }
    // A read past the end of the table comes back short, with a valid checksum.
    let past = request(1, instruction::READ, &[0x55, 20]);
    let reply = ask(chain, &mut now, &past);
    assert_eq!(reply.len(), 6 + 2);
    assert_eq!(reply[7], checksum(&reply[2..7]));
    // Everybody answers a broadcast ping; nobody answers a broadcast write.
    let all = request(254, instruction::PING, &[]);
    assert_eq!(ask(chain, &mut now, &all).len(), 36);
    let write = request(254, instruction::WRITE, &[41, 9]);
    assert!(ask(chain, &mut now, &write).is_empty());
    line.now = now;
    assert_eq!(line.read(5, ACCELERATION), 9);
}

#[test]
fn a_written_goal_switches_torque_on_and_is_limited_while_the_register_keeps_it() {
    let mut line = Line::new();
    assert_eq!(line.chain.servos()[0].torque(), Torque::Off);
    line.write(1, GOAL_POSITION, 4000);
    line.wait(2000);
    assert_eq!(line.chain.servos()[0].torque(), Torque::On);
    assert_eq!(line.read(1, GOAL_POSITION).get(), 4000);
    // The calibrated range of shoulder_pan ends at 2048 + 1275.
    assert!((line.read(1, PRESENT_POSITION).get() - 3323).abs() <= 1);
    line.write(1, TORQUE, 0);
    line.write(1, ID, 1);
    assert_eq!(line.chain.servos()[0].torque(), Torque::Off);
}

#[test]
fn power_up_forgets_what_was_written_behind_the_lock() {
    let mut line = Line::new();
    line.write(2, GOAL_POSITION, 2100);
    line.write(2, PHASE, 3);
    line.write(2, LOCK, 0);
    line.write(2, HOMING_OFFSET, 0x0838);
    line.write(2, TORQUE_LIMIT, 200);
    line.chain.brown_out(1);
    assert_eq!(
        line.read(2, TORQUE),
        rapport_robot::feetech::registers::Torque::Off
    );
    assert_eq!(line.read(2, GOAL_POSITION).get(), 0);
    assert_eq!(line.read(2, PHASE), 0, "it was locked");
    assert_eq!(line.read(2, HOMING_OFFSET).get(), -56, "it was unlocked");
    assert_eq!(line.read(2, TORQUE_LIMIT), 1000);
    assert_eq!(
        line.read(2, LOCK),
        rapport_robot::feetech::registers::Lock::Closed
    );
}

#[test]
fn a_sync_read_is_answered_in_slots_and_a_silent_servo_leaves_a_gap() {
    let mut chain = chain();
    chain.faults.servo(2).silent = true;
    let ids = [1, 2, 3, 4, 5, 6];
    let mut parameters = vec![56, 2];
    parameters.extend(ids);
    let bytes = request(254, instruction::SYNC_READ, &parameters);
    chain.receive(&bytes, Duration::ZERO);
    let mut starts = Vec::new();
    while let Some(at) = chain.next_due() {
        let reply = chain.take_due(at);
        starts.push((reply[2], at.as_micros()));
    }
    // 14 request bytes, then 8 reply bytes in slots of 11.
    let expected = [1, 2, 4, 5, 6].map(|id: u8| (id, 140 + 110 * (u128::from(id) - 1) + 80));
    assert_eq!(starts, expected);
}

#[test]
fn a_servo_told_not_to_acknowledge_writes_still_answers_reads() {
    let mut line = Line::new();
    line.write(3, RESPONSE_LEVEL, 0);
    let frame = request(3, instruction::WRITE, &[48, 0xF4, 1]);
    let mut now = line.now;
    assert!(ask(&mut line.chain, &mut now, &frame).is_empty());
    line.now = now;
    assert_eq!(line.read(3, TORQUE_LIMIT), 500);
}

#[test]
fn the_value_128_in_the_torque_register_moves_the_zero() {
    let mut line = Line::new();
    line.write(1, GOAL_POSITION, 2500);
    line.wait(2000);
    line.write(1, TORQUE, 0);
    line.write(1, TORQUE, 128);
    assert_eq!(line.read(1, PRESENT_POSITION).get(), 2048);
    assert_eq!(line.read(1, HOMING_OFFSET).get(), 452);
}

#[test]
fn motion_keeps_to_the_speed_and_acceleration_registers() {
    let mut line = Line::new();
    line.write(4, GOAL_SPEED, 400);
    line.write(4, ACCELERATION, 10);
    line.write(4, GOAL_POSITION, 2648);
    let (mut last, mut top) = (line.read(4, PRESENT_POSITION).get(), 0);
    for _ in 0..60 {
        let position = line.read(4, PRESENT_POSITION).get();
        top = top.max((position - last).abs());
        last = position;
    }
    // Reads are 50 ms apart: 20 steps each at full speed.
    assert!((18..=21).contains(&top), "{top}");
    assert_eq!(last, 2648);
}

#[test]
fn changing_the_mode_switches_torque_off_and_velocity_mode_turns() {
    let mut line = Line::new();
    line.write(1, GOAL_POSITION, 2048);
    line.write(1, MODE, 1);
    assert_eq!(line.chain.servos()[0].torque(), Torque::Off);
    line.write(1, GOAL_SPEED, 0x8000 | 300);
    line.write(1, TORQUE, 1);
    line.wait(1000);
    let position = line.read(1, PRESENT_POSITION).get();
    assert!((position - (2048 - 315)).abs() < 30, "{position}");
}

#[test]
fn a_hot_servo_lets_go_and_holds_again_when_it_has_cooled() {
    let hinges = Hinges::default();
    let mut line = Line {
        chain: ServoChain::new(
            &ServoBusConfig::uncalibrated_so101(),
            Box::new(hinges.clone()),
        )
        .unwrap(),
        now: Duration::ZERO,
    };
    line.write(3, GOAL_POSITION, 2100);
    for (temperature, holds) in [(40.0, true), (72.0, false), (67.0, false), (64.0, true)] {
        line.chain.faults.servo(2).temperature = Some(temperature);
        line.wait(20);
        assert_eq!(hinges.0.lock().unwrap()[2].on, holds, "{temperature}");
        let alarm = line.chain.servos()[2].alarms();
        assert_eq!(alarm & 4 != 0, !holds, "{temperature}");
    }
    assert_eq!(line.read(3, MAX_TEMPERATURE), 70);
    line.chain.faults.servo(2).voltage = Some(3.2);
    line.wait(20);
    assert_eq!(line.read(3, PRESENT_VOLTAGE), 32);
    assert_eq!(line.chain.servos()[2].alarms() & 1, 1);
}

#[test]
fn a_registered_write_waits_for_its_action() {
    let mut line = Line::new();
    let mut now = line.now;
    let frame = request(1, 0x04, &[48, 100, 0]);
    assert_eq!(ask(&mut line.chain, &mut now, &frame).len(), 6);
    line.now = now;
    assert_eq!(line.read(1, TORQUE_LIMIT), 1000);
    let mut now = line.now;
    ask(&mut line.chain, &mut now, &request(254, 0x05, &[]));
    line.now = now;
    assert_eq!(line.read(1, TORQUE_LIMIT), 100);
}

#[test]
fn as_many_servos_as_hinges() {
    let mut config = ServoBusConfig::uncalibrated_so101();
    config.servos.pop();
    assert!(ServoChain::new(&config, Box::new(Hinges::default())).is_err());
}

#[test]
fn virtual_time_is_a_clock_that_moves_the_servos() {
    let hinges = Hinges::default();
    let config = ServoBusConfig::uncalibrated_so101();
    let (mut bus, _port) = VirtualBus::new(&config, Box::new(hinges.clone())).unwrap();
    let goal = request(1, instruction::WRITE, &[42, 0, 9]);
    bus.chain().receive(&goal, Duration::ZERO);
    bus.sleep_until(Duration::from_secs(1));
    assert_eq!(bus.now(), Duration::from_secs(1));
    let angle = hinges.0.lock().unwrap()[0].angle;
    assert!((angle - 256.0 * std::f64::consts::TAU / 4096.0).abs() < 1e-9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_survived(chunks in vec(vec(prop_oneof![Just(0xFFu8), 0u8..8, any::<u8>()], 0..200), 1..8)) {
        let mut line = Line::new();
        for chunk in &chunks {
            let mut now = line.now;
            ask(&mut line.chain, &mut now, chunk);
            line.now = now;
        }
        prop_assert!(line.chain.failure().is_none());
        let mut now = line.now;
        let reply = ask(&mut line.chain, &mut now, &request(254, instruction::PING, &[]));
        prop_assert!(reply.len() >= 36);
    }
}
