//! URDF, which MuJoCo reads but for ROS's way of naming files, and which says nothing of motors, cameras and light.

use std::path::{Path, PathBuf};

use mujoco_rs::prelude::*;
use mujoco_rs::wrappers::mj_editing::PositionConfig;
use nalgebra::Vector3;
use roxmltree::Node;

use super::error::ModelError;
use super::import::explain;
use super::limits;
use super::source::{self, Sources, Text};

/// How fast the added servos are: natural frequency of a joint under its servo, rad/s, critically damped.
const SERVO_RATE: f64 = 50.0;

/// Name of the camera that is added.
const CAMERA: &str = "overview";

/// Reads a URDF file and finds its meshes. Names of meshes become full paths; fixed links and visuals are kept.
///
/// Errors: as for MJCF; a mesh that is not there.
pub(super) fn read(path: &Path) -> Result<Sources, ModelError> {
    let original = Text::read(path)?;
    let bare = original.without_comments();
    let document = original.parse(&bare)?;
    let root = document.root_element();
    if root.tag_name().name() != "robot" {
        let message = format!(
            "the outermost element is <{}>, not <robot>",
            root.tag_name().name()
        );
        return Err(original.error(root.range().start, message));
    }
    let mut sources = Sources::default();
    // From the end to the start, so that offsets stay true.
    let mut edits = Vec::new();
    let mut told = false;
    let mut stack = vec![root];
    while let Some(node) = stack.pop() {
        limits::check_element(&original, node)?;
        told |= node.tag_name().name() == "compiler";
        if node.tag_name().name() == "mesh"
            && let Some(attribute) = node.attribute_node("filename")
        {
            let found = find(&original, attribute.range().start, attribute.value())?;
            edits.push((attribute.range_value(), escaped(&found)));
            sources.assets.insert(found);
        }
        stack.extend(node.children().filter(Node::is_element));
    }
    if !told && let Some(first) = root.first_child() {
        let start = first.range().start;
        let compiler = r#"<mujoco><compiler strippath="false" discardvisual="false" fusestatic="false"/></mujoco>"#;
        edits.push((start..start, compiler.into()));
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut text = bare.clone();
    for (range, new) in edits {
        text.replace_range(range, &new);
    }
    sources.texts.push(Text {
        path: path.into(),
        text,
    });
    Ok(sources)
}

/// Compiles what [`read`] has read, with a position servo on each joint that has limits.
///
/// Errors: what MuJoCo says.
pub(super) fn compile(sources: &Sources) -> Result<MjModel, ModelError> {
    let text = sources.texts.first().map_or("", |text| &text.text);
    let wrong = |error: MjEditError| explain(sources, &error.to_string());
    let mut spec = MjSpec::from_xml_string(text).map_err(wrong)?;
    let bare = spec.compile().map_err(wrong)?;
    if bare.nu() == 0 {
        for joint in 0..bare.njnt() as usize {
            add_servo(&mut spec, &bare, joint).map_err(wrong)?;
        }
    }
    if bare.ncam() == 0 {
        add_view(&mut spec, &bare).map_err(wrong)?;
    }
    spec.compile().map_err(wrong)
}

/// A servo that turns the joint with the robot as it stands at [`SERVO_RATE`].
fn add_servo(spec: &mut MjSpec, model: &MjModel, joint: usize) -> Result<(), MjEditError> {
    let moves = matches!(
        model.jnt_type()[joint],
        MjtJoint::mjJNT_HINGE | MjtJoint::mjJNT_SLIDE
    );
    let limited = model.jnt_limited()[joint];
    let Some(name) = model
        .id_to_name(MjtObjBase::mjOBJ_JOINT, joint)
        .filter(|_| moves && limited)
    else {
        return Ok(());
    };
    let inertia = model.dof_m0()[model.jnt_dofadr()[joint] as usize].max(1e-6);
    let servo = spec.add_actuator();
    servo.set_to_position(PositionConfig {
        kp: inertia * SERVO_RATE * SERVO_RATE,
        kv: Some(2.0 * inertia * SERVO_RATE),
        ..PositionConfig::default()
    })?;
    servo.set_name(name)?;
    servo.set_trntype(MjtTrn::mjTRN_JOINT);
    servo.set_target(name);
    *servo.ctrlrange_mut() = model.jnt_range()[joint];
    Ok(())
}

/// A camera that has the whole robot in view, and a light above.
fn add_view(spec: &mut MjSpec, model: &MjModel) -> Result<(), MjEditError> {
    let (centre, extent) = (
        Vector3::from(model.stat().center),
        model.stat().extent.max(0.1),
    );
    let eye = centre + Vector3::new(1.3, -1.0, 0.8) * extent;
    let forward = (centre - eye).normalize();
    let right = forward.cross(&Vector3::z()).normalize();
    let up = right.cross(&forward);
    let rotation = nalgebra::Rotation3::from_matrix_unchecked(nalgebra::Matrix3::from_columns(&[
        right, up, -forward,
    ]));
    let quat = nalgebra::UnitQuaternion::from_rotation_matrix(&rotation);
    let world = spec.world_body_mut();
    let camera = world.add_camera();
    camera.set_name(CAMERA)?;
    *camera.pos_mut() = eye.into();
    *camera.quat_mut() = [quat.w, quat.i, quat.j, quat.k];
    camera.set_fovy(45.0);
    let light = world.add_light();
    *light.pos_mut() = (centre + Vector3::new(0.5, -0.5, 2.0) * extent).into();
    *light.dir_mut() = [-0.2, 0.2, -0.96];
    Ok(())
}

/// The file that a URDF means by `name`: a path from its own folder, or ROS's `package://NAME/REST`, whose package is looked
/// for upwards from there.
fn find(text: &Text, offset: usize, name: &str) -> Result<PathBuf, ModelError> {
    let folder = source::folder(&text.path);
    let folder = folder.canonicalize().unwrap_or(folder);
    let candidates: Vec<PathBuf> = match name.split_once("://") {
        Some(("file", path)) => vec![path.into()],
        Some(("package" | "model", path)) => {
            let rest = path.split_once('/').map_or(path, |(_, rest)| rest);
            folder
                .ancestors()
                .flat_map(|above| [above.join(path), above.join(rest)])
                .collect()
        }
        _ => vec![folder.join(name)],
    };
    let found = candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let message = format!(
                "the mesh \"{name}\" does not exist, seen from {}",
                folder.display()
            );
            text.error(offset, message)
        })?;
    let kind = found.extension().map(|kind| kind.to_ascii_lowercase());
    if !kind.is_some_and(|kind| kind == "stl" || kind == "obj" || kind == "msh") {
        let message = format!("MuJoCo cannot read the mesh \"{name}\": convert it to STL or OBJ");
        return Err(text.error(offset, message));
    }
    source::check_file(&found, source::LARGEST_ASSET)
        .map_err(|why| text.error(offset, format!("the mesh \"{name}\" {why}")))?;
    Ok(found)
}

/// A path as the value of an attribute.
fn escaped(path: &Path) -> String {
    let path = path.to_string_lossy();
    path.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
