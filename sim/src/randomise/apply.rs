//! Putting a variation into a model.

use std::sync::Arc;

use mujoco_rs::prelude::*;
use nalgebra::{Quaternion, UnitQuaternion, Vector3};

use super::{Kind, Variation};

/// Gives `data` the model that `variation` makes of `base`: `base` itself where nothing of the model varies, else a private
/// copy, which is kept from one variation to the next.
pub(crate) fn adopt(data: &mut MjData<Arc<MjModel>>, base: &Arc<MjModel>, variation: &Variation) {
    let mut own = data.swap_model(base.clone());
    if variation.changes_model() {
        // Copies the shared model the first time, and is the private copy afterwards.
        let model = Arc::make_mut(&mut own);
        reset(base, model);
        for change in &variation.changes {
            match change.kind {
                Kind::Friction => scale_friction(model, change.id, change.value),
                Kind::Mass => {
                    model.body_mass_mut()[change.id] *= change.value;
                    for inertia in &mut model.body_inertia_mut()[change.id] {
                        *inertia *= change.value;
                    }
                }
                Kind::Damping => model.dof_damping_mut()[dof(base, change.id)] *= change.value,
                Kind::Frictionloss => {
                    model.dof_frictionloss_mut()[dof(base, change.id)] *= change.value;
                }
                Kind::Armature => model.dof_armature_mut()[dof(base, change.id)] *= change.value,
                Kind::Gain => {
                    let gain = base.actuator_gainprm()[change.id][0] * change.value;
                    set_gain(model, change.id, gain);
                    // The part of the bias that is proportional to the position; for a motor it is 0 and stays so.
                    model.actuator_biasprm_mut()[change.id][1] *= change.value;
                }
                Kind::Colour => colour(base, model, change.id, change.axis, change.value as f32),
                Kind::LightPosition => {
                    model.light_pos_mut()[change.id][change.axis] += change.value;
                }
                Kind::Light => dim(model, change.id, change.value as f32),
                Kind::CameraPosition => model.cam_pos_mut()[change.id][change.axis] += change.value,
                Kind::CameraTurn => turn(model, change.id, change.axis, change.value),
                Kind::CameraFovy => {
                    let fovy = &mut model.cam_fovy_mut()[change.id];
                    *fovy = (*fovy + change.value).clamp(1.0, 170.0);
                }
                Kind::ObjectPosition
                | Kind::ObjectTurn
                | Kind::Arm
                | Kind::Latency
                | Kind::JointNoise
                | Kind::ObjectNoise => {}
            }
        }
        derive(base, model);
        data.swap_model(own);
    }
}

/// Undoes an earlier variation.
fn reset(base: &MjModel, model: &mut MjModel) {
    model
        .geom_friction_mut()
        .copy_from_slice(base.geom_friction());
    model.body_mass_mut().copy_from_slice(base.body_mass());
    model
        .body_inertia_mut()
        .copy_from_slice(base.body_inertia());
    model.dof_damping_mut().copy_from_slice(base.dof_damping());
    model
        .dof_frictionloss_mut()
        .copy_from_slice(base.dof_frictionloss());
    model
        .dof_armature_mut()
        .copy_from_slice(base.dof_armature());
    for (id, gain) in base.actuator_gainprm().iter().enumerate() {
        set_gain(model, id, gain[0]);
    }
    model
        .actuator_biasprm_mut()
        .copy_from_slice(base.actuator_biasprm());
    model.geom_rgba_mut().copy_from_slice(base.geom_rgba());
    model.mat_rgba_mut().copy_from_slice(base.mat_rgba());
    model.light_pos_mut().copy_from_slice(base.light_pos());
    model
        .light_ambient_mut()
        .copy_from_slice(base.light_ambient());
    model
        .light_diffuse_mut()
        .copy_from_slice(base.light_diffuse());
    model
        .light_specular_mut()
        .copy_from_slice(base.light_specular());
    model.vis_mut().headlight = base.vis().headlight.clone();
    model.cam_pos_mut().copy_from_slice(base.cam_pos());
    model.cam_quat_mut().copy_from_slice(base.cam_quat());
    model.cam_fovy_mut().copy_from_slice(base.cam_fovy());
}

/// Recomputes what MuJoCo derives from masses, inertias and frames when it compiles a model.
pub(crate) fn derive(base: &MjModel, model: &mut MjModel) {
    MjData::new(&mut *model).set_const();
    // Sizes and centre are for drawing, and a model may have been given its own.
    let (stat, known) = (model.stat_mut(), base.stat());
    stat.meanmass = known.meanmass;
    stat.meansize = known.meansize;
    stat.extent = known.extent;
    stat.center = known.center;
}

/// Sets the gain of an actuator, leaving its bias.
pub(crate) fn set_gain(model: &mut MjModel, actuator: usize, gain: f64) {
    // SAFETY: gains are table indices only for actuators that are driven by a curve; for those this writes back the value
    // that is there, since their first gain is never scaled (see `Kind::Gain`), and for the others it is a plain number.
    unsafe { model.actuator_gainprm_mut()[actuator][0] = gain };
}

fn dof(model: &MjModel, joint: usize) -> usize {
    model.jnt_dofadr()[joint] as usize
}

fn scale_friction(model: &mut MjModel, body: usize, factor: f64) {
    let first = model.body_geomadr()[body] as usize;
    let count = model.body_geomnum()[body] as usize;
    for friction in &mut model.geom_friction_mut()[first..first + count] {
        friction[0] *= factor;
    }
}

/// Adds to one channel of a material, or of all geoms that have the colour of geom `first` and no material.
fn colour(base: &MjModel, model: &mut MjModel, first: usize, channel: usize, by: f32) {
    let shift = |rgba: &mut [f32; 4]| rgba[channel] = (rgba[channel] + by).clamp(0.0, 1.0);
    if let Ok(material) = usize::try_from(base.geom_matid()[first]) {
        shift(&mut model.mat_rgba_mut()[material]);
        return;
    }
    let looks = base.geom_rgba()[first];
    for (id, rgba) in model.geom_rgba_mut().iter_mut().enumerate() {
        if base.geom_matid()[id] < 0 && base.geom_rgba()[id] == looks {
            shift(rgba);
        }
    }
}

fn dim(model: &mut MjModel, light: usize, factor: f32) {
    let scale = |rgb: &mut [f32; 3]| *rgb = rgb.map(|value| value * factor);
    if light == model.nlight() as usize {
        let headlight = &mut model.vis_mut().headlight;
        scale(&mut headlight.ambient);
        scale(&mut headlight.diffuse);
        scale(&mut headlight.specular);
    } else {
        scale(&mut model.light_ambient_mut()[light]);
        scale(&mut model.light_diffuse_mut()[light]);
        scale(&mut model.light_specular_mut()[light]);
    }
}

/// Turns a camera about one of its own axes.
fn turn(model: &mut MjModel, camera: usize, axis: usize, angle: f64) {
    let [w, x, y, z] = model.cam_quat()[camera];
    let body_from_camera = UnitQuaternion::new_normalize(Quaternion::new(w, x, y, z));
    let mut about = Vector3::zeros();
    about[axis] = angle;
    let turned = body_from_camera * UnitQuaternion::new(about);
    model.cam_quat_mut()[camera] = [turned.w, turned.i, turned.j, turned.k];
}
