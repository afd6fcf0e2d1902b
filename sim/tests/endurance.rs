//! Worlds can run for as long as anyone likes: memory does not grow with simulated time.

use std::fs;

use rapport_sim::render::Backend;
use rapport_sim::{EnvConfig, VecEnv};

/// Memory of this process that is in RAM, bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Runs `hours` of simulated time in two worlds, with resets and a picture every second; returns the growth of memory after the
/// first tenth, bytes.
fn growth(name: &str, hours: f64) -> isize {
    let config = EnvConfig {
        renderer: Backend::Cpu,
        ..EnvConfig::default()
    };
    let mut envs = VecEnv::new(name, &config, 2, 2).unwrap();
    let mut batch = envs.reset(0).unwrap();
    let description = envs.description().clone();
    let steps = (hours * 3600.0 * description.policy_hz / 2.0) as usize;
    let (tenth, second) = (steps / 10, description.policy_hz.ceil() as usize);
    let mut pictures = vec![0; 2 * 64 * 64 * 3];
    let mut actions = vec![0.0; 2 * description.action_len()];
    let mut early = 0;
    for step in 0..steps {
        for (i, action) in actions.iter_mut().enumerate() {
            *action = ((step * 7 + i * 3) as f64 * 0.37).sin();
        }
        envs.step(&actions, &mut batch).unwrap();
        assert_eq!(batch.diverged, [false, false]);
        if step % second == 0 {
            envs.render(&description.cameras[0], (64, 64), &mut pictures)
                .unwrap();
        }
        if step == tenth {
            early = resident();
        }
    }
    resident() as isize - early as isize
}

#[test]
fn an_hour_of_simulated_time_needs_no_more_memory_than_its_first_minutes() {
    let grown = growth("so101-push", 1.0);
    assert!(grown < 2 << 20, "{grown} bytes");
}

/// `cargo nextest run -p rapport-sim --run-ignored only -E 'test(a_day)'`: some minutes.
#[test]
#[ignore = "takes minutes; the hour is always tested"]
fn a_day_of_simulated_time_needs_no_more_memory_than_its_first_hours() {
    let grown = growth("so101-push", 24.0);
    assert!(grown < 2 << 20, "{grown} bytes");
}
