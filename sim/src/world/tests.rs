use super::*;
use crate::scene::{
    BLUE, FixtureConfig, FixtureKind, MarkConfig, MarkShape, OAK, ObjectConfig, SceneConfig,
};
use nalgebra::{Isometry3, Vector3};

const REST: [f64; 6] = [0.1, -0.4, 0.3, 0.9, 0.2, 0.5];

fn world() -> World {
    let scene = Scene::new(SceneConfig {
        objects: vec![ObjectConfig::default()],
        marks: vec![MarkConfig::target(MarkShape::Disc { radius_m: 0.04 })],
        ..SceneConfig::default()
    })
    .unwrap();
    let world = World::new(scene).unwrap();
    world.place_arm(&REST).unwrap();
    world.place_cube(0.3, 0.1, 0.3).unwrap();
    world
}

#[test]
fn an_arm_with_torque_holds_its_pose_and_one_without_falls() {
    let holding = world();
    holding.advance(200).unwrap();
    for (q, rest) in holding.arm_state().unwrap().positions.iter().zip(REST) {
        assert!((q - rest).abs() < 0.06, "{q} {rest}");
    }
    let limp = world();
    for joint in 0..6 {
        limp.set_servo_torque(joint, Torque::Off).unwrap();
    }
    limp.advance(200).unwrap();
    let before = holding.base_from_tool().unwrap().translation.z;
    let after = limp.base_from_tool().unwrap().translation.z;
    assert!(after < before - 0.03, "{before} {after}");
    assert!(
        limp.arm_state()
            .unwrap()
            .loads
            .iter()
            .all(|l| l.abs() < 1e-9)
    );
}

#[test]
fn a_goal_moves_the_joint_there() {
    let world = world();
    let goal = [-0.5, -0.2, 0.1, 0.7, -0.6, 0.9];
    world.set_goals(&goal);
    world.advance(400).unwrap();
    let state = world.arm_state().unwrap();
    for (q, goal) in state.positions.iter().zip(goal) {
        assert!((q - goal).abs() < 0.06, "{q} {goal}");
    }
    assert!(state.loads.iter().all(|load| load.abs() <= 1.0));
    assert_eq!(state.stamp, Duration::from_secs(2));
}

#[test]
fn a_restored_world_goes_on_bit_for_bit_the_same() {
    let world = world();
    world.set_goals(&[0.6, 0.3, 0.3, 1.0, 0.2, 0.0]);
    world.advance(100).unwrap();
    let middle = world.snapshot();
    world.advance(100).unwrap();
    let first = world.snapshot();
    // Looking must not change the future.
    let other = World::new(world.scene().clone()).unwrap();
    other.restore(&middle).unwrap();
    for _ in 0..100 {
        other.advance(1).unwrap();
        other.base_from_tool().unwrap();
    }
    // The clock is not part of what is restored.
    let mut second = other.snapshot();
    second.steps = first.steps;
    assert_eq!(first, second);
    assert_eq!(world.now(), Duration::from_secs(1));
    assert_eq!(other.now(), Duration::from_millis(500));
}

#[test]
fn objects_are_where_they_are_put() {
    let world = world();
    let cube = world.cube().unwrap().unwrap();
    assert!((cube.position() - Vector3::new(0.3, 0.1, 0.015)).norm() < 1e-12);
    assert!((cube.yaw() - 0.3).abs() < 1e-12);
    world.advance(100).unwrap();
    let later = world.cube().unwrap().unwrap();
    assert!((cube.position() - later.position()).norm() < 1e-3);
    world.place_target(Vector3::new(0.2, -0.1, 5.0)).unwrap();
    let target = world.target().unwrap();
    assert_eq!((target.x, target.y), (0.2, -0.1));
    assert!(target.z < 0.01);
}

#[test]
fn a_world_that_came_apart_says_so_until_it_is_reset() {
    let world = world();
    world.shatter();
    assert!(matches!(world.advance(3), Err(WorldError::Diverged { .. })));
    assert!(world.arm_state().is_err());
    assert!(world.cube().is_err());
    assert!(world.advance(1).is_err());
    world.reset();
    world.place_arm(&REST).unwrap();
    world.advance(10).unwrap();
    assert!(
        world
            .arm_state()
            .unwrap()
            .positions
            .iter()
            .all(|q| q.is_finite())
    );
}

#[test]
fn a_snapshot_of_another_scene_is_refused() {
    let bare = World::new(Scene::new(SceneConfig::default()).unwrap()).unwrap();
    assert!(matches!(
        world().restore(&bare.snapshot()),
        Err(WorldError::Invalid(_))
    ));
}

/// A cabinet whose front faces the arm's right, and two cubes.
fn furnished() -> World {
    let size_m = [0.08, 0.11, 0.09];
    let scene = Scene::new(SceneConfig {
        objects: vec![ObjectConfig::default(), ObjectConfig::cube("blue", BLUE)],
        fixtures: vec![FixtureConfig {
            name: "cabinet".into(),
            kind: FixtureKind::Door { size_m },
            colour: OAK,
        }],
        ..SceneConfig::default()
    })
    .unwrap();
    let world = World::new(scene).unwrap();
    world.place_arm(&REST).unwrap();
    world
}

#[test]
fn furniture_stands_where_it_is_put_and_opens_as_asked() {
    let world = furnished();
    let yaw = -std::f64::consts::FRAC_PI_2;
    world.place_fixture(0, [0.2, 0.2], yaw, 0.0).unwrap();
    let closed = world.reading().unwrap().fixtures[0];
    // The front is 4 cm nearer than the middle, and the finger goes some way before it.
    assert!((0.12..0.15).contains(&closed.handle.y), "{}", closed.handle);
    world.advance(100).unwrap();
    let later = world.reading().unwrap().fixtures[0];
    assert!(later.opening.abs() < 1e-6 && (later.handle - closed.handle).norm() < 1e-6);
    let place = later.base_from_fixture.translation.vector;
    assert_eq!(place, Vector3::new(0.2, 0.2, 0.0));
    world.place_fixture(0, [0.2, 0.2], yaw, 1.0).unwrap();
    let open = world.reading().unwrap().fixtures[0];
    assert!((open.opening - 1.0).abs() < 1e-12);
    assert!(open.handle.y < closed.handle.y - 0.04, "{}", open.handle);
    for bad in [-0.1, 9.0, f64::NAN] {
        assert!(world.place_fixture(0, [0.2, 0.2], yaw, bad).is_err());
    }
    assert!(world.place_fixture(1, [0.2, 0.2], yaw, 0.0).is_err());
}

#[test]
fn a_cube_that_is_put_on_another_stays_there() {
    let world = furnished();
    world.place_object(1, 0.3, -0.1, 0.2).unwrap();
    let above = Isometry3::translation(0.3, -0.1, 0.046);
    world.put_object(0, &above).unwrap();
    world.advance(200).unwrap();
    let reading = world.reading().unwrap();
    let (red, blue) = (reading.objects[0].position(), reading.objects[1].position());
    assert!((red.z - 0.045).abs() < 1e-3 && (blue.z - 0.015).abs() < 1e-3);
    assert!((red - blue).xy().norm() < 2e-3);
    assert!(world.place_object(2, 0.3, 0.0, 0.0).is_err());
    let before = world.reading().unwrap();
    world.place_object(0, 0.3, 0.0, 0.0).unwrap();
    let moved = world.reading().unwrap().moved_since(&before);
    assert!((moved - 0.1045).abs() < 1e-3, "{moved}");
}
