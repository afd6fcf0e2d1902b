//! The goals of a segment, in simulation.

use std::sync::Arc;

use mujoco_rs::prelude::*;
use rapport_robot::so101;
use rayon::prelude::*;

use super::motion::{DOF, IdentifyError, Motion, Segment};
use crate::arm_config::ArmConfig;
use crate::randomise::{derive, set_gain};
use crate::scene::{Scene, SceneConfig};

/// A joint that is further from the measurement than this counts as if it were this far, rad: an arm that has come apart
/// must not outweigh everything else.
const FURTHEST: f64 = 3.0;

/// Motions with the arm that replays them: alone on its table.
pub struct Replay<'a> {
    scene: Arc<Scene>,
    motions: &'a [Motion],
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("motions", &self.motions.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Replay<'a> {
    /// For these motions, in physics steps of the scenes' usual length.
    ///
    /// Errors: [`IdentifyError::Scene`].
    pub fn new(motions: &'a [Motion]) -> Result<Self, IdentifyError> {
        Ok(Self {
            scene: Scene::new(SceneConfig::default())?,
            motions,
        })
    }

    /// Simulated less measured hinge angles, rad, of each arm on each segment: `[arm][segment][row x 6]`.
    pub fn residuals(&self, arms: &[ArmConfig], segments: &[Segment]) -> Vec<Vec<Vec<f64>>> {
        let models: Vec<_> = arms.iter().map(|arm| self.model(arm)).collect();
        arms.par_iter()
            .zip(&models)
            .map(|(arm, model)| {
                segments
                    .par_iter()
                    .map(|segment| self.replay(model, arm.servo.delay_s, segment))
                    .collect()
            })
            .collect()
    }

    /// The scene's model with the servos and joints of `arm`, as if it had been compiled with them.
    pub(super) fn model(&self, arm: &ArmConfig) -> Arc<MjModel> {
        let base = self.scene.model();
        let mut model = MjModel::clone(base);
        for (hinge, spec) in self.scene.hinges.iter().zip(&so101::spec().joints) {
            let joint = arm.joint(&spec.name);
            model.dof_damping_mut()[hinge.velocity] = joint.damping;
            model.dof_frictionloss_mut()[hinge.velocity] = joint.frictionloss;
            model.dof_armature_mut()[hinge.velocity] = joint.armature;
            set_gain(&mut model, hinge.servo, joint.gain);
            model.actuator_biasprm_mut()[hinge.servo][1] = -joint.gain;
        }
        derive(base, &mut model);
        Arc::new(model)
    }

    fn replay(&self, model: &Arc<MjModel>, delay: f64, segment: &Segment) -> Vec<f64> {
        let motion = &self.motions[segment.motion];
        let hinges = &self.scene.hinges;
        let step = model.opt().timestep;
        let mut data = MjData::new(model.clone());
        for (j, hinge) in hinges.iter().enumerate() {
            data.qpos_mut()[hinge.position] = segment.position[j];
            data.qvel_mut()[hinge.velocity] = segment.velocity[j];
        }
        let positions = |data: &MjData<Arc<MjModel>>| -> [f64; DOF] {
            std::array::from_fn(|j| data.qpos()[hinges[j].position])
        };
        let begin = segment.from as f64 * motion.period_s;
        let (mut before, mut now) = (positions(&data), positions(&data));
        let mut steps = 0_usize;
        let mut residuals = Vec::with_capacity(DOF * segment.rows());
        for row in segment.from + 1..segment.to {
            let due = (row - segment.from) as f64 * motion.period_s;
            while (steps as f64 * step) < due - 1e-9 {
                let sent = begin + steps as f64 * step - delay;
                let goal = motion.mean_goal(sent, step);
                for (j, hinge) in hinges.iter().enumerate() {
                    data.ctrl_mut()[hinge.servo] = goal[j];
                }
                data.step();
                steps += 1;
                (before, now) = (now, positions(&data));
            }
            // A row may fall between two steps.
            let share = 1.0 - (steps as f64 * step - due) / step;
            for j in 0..DOF {
                let simulated = before[j] + share * (now[j] - before[j]);
                let off = simulated - motion.measured[row][j];
                residuals.push(if off.is_finite() {
                    off.clamp(-FURTHEST, FURTHEST)
                } else {
                    FURTHEST
                });
            }
        }
        residuals
    }
}
