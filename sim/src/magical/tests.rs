//! The physics and the tasks beside what x-magical 0.0.4 under pymunk 5.6.0 does.

use super::*;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/x-magical/");

type Rows = Vec<Vec<f64>>;

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read_to_string(format!("{DATA}{name}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Position and angle of the robot, then of each block.
fn poses(world: &World) -> Vec<f64> {
    let (at, angle) = world.robot_pose();
    let blocks = (0..world.block_count()).map(|i| world.block(i));
    let blocks = blocks.flat_map(|block| [block.at.x, block.at.y, block.angle]);
    [at.x, at.y, angle].into_iter().chain(blocks).collect()
}

fn farthest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f64::max)
}

#[test]
fn golden_traces_are_followed() {
    let traces: std::collections::BTreeMap<String, Rows> = read("traces.json");
    assert_eq!(traces.len(), 4);
    for (name, rows) in &traces {
        let (body, motion) = name.split_once('_').unwrap();
        let embodiment = match body {
            "Mediumstick" => Embodiment::Mediumstick,
            _ => Embodiment::Longstick,
        };
        let mut world = World::begin(Task::Sweep, embodiment, Layout::Demo, 0);
        let mut worst: f64 = 0.0;
        for (t, row) in rows.iter().enumerate() {
            let turn = match motion {
                "straight" => 0.0,
                _ => 0.3 * (t as f64 * 0.5).sin(),
            };
            world.step(&[0.8, turn]);
            worst = worst.max(farthest(&poses(&world), row));
        }
        println!("{name}: {worst:e}");
        assert!(worst < 1e-9, "{name}: {worst:e}");
    }
}
