//! From files to models.

use std::fs;
use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::prelude::*;

use super::super::*;
use super::{Folder, observed, of};
use crate::environment::{Actions, make};
use crate::render::Backend;

#[test]
fn a_mistake_in_an_included_file_is_reported_there() {
    let folder = Folder::new();
    let main = folder.write(
        "main.xml",
        "<mujoco>\n<include file=\"part.xml\"/>\n</mujoco>\n",
    );
    folder.write(
        "part.xml",
        "<mujocoinclude>\n<worldbody>\n<!-- -- a comment -- -->\n<body name=\"b\"><geom sise=\"1\"/></body>\n</worldbody>\n</mujocoinclude>\n",
    );
    let error = load(&main, Format::Mjcf).unwrap_err();
    assert!(error.file.ends_with("part.xml"), "{error}");
    assert_eq!(error.line, Some(4), "{error}");
    folder.write(
        "part.xml",
        "<mujocoinclude>\n\n<include file=\"main.xml\"/></mujocoinclude>\n",
    );
    let error = load(&main, Format::Mjcf).unwrap_err();
    assert_eq!(
        (error.line, error.file.ends_with("part.xml")),
        (Some(3), true),
        "{error}"
    );
    folder.write(
        "part.xml",
        "<mujocoinclude>\n<asset><mesh file=\"no.stl\"/></asset></mujocoinclude>\n",
    );
    let error = load(&main, Format::Mjcf).unwrap_err();
    assert_eq!(error.line, Some(2), "{error}");
    assert!(error.message.contains("no.stl"), "{error}");
}

#[test]
fn numbers_that_ask_for_too_much_are_refused_before_anything_is_allocated() {
    let folder = Folder::new();
    for (content, line) in [
        (
            "<worldbody>\n<replicate count=\"1000\"><replicate count=\"1000\"><body/></replicate></replicate></worldbody>",
            2,
        ),
        ("<size memory=\"1T\"/>", 1),
        ("<size nuserdata=\"1e300\"/>", 1),
        ("<option iterations=\"2000000000\"/>", 1),
        (
            "<asset>\n\n<texture name=\"t\" type=\"2d\" builtin=\"flat\" width=\"100000\" height=\"1\"/></asset>",
            3,
        ),
        ("<worldbody><geom size=\"nan\"/></worldbody>", 1),
        (
            "<worldbody><geom size=\"1\" pos=\"0 0 1e999\"/></worldbody>",
            1,
        ),
        (
            "<custom><numeric name=\"n\" size=\"1000000000\"/></custom>",
            1,
        ),
    ] {
        let path = folder.write("m.xml", &format!("<mujoco>{content}</mujoco>"));
        let error = load(&path, Format::Mjcf).unwrap_err();
        assert_eq!(error.line, Some(line), "{error}");
    }
}

#[test]
fn a_model_that_asks_for_too_little_memory_gets_enough() {
    let folder = Folder::new();
    // With the 16 kB that it asks for MuJoCo would end the process in the first step.
    let boxes: String = (0..20)
        .map(|i| {
            let (x, z) = (0.05 * f64::from(i), 0.04 + 0.01 * f64::from(i));
            format!("<body pos=\"{x} 0 {z}\"><freejoint/><geom type=\"box\" size=\".05 .05 .05\"/></body>")
        })
        .collect();
    let pile = format!(
        "<mujoco><size memory=\"16K\"/><worldbody><geom type=\"plane\" size=\"2 2 .1\"/>{boxes}</worldbody></mujoco>"
    );
    let mut env = folder.env(&pile, None).unwrap();
    for _ in 0..20 {
        env.step(&[]).unwrap();
    }
}

/// A tetrahedron as binary STL.
fn tetrahedron() -> Vec<u8> {
    let p = [
        [0.0_f32; 3],
        [0.1, 0.0, 0.0],
        [0.0, 0.1, 0.0],
        [0.0, 0.0, 0.1],
    ];
    let mut stl = vec![0; 80];
    stl.extend(4_u32.to_le_bytes());
    for face in [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]] {
        stl.extend([0; 12]);
        for corner in face {
            stl.extend(p[corner as usize].iter().flat_map(|x| x.to_le_bytes()));
        }
        stl.extend([0; 2]);
    }
    stl
}

const URDF: &str = r#"<?xml version="1.0"?>
<robot name="pointer">
  <link name="base"/>
  <link name="arm">
    <inertial><origin xyz="0.1 0 0"/><mass value="0.5"/><inertia ixx="0.001" iyy="0.002" izz="0.002" ixy="0" ixz="0" iyz="0"/></inertial>
    <visual><geometry><mesh filename="package://pointer/meshes/arm.stl"/></geometry></visual>
    <collision><geometry><mesh filename="package://pointer/meshes/arm.stl"/></geometry></collision>
  </link>
  <link name="tip"/>
  <joint name="turn" type="revolute"><parent link="base"/><child link="arm"/><origin xyz="0 0 0.5"/><axis xyz="0 1 0"/>
    <limit lower="-1" upper="1" effort="5" velocity="1"/></joint>
  <joint name="end" type="fixed"><parent link="arm"/><child link="tip"/><origin xyz="0.2 0 0"/></joint>
</robot>
"#;

#[test]
fn a_urdf_gets_servos_a_camera_and_its_packages_meshes() {
    let folder = Folder::new();
    let package = folder.0.path().join("pointer");
    fs::create_dir_all(package.join("meshes")).unwrap();
    fs::create_dir_all(package.join("urdf")).unwrap();
    fs::write(package.join("meshes/arm.stl"), tetrahedron()).unwrap();
    let path = package.join("urdf/pointer.urdf");
    fs::write(&path, URDF).unwrap();
    let config = EnvConfig {
        renderer: Backend::Cpu,
        task_file: Some(folder.write(
            "t.toml",
            "[observe]\njoints = [\"turn\"]\npoints = [\"body:tip\"]\n",
        )),
        ..EnvConfig::default()
    };
    let mut env = make(&format!("urdf:{}", path.display()), &config).unwrap();
    assert_eq!(
        env.description().action,
        Actions::Continuous(vec![(-1.0, 1.0)])
    );
    assert_eq!(env.description().cameras, ["overview"]);
    env.reset(0).unwrap();
    for _ in 0..20 {
        env.step(&[0.5]).unwrap();
    }
    let seen = observed(&*env);
    assert!((of(&*env, &seen, "turn") - 0.5).abs() < 0.05, "{seen:?}");
    assert!((of(&*env, &seen, "tip_x") - 0.2 * of(&*env, &seen, "turn").cos()).abs() < 1e-9);
    let mut picture = RgbImage::new(32, 32);
    env.render("overview", &mut picture).unwrap();
    let first = *picture.get_pixel(0, 0);
    assert!(picture.pixels().any(|pixel| *pixel != first));

    fs::write(
        &path,
        URDF.replace(
            "<visual><geometry><mesh filename=\"package",
            "<visual><geometry><mesh filename=\"package://x",
        ),
    )
    .unwrap();
    let error = load(&path, Format::Urdf).unwrap_err();
    assert_eq!(error.line, Some(6), "{error}");
    fs::write(&path, URDF.replace("arm.stl", "arm.dae")).unwrap();
    assert!(load(&path, Format::Urdf).is_err());
}

#[test]
fn a_missing_package_says_which_command_fetches_it() {
    let error = NAMED[1].package.file("no_such_scene.xml").unwrap_err();
    assert!(error.to_string().contains("./x assets panda"), "{error}");
}

#[test]
fn lighter_pictures_leave_the_motion_bit_for_bit_as_it_was() {
    let path = published("so101-published").unwrap();
    let light = load(&path, Format::Mjcf).unwrap();
    let original = load_original(&path, Format::Mjcf).unwrap();
    assert!(light.mesh_facenum().iter().all(|&faces| faces <= 500));
    assert!(original.mesh_facenum().iter().sum::<i32>() > 50_000);
    assert_eq!(light.mesh_vert(), original.mesh_vert());
    let run = |model: &Arc<MjModel>| {
        let mut data = MjData::new(model.clone());
        for i in 0..600 {
            // Down onto the block and the floor, so that meshes touch things.
            let target = [0.0, 1.2 * f64::from(i) / 600.0, 0.6, 0.8, 0.3, 0.5];
            data.ctrl_mut().copy_from_slice(&target);
            data.step();
        }
        assert!(data.ffi().ncon > 0);
        data.qpos().to_vec()
    };
    assert_eq!(run(&light), run(&original));
}
