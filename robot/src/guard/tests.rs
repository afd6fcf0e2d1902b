//! The guard on an arm in memory.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock as _;
use crate::so101;
use crate::testing::Bench;

const DT: f64 = 0.01;

fn guard(bench: &Bench) -> Guard {
    Guard::with_chain(bench.arm(), so101::chain(), GuardConfig::so101()).unwrap()
}

fn enabled(bench: &Bench) -> Guard {
    let mut guard = guard(bench);
    guard.enable(bench.now()).unwrap();
    guard
}

/// One period: send, let time pass, measure.
fn tick(bench: &Bench, guard: &mut Guard, goal: Option<&[f64]>) {
    let now = bench.world().time;
    guard.send(now, goal);
    let now = bench.advance(DT);
    guard.measure(now);
}

fn run(bench: &Bench, guard: &mut Guard, goal: &[f64], seconds: f64) {
    for _ in 0..(seconds / DT).round() as u32 {
        tick(bench, guard, Some(goal));
    }
}

fn near(bench: &Bench, shift: f64) -> Vec<f64> {
    bench.world().positions.iter().map(|q| q + shift).collect()
}

#[derive(Clone, Debug)]
enum Wish {
    Goal(Vec<f64>),
    Nothing,
}

fn wishes() -> impl Strategy<Value = Vec<(Wish, u32, f64)>> {
    let spec = so101::spec();
    let wide = |scale: f64| {
        spec.joints
            .iter()
            .map(|joint| {
                let (middle, half) = (0.5 * (joint.min + joint.max), 0.5 * (joint.max - joint.min));
                middle - scale * half..middle + scale * half
            })
            .collect::<Vec<_>>()
    };
    let strange = prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(1e30),
        Just(-1e308),
        Just(f64::MIN_POSITIVE),
    ];
    let broken = (wide(1.0), 0..6_usize, strange).prop_map(|(mut goal, i, value)| {
        goal[i] = value;
        goal
    });
    let wish = prop_oneof![
        6 => wide(1.0).prop_map(Wish::Goal),
        3 => wide(2.0).prop_map(Wish::Goal),
        2 => broken.prop_map(Wish::Goal),
        1 => prop::collection::vec(-1.0..1.0, 0..9_usize).prop_map(Wish::Goal),
        1 => Just(Wish::Nothing),
    ];
    prop::collection::vec((wish, 1..40_u32, 0.004..0.03_f64), 1..24)
}

proptest! {
    #[test]
    fn every_command_obeys_every_limit_whatever_is_asked(
        wishes in wishes(),
        floor in -0.05..0.1_f64,
        bad_goals in prop_oneof![Just(3_u32), Just(1000)],
    ) {
        let bench = Bench::new();
        let mut config = GuardConfig::so101();
        config.max_bad_goals = bad_goals;
        let box_ = Workspace { min: [-0.3, -0.3, floor], max: [0.38, 0.3, 0.4], speed: 0.25 };
        config.workspace = Some(box_);
        let chain = so101::chain();
        let mut guard = Guard::with_chain(bench.arm(), chain.clone(), config).unwrap();
        guard.enable(Duration::ZERO).unwrap();
        let limits = guard.limits().to_vec();

        let mut last = bench.world().positions.clone();
        let mut speed = [0.0; 6];
        // A tool that starts outside the box may come in, and go no further out than it was.
        let start = chain.base_from_tool(&last).translation.vector;
        // The guard counts the first command as 10 ms after arming.
        let mut dt = 0.01;
        for (wish, repeats, next_dt) in wishes {
            for _ in 0..repeats {
                let goal = match &wish {
                    Wish::Goal(goal) => Some(goal.as_slice()),
                    Wish::Nothing => None,
                };
                let now = bench.world().time;
                let sent = guard.send(now, goal).map(<[f64]>::to_vec);
                let command = sent.unwrap_or_else(|| last.clone());
                prop_assert_eq!(command.len(), 6);
                let measured = bench.world().positions.clone();
                for (i, limit) in limits.iter().enumerate() {
                    prop_assert!(command[i].is_finite());
                    prop_assert!(command[i] >= limit.min - 1e-9 && command[i] <= limit.max + 1e-9);
                    let v = (command[i] - last[i]) / dt;
                    prop_assert!(v.abs() <= limit.velocity + 1e-6, "joint {} at {}/s", i, v);
                    let change = (v - speed[i]).abs();
                    prop_assert!(
                        change <= limit.acceleration * dt + 1e-6,
                        "joint {} changes by {} in {} s", i, change, dt
                    );
                    speed[i] = v;
                    prop_assert!((command[i] - measured[i]).abs() <= limit.gap + v.abs() * 0.05 + 0.02);
                }
                let here = chain.base_from_tool(&last).translation.vector;
                let there = chain.base_from_tool(&command).translation.vector;
                prop_assert!((there - here).norm() <= 0.25 * dt * 1.05 + 1e-9);
                for axis in 0..3 {
                    prop_assert!(there[axis] >= box_.min[axis].min(start[axis]) - 1e-9);
                    prop_assert!(there[axis] <= box_.max[axis].max(start[axis]) + 1e-9);
                }
                last = command;
                let now = bench.advance(next_dt);
                dt = next_dt;
                guard.measure(now);
            }
        }
    }
}

#[test]
fn a_goal_inside_the_limits_is_reached_and_stays_reached() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    let goal = vec![-0.8, -0.3, 0.5, 1.2, 1.0, 0.9];
    run(&bench, &mut guard, &goal, 6.0);
    assert_eq!(guard.state(), GuardState::Running);
    let world = bench.world();
    for (q, g) in world.positions.iter().zip(&goal) {
        assert!((q - g).abs() < 1e-3, "{:?}", world.positions);
    }
}

#[test]
fn a_goal_under_the_table_ends_at_the_table_and_the_tool_slides_along_it() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    let tool = |q: &[f64]| so101::chain().base_from_tool(q).translation.vector;
    let start = bench.world().positions.clone();
    let mut goal = start.clone();
    goal[1] += 0.9;
    assert!(tool(&goal).z < -0.03);
    goal[0] -= 0.5;
    run(&bench, &mut guard, &goal, 6.0);
    let end = guard.command().to_vec();
    assert!(
        tool(&end).z >= 0.0 && tool(&end).z < 0.01,
        "{}",
        tool(&end).z
    );
    assert!(
        (end[0] - goal[0]).abs() < 0.02,
        "it should still turn: {end:?}"
    );
    assert!(guard.report().limited_workspace > 0);
}

#[test]
fn the_first_motion_is_slow_and_the_next_is_not() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    let fastest = |bench: &Bench| {
        let world = bench.world();
        let pairs = world.commands.iter().zip(world.commands.iter().skip(1));
        pairs
            .map(|(a, b)| (b.1[4] - a.1[4]).abs() / DT)
            .fold(0.0, f64::max)
    };
    let mut goal = bench.world().positions.clone();
    goal[4] += 0.4;
    while guard.state() != GuardState::Running {
        tick(&bench, &mut guard, Some(&goal));
    }
    let slow = fastest(&bench);
    assert!((0.29..=0.3 + 1e-9).contains(&slow), "{slow}");
    goal[4] -= 0.8;
    bench.world().commands.clear();
    run(&bench, &mut guard, &goal, 2.5);
    assert!(fastest(&bench) > 1.4);
}

#[test]
fn one_bad_goal_keeps_the_previous_one_and_three_in_a_row_latch_a_fault() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    let goal = near(&bench, 0.05);
    let nan = vec![f64::NAN; 6];
    for _ in 0..200 {
        tick(&bench, &mut guard, Some(&goal));
        tick(&bench, &mut guard, Some(&nan));
        tick(&bench, &mut guard, Some(&[0.0; 2]));
    }
    assert_eq!(guard.state(), GuardState::Running);
    assert_eq!(guard.report().rejected_not_finite, 200);
    assert_eq!(guard.report().rejected_length, 200);
    assert!((bench.world().positions[0] - goal[0]).abs() < 1e-3);
    for _ in 0..3 {
        tick(&bench, &mut guard, Some(&nan));
    }
    assert_eq!(guard.state(), GuardState::Fault);
    assert_eq!(guard.reason(), Some(&Reason::BadGoals { count: 3 }));
    let before = bench.world().positions.clone();
    run(&bench, &mut guard, &near(&bench, 0.3), 1.0);
    assert_eq!(guard.state(), GuardState::Fault);
    let world = bench.world();
    assert!(
        world.torque.iter().all(|on| *on),
        "it holds, it does not drop"
    );
    assert!(
        world
            .positions
            .iter()
            .zip(&before)
            .all(|(a, b)| (a - b).abs() < 1e-2)
    );
}

#[test]
fn a_silent_policy_makes_the_arm_brake_then_hold_until_it_is_armed_again() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    let far = near(&bench, 0.6);
    run(&bench, &mut guard, &far, 1.0);
    for _ in 0..30 {
        tick(&bench, &mut guard, None);
    }
    assert!(guard.resting() && guard.report().starved > 0);
    assert_ne!(guard.state(), GuardState::Hold);
    for _ in 0..30 {
        tick(&bench, &mut guard, None);
    }
    assert_eq!(guard.state(), GuardState::Hold);
    assert!(matches!(guard.reason(), Some(Reason::Starved { .. })));
    let held = guard.command().to_vec();
    run(&bench, &mut guard, &far, 0.3);
    assert_eq!(guard.command(), held);
    guard.rearm(bench.now()).unwrap();
    assert_eq!(guard.state(), GuardState::Armed);
    run(&bench, &mut guard, &far, 4.0);
    assert!((bench.world().positions[0] - far[0]).abs() < 0.01);
}

#[test]
fn a_blocked_joint_is_not_pushed_and_ends_in_hold() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    bench.world().blocked = Some(0);
    let mut goal = bench.world().positions.clone();
    goal[0] += 1.0;
    let gap = guard.limits()[0].gap;
    let start = bench.world().positions[0];
    for _ in 0..400 {
        tick(&bench, &mut guard, Some(&goal));
        assert!((guard.command()[0] - start).abs() <= gap + 1e-9);
    }
    assert_eq!(guard.state(), GuardState::Hold);
    assert!(
        matches!(guard.reason(), Some(Reason::Blocked { joint, .. }) if joint == "shoulder_pan")
    );
    assert!(guard.report().limited_gap > 0);
}

#[test]
fn enabling_refuses_an_arm_outside_its_limits_or_in_motion() {
    let bench = Bench::at(&[0.0, 0.0, 2.1, 0.0, 0.0, 0.5]);
    let mut outside = guard(&bench);
    assert!(matches!(
        outside.enable(Duration::ZERO),
        Err(GuardError::Refused(_))
    ));
    assert_eq!(outside.state(), GuardState::Limp);
    assert!(bench.world().torque.iter().all(|on| !on));

    let bench = Bench::new();
    bench.world().temperature = 80.0;
    assert!(matches!(
        guard(&bench).enable(Duration::ZERO),
        Err(GuardError::Refused(_))
    ));
    bench.world().temperature = 30.0;
    bench.world().failing_reads = 1;
    assert!(matches!(
        guard(&bench).enable(Duration::ZERO),
        Err(GuardError::Arm(_))
    ));
    assert!(bench.world().torque.iter().all(|on| !on));
}

#[test]
fn enabling_moves_nothing() {
    let bench = Bench::new();
    let before = bench.world().positions.clone();
    let mut guard = enabled(&bench);
    for _ in 0..100 {
        tick(&bench, &mut guard, None);
    }
    assert_eq!(bench.world().positions, before);
    assert_eq!(guard.state(), GuardState::Armed);
}

#[test]
fn stopping_turns_every_torque_off_and_no_goal_goes_out_afterwards() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    run(&bench, &mut guard, &near(&bench, 0.5), 0.5);
    guard.stop().unwrap();
    assert_eq!(guard.state(), GuardState::Limp);
    let count = bench.world().commands.len();
    run(&bench, &mut guard, &near(&bench, 0.1), 0.5);
    assert_eq!(bench.world().commands.len(), count);
    assert!(bench.world().torque.iter().all(|on| !on));
}

#[test]
fn a_torque_switch_that_stays_on_is_retried_named_and_latched() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    bench.world().welded = Some(2);
    let Err(GuardError::TorqueRemains { joints, .. }) = guard.stop() else {
        panic!("the stop order cannot have succeeded")
    };
    assert_eq!(joints, ["elbow_flex"]);
    assert_eq!(guard.state(), GuardState::Fault);
    assert_eq!(bench.world().disables, guard.config().stop_attempts);
    assert!(guard.enable(Duration::ZERO).is_err());
    bench.world().welded = None;
    guard.acknowledge().unwrap();
    assert_eq!(guard.state(), GuardState::Limp);
}

#[test]
fn dropping_the_guard_turns_torque_off() {
    let bench = Bench::new();
    drop(enabled(&bench));
    assert!(bench.world().torque.iter().all(|on| !on));
}

#[test]
fn the_emergency_stop_is_latched_and_torque_is_off_at_once() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    run(&bench, &mut guard, &near(&bench, 0.5), 0.5);
    guard.emergency_stop().unwrap();
    assert!(bench.world().torque.iter().all(|on| !on));
    assert_eq!(guard.state(), GuardState::Fault);
    assert_eq!(guard.reason(), Some(&Reason::EmergencyStop));
    assert!(guard.rearm(bench.now()).is_err());
    guard.acknowledge().unwrap();
    guard.enable(bench.now()).unwrap();
}

#[test]
fn a_hot_motor_holds_and_a_very_hot_one_ends_limp() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    let goal = near(&bench, 0.05);
    bench.world().temperature = 56.0;
    run(&bench, &mut guard, &goal, 0.1);
    assert!(guard.report().warm > 0 && guard.state().follows_goals());
    bench.world().temperature = 63.0;
    run(&bench, &mut guard, &goal, 0.1);
    assert_eq!(guard.state(), GuardState::Hold);
    bench.world().temperature = 68.0;
    run(&bench, &mut guard, &goal, 0.1);
    assert_eq!(guard.state(), GuardState::Fault);
    assert!(bench.world().torque.iter().all(|on| !on));
}

#[test]
fn a_sagging_supply_holds_only_when_it_lasts() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    let goal = near(&bench, 0.05);
    bench.world().voltage = 4.0;
    run(&bench, &mut guard, &goal, 0.3);
    bench.world().voltage = 7.0;
    run(&bench, &mut guard, &goal, 0.3);
    assert!(guard.state().follows_goals());
    bench.world().voltage = 4.0;
    run(&bench, &mut guard, &goal, 0.6);
    assert!(matches!(guard.reason(), Some(Reason::Voltage { .. })));
}

#[test]
fn a_lost_measurement_is_bridged_many_are_not_and_none_is_stamped_again() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    let goal = near(&bench, 0.05);
    run(&bench, &mut guard, &goal, 0.5);
    let stamp = guard.measured().unwrap().stamp;
    bench.world().failing_reads = 3;
    run(&bench, &mut guard, &goal, 0.03);
    assert_eq!(guard.measured().unwrap().stamp, stamp);
    assert!(guard.state().follows_goals());
    bench.world().failing_reads = 20;
    run(&bench, &mut guard, &goal, 0.2);
    assert_eq!(guard.state(), GuardState::Hold);
    bench.world().failing_reads = 200;
    run(&bench, &mut guard, &goal, 1.5);
    assert_eq!(guard.state(), GuardState::Fault);
}

#[test]
fn a_jump_no_joint_can_make_is_ignored_once_and_a_fault_when_it_stays() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    let goal = near(&bench, 0.02);
    run(&bench, &mut guard, &goal, 0.5);
    let true_positions = bench.world().positions.clone();
    bench.world().positions[3] -= 1.5;
    guard.measure(bench.now());
    bench.world().positions = true_positions;
    run(&bench, &mut guard, &goal, 0.1);
    assert!(guard.state().follows_goals());
    bench.world().blocked = Some(3);
    bench.world().positions[3] -= 1.5;
    run(&bench, &mut guard, &goal, 0.1);
    assert_eq!(guard.state(), GuardState::Fault);
    assert!(matches!(guard.reason(), Some(Reason::Implausible { joint }) if joint == "wrist_flex"));
}

#[test]
fn an_unplugged_arm_is_a_fault_and_torque_that_goes_off_by_itself_too() {
    let bench = Bench::new();
    let mut guard = enabled(&bench);
    bench.world().unplugged = true;
    tick(&bench, &mut guard, None);
    assert_eq!(guard.state(), GuardState::Fault);
    assert!(guard.stop().is_err());

    let bench = Bench::new();
    let mut guard = enabled(&bench);
    for _ in 0..100 {
        tick(&bench, &mut guard, None);
    }
    bench.world().torque[1] = false;
    let count = bench.world().commands.len();
    for _ in 0..100 {
        tick(&bench, &mut guard, None);
    }
    assert_eq!(guard.state(), GuardState::Fault);
    assert!(
        matches!(guard.reason(), Some(Reason::TorqueLost { joints }) if joints == &["shoulder_lift"])
    );
    assert_eq!(
        bench.world().commands.len(),
        count,
        "a goal would have turned it on again"
    );
}

#[test]
fn the_configuration_round_trips_and_nonsense_is_refused() {
    let mut config = GuardConfig::so101();
    config.positions.insert("elbow_flex".into(), [-0.5, 0.5]);
    let text = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<GuardConfig>(&text).unwrap(), config);
    assert!(toml::from_str::<GuardConfig>("velocity = 3.0").is_err());

    let bench = Bench::new();
    assert!(
        Guard::new(bench.arm(), GuardConfig::so101()).is_err(),
        "no chain"
    );
    let refuse = |change: fn(&mut GuardConfig)| {
        let mut config = GuardConfig::default();
        change(&mut config);
        assert!(matches!(
            Guard::new(Bench::new().arm(), config),
            Err(GuardError::Config(_))
        ));
    };
    refuse(|c| c.revolute.velocity = f64::NAN);
    refuse(|c| c.revolute.acceleration = 0.0);
    refuse(|c| c.revolute.margin = 5.0);
    refuse(|c| c.watchdog.stale_goal_s = 1.0);
    refuse(|c| c.supervision.too_hot = f64::NAN);
    refuse(|c| c.positions.extend([("knee".into(), [0.0, 1.0])]));
}
