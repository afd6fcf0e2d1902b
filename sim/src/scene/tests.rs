use super::*;
use nalgebra::Vector3;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

#[test]
fn the_tool_site_is_where_the_chain_says() {
    let scene = Scene::new(SceneConfig::default()).unwrap();
    let mut data = MjData::new(scene.model().clone());
    let (chain, spec) = (so101::chain(), so101::spec());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..200 {
        let joints: Vec<f64> = spec.joints[..5]
            .iter()
            .map(|joint| rng.random_range(joint.min..=joint.max))
            .collect();
        for (hinge, q) in scene.hinges.iter().zip(&joints) {
            data.qpos_mut()[hinge.position] = *q;
        }
        data.kinematics();
        let tool = chain.base_from_tool(&joints);
        let site = Vector3::from(data.site_xpos()[scene.tool_site]);
        assert!((tool.translation.vector - site).norm() < 1e-4);
        let m = data.site_xmat()[scene.tool_site];
        let axis = tool.rotation * Vector3::z();
        assert!((axis - Vector3::new(m[2], m[5], m[8])).norm() < 1e-4);
    }
}

#[test]
fn links_weigh_what_the_published_model_says() {
    let scene = Scene::new(SceneConfig::default()).unwrap();
    let model = scene.model();
    for (body, mass) in [
        ("base", 0.147),
        ("shoulder", 0.100),
        ("upper_arm", 0.103),
        ("lower_arm", 0.104),
        ("wrist", 0.079),
        ("gripper", 0.087),
        ("moving_jaw", 0.012),
    ] {
        let id = model.name_to_id(MjtObjBase::mjOBJ_BODY, body).unwrap();
        assert!((model.body_mass()[id] - mass).abs() < 1e-6, "{body}");
    }
}

#[test]
fn the_fingertips_meet_when_closed_and_are_parallel_at_the_grasp_width() {
    let scene = Scene::new(SceneConfig::default()).unwrap();
    let model = scene.model();
    let mut data = MjData::new(model.clone());
    let fixed = model
        .name_to_id(MjtObjBase::mjOBJ_GEOM, "fixed_pad")
        .unwrap();
    let moving = model
        .name_to_id(MjtObjBase::mjOBJ_GEOM, "moving_pad")
        .unwrap();
    data.qpos_mut()[scene.hinges[5].position] = so101::GRIPPER_CLOSED;
    data.kinematics();
    assert!(data.geom_distance(fixed, moving, 1.0, None).abs() < 1e-3);
    let parallel = (0..2000)
        .map(|i| so101::GRIPPER_CLOSED + 0.0005 * f64::from(i))
        .find(|&angle| {
            data.qpos_mut()[scene.hinges[5].position] = angle;
            data.kinematics();
            let (a, b) = (data.geom_xmat()[fixed], data.geom_xmat()[moving]);
            a[0] * b[0] + a[3] * b[3] + a[6] * b[6] > 1.0 - 1e-6
        })
        .unwrap();
    let width = data.geom_distance(fixed, moving, 1.0, None);
    assert!(
        (width - arm_mjcf::PARALLEL_GRASP_WIDTH).abs() < 1e-3,
        "{width} m apart at {parallel} rad"
    );
}

#[test]
fn a_scene_with_impossible_numbers_is_refused() {
    let object = |shape| ObjectConfig {
        shape,
        ..ObjectConfig::default()
    };
    let with = |object| SceneConfig {
        objects: vec![object],
        ..SceneConfig::default()
    };
    let mark = |radius_m| MarkConfig::target(MarkShape::Ball { radius_m });
    for (config, reason) in [
        (
            SceneConfig {
                timestep_s: 0.1,
                ..SceneConfig::default()
            },
            "timestep_s",
        ),
        (
            with(object(ObjectShape::Box {
                size_m: [0.03, -1.0, 0.03],
            })),
            "cube: size_m",
        ),
        (
            with(object(ObjectShape::Cup {
                width_m: 0.03,
                height_m: 0.03,
                wall_m: 0.02,
            })),
            "less its walls",
        ),
        (with(ObjectConfig::cube("a\"/>", RED)), "letters"),
        (with(ObjectConfig::cube("a", [2.0, 0.0, 0.0])), "colour"),
        (
            SceneConfig {
                objects: vec![ObjectConfig::default(), ObjectConfig::default()],
                ..SceneConfig::default()
            },
            "two things are named cube",
        ),
        (
            SceneConfig {
                fixtures: vec![FixtureConfig {
                    name: "box".into(),
                    kind: FixtureKind::Door { size_m: [0.01; 3] },
                    colour: OAK,
                }],
                ..SceneConfig::default()
            },
            "box: each number of size_m",
        ),
        (
            SceneConfig {
                marks: vec![mark(f64::NAN)],
                ..SceneConfig::default()
            },
            "target: radius_m",
        ),
    ] {
        match Scene::new(config) {
            Err(SceneError::Config(message)) => assert!(message.contains(reason), "{message}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[test]
fn a_scene_with_everything_knows_where_it_is() {
    let furniture = |name: &str, kind| FixtureConfig {
        name: name.into(),
        kind,
        colour: OAK,
    };
    let size_m = [0.08, 0.11, 0.09];
    let config = SceneConfig {
        objects: vec![
            ObjectConfig::default(),
            ObjectConfig::cube("other", BLUE),
            ObjectConfig {
                name: "cup".into(),
                shape: ObjectShape::Cup {
                    width_m: 0.03,
                    height_m: 0.05,
                    wall_m: 0.003,
                },
                ..ObjectConfig::default()
            },
        ],
        fixtures: vec![
            furniture("cabinet", FixtureKind::Door { size_m }),
            furniture("chest", FixtureKind::Drawer { size_m }),
            furniture("tray", FixtureKind::Tray { size_m }),
        ],
        marks: vec![MarkConfig::target(MarkShape::Strip {
            size_m: [0.1, 0.01],
        })],
        ..SceneConfig::default()
    };
    let scene = Scene::new(config).unwrap();
    assert_eq!((scene.objects.len(), scene.marks.len()), (3, 1));
    let opens: Vec<bool> = scene.fixtures.iter().map(|f| f.joint.is_some()).collect();
    assert_eq!(opens, [true, true, false]);
    let mut mocaps: Vec<usize> = scene.fixtures.iter().map(|f| f.mocap).collect();
    mocaps.extend(&scene.marks);
    mocaps.sort_unstable();
    assert_eq!(mocaps, [0, 1, 2, 3]);
}

#[test]
fn only_the_scenes_cameras_have_numbers() {
    let scene = Scene::new(SceneConfig::default()).unwrap();
    for name in CAMERAS {
        scene.camera_id(name).unwrap();
    }
    let error = scene.camera_id("back\0door").unwrap_err();
    assert!(matches!(error, SceneError::Missing { kind: "camera", .. }));
}
