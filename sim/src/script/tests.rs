use super::*;
use crate::env::{Env, EnvConfig};
use crate::tasks;

fn successes(task: &str, episodes: u64) -> u64 {
    let mut env = Env::new(task, EnvConfig::default()).unwrap();
    let mut script = Script::new(env.task().clone(), ScriptConfig::default(), 0);
    (0..episodes)
        .filter(|&seed| {
            env.reset(seed).unwrap();
            script.reset(seed);
            loop {
                let action = script.action(&env.reading().unwrap());
                let step = env.step(&action).unwrap();
                if step.truncated {
                    break step.success;
                }
            }
        })
        .count() as u64
}

#[test]
fn the_script_pushes_the_cube_home_from_nearly_every_start() {
    let done = successes("so101-push", 100);
    assert!(done >= 98, "{done} of 100");
}

#[test]
fn the_script_reaches_the_ball_from_nearly_every_start() {
    let done = successes("so101-reach", 100);
    assert!(done >= 95, "{done} of 100");
}

#[test]
fn the_script_lifts_the_cube_from_nearly_every_start() {
    let done = successes("so101-lift", 100);
    assert!(done >= 95, "{done} of 100");
}

#[test]
fn the_script_stacks_the_cubes_from_nearly_every_start() {
    let done = successes("so101-stack", 50);
    assert!(done >= 47, "{done} of 50");
}

#[test]
fn the_script_sorts_the_cubes_from_nearly_every_start() {
    let done = successes("so101-sort", 50);
    assert!(done >= 47, "{done} of 50");
}

#[test]
fn the_script_opens_the_door_from_nearly_every_start() {
    let done = successes("so101-door", 50);
    assert!(done >= 47, "{done} of 50");
}

#[test]
fn the_script_opens_the_drawer_from_nearly_every_start() {
    let done = successes("so101-drawer", 50);
    assert!(done >= 47, "{done} of 50");
}

#[test]
fn the_script_pours_the_balls_from_nearly_every_start() {
    let done = successes("so101-pour", 50);
    assert!(done >= 47, "{done} of 50");
}

#[test]
fn the_script_goes_round_the_zone_from_nearly_every_start() {
    let done = successes("so101-avoid", 50);
    assert!(done >= 47, "{done} of 50");
}

#[test]
fn the_script_takes_both_cubes_over_the_line_from_nearly_every_start() {
    let done = successes("so101-group", 50);
    assert!(done >= 47, "{done} of 50");
}

#[test]
fn demonstrations_of_one_start_differ_by_seed_and_repeat_with_it() {
    let mut env = Env::new("so101-push", EnvConfig::default()).unwrap();
    let mut tools = |seed: u64| {
        env.reset(0).unwrap();
        let mut script = Script::new(env.task().clone(), ScriptConfig::default(), seed);
        (0..15)
            .map(|_| {
                let action = script.action(&env.reading().unwrap());
                env.step(&action).unwrap().observation.tool
            })
            .collect::<Vec<_>>()
    };
    let (first, second, again) = (tools(1), tools(2), tools(1));
    assert_eq!(first, again);
    assert_ne!(first, second);
}

#[test]
fn a_scripted_teleoperator_solves_the_task_at_any_rate_of_asking() {
    for hz in [10, 30, 50] {
        let task = tasks::by_name("so101-push").unwrap();
        let mut env = Env::new("so101-push", EnvConfig::default()).unwrap();
        env.reset(11).unwrap();
        let world = env.world().clone();
        let mut teleop =
            ScriptedTeleop::new(task, world.clone(), ScriptConfig::default(), 10.0, 5).unwrap();
        teleop.reset();
        let period = Duration::from_secs(1) / hz;
        let mut deadline = world.now();
        let done = (0..6 * hz).any(|_| {
            let state = world.arm_state().unwrap();
            let (goal, event) = teleop.next_goal(&state).unwrap();
            assert_eq!(teleop.action().len(), 2);
            world.set_goals(&goal);
            deadline += period;
            world.advance_until(deadline).unwrap();
            event == Some(TeleopEvent::Done)
        });
        assert!(done, "at {hz} Hz");
    }
}
