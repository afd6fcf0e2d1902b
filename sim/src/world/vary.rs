//! A world that differs from its scene: domain randomisation.

use std::sync::Arc;

use mujoco_rs::prelude::*;
use nalgebra::{Quaternion, UnitQuaternion, Vector3};

use super::{Physics, World};
use crate::randomise::{self, Kind, Variation};

impl World {
    /// Makes this world differ from its scene as `variation` says, in what the model is and in the delay of goals; a variation
    /// before it is undone. Starts are shifted by `shift_start`, after things have been placed.
    pub fn vary(&self, variation: &Arc<Variation>) {
        self.vary_locked(&mut self.lock(), variation);
    }

    /// What this world has that its scene has not.
    pub fn variation(&self) -> Arc<Variation> {
        self.lock().variation.clone()
    }

    pub(super) fn vary_locked(&self, physics: &mut Physics, variation: &Arc<Variation>) {
        if *physics.variation == **variation {
            return;
        }
        randomise::adopt(&mut physics.data, self.scene.model(), variation);
        physics.variation = variation.clone();
        physics.poses_fresh = false;
        self.set_delay(physics);
    }

    /// As many goals under way as the delay has physics steps.
    pub(super) fn set_delay(&self, physics: &mut Physics) {
        let delay = self.scene.config().arm.servo.delay_s + physics.variation.latency_s();
        let steps = (delay / self.step.as_secs_f64()).round() as usize;
        physics.underway.clear();
        physics
            .underway
            .resize_with(steps, || physics.goals.clone());
    }

    /// Moves objects and arm away from where the task has placed them, as the variation says. The arm holds its new pose.
    pub(crate) fn shift_start(&self) {
        let physics = &mut *self.lock();
        let variation = physics.variation.clone();
        let model = self.scene.model();
        for joint in 0..model.jnt_type().len() {
            let address = model.jnt_qposadr()[joint] as usize;
            match model.jnt_type()[joint] {
                MjtJoint::mjJNT_FREE => {
                    let q = &mut physics.data.qpos_mut()[address..address + 7];
                    q[0] += variation.shift(Kind::ObjectPosition, joint, 0);
                    q[1] += variation.shift(Kind::ObjectPosition, joint, 1);
                    let angle = variation.shift(Kind::ObjectTurn, joint, 0);
                    if angle != 0.0 {
                        let was = Quaternion::new(q[3], q[4], q[5], q[6]);
                        let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), angle);
                        let now = turn.into_inner() * was;
                        q[3..].copy_from_slice(&[now.w, now.i, now.j, now.k]);
                    }
                }
                MjtJoint::mjJNT_HINGE | MjtJoint::mjJNT_SLIDE => {
                    let by = variation.shift(Kind::Arm, joint, 0);
                    if by != 0.0 {
                        let [low, high] = model.jnt_range()[joint];
                        let q = &mut physics.data.qpos_mut()[address];
                        *q = (*q + by).clamp(low, high);
                        let now = *q;
                        let servo = self.scene.hinges.iter().position(|h| h.position == address);
                        if let Some(servo) = servo {
                            physics.goals[servo] = now;
                        }
                    }
                }
                MjtJoint::mjJNT_BALL => {}
            }
        }
        physics.arrive();
        physics.poses_fresh = false;
    }
}
