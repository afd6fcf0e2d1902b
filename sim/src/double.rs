//! The [`Double`]: the same moment, seen with another body or in another light. What tells whether a reward that was learned on
//! one arm in one room still means the task on another.

use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::prelude::*;
use serde::{Deserialize, Serialize};

use crate::assets;
use crate::env::EnvError;
use crate::models::{ModelError, meshes};
use crate::quiet::quiet_mujoco;
use crate::randomise::{Randomisation, Variation};
use crate::render::{Backend, Quality, camera_index};
use crate::scene::{Scene, SceneError, mjcf};
use crate::simulation::Simulation;
use crate::world::{World, WorldError};

/// What the arm of a [`Double`] looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// As in the scene: boxes, cylinders and capsules.
    #[default]
    Primitive,
    /// The meshes that the makers of the SO-101 publish, on the same joints.
    Published,
}

/// Draws the state of a world of one scene with another arm, other colours, lights and cameras. It has no physics of its own,
/// and looking changes nothing in the world.
#[derive(Debug)]
pub struct Double {
    simulation: Simulation,
}

impl Double {
    /// A double of the worlds of `scene`.
    ///
    /// Errors: [`EnvError::Asset`] says which command fetches the published arm; [`EnvError::Scene`] when MuJoCo does not
    /// accept the two together.
    pub fn new(
        scene: &Scene,
        body: Body,
        backend: Backend,
        quality: Quality,
    ) -> Result<Self, EnvError> {
        quiet_mujoco();
        let model = match body {
            Body::Primitive => scene.model().clone(),
            Body::Published => Arc::new(published(scene)?),
        };
        Ok(Self {
            simulation: Simulation::new(model, backend, quality)?,
        })
    }

    /// Changes its looks to what `looks` draws for `seed`, but only the changes whose name `keep` accepts
    /// (`colour.table.r`, `light.headlight`, see [`Variation::values`]); what was changed before is undone.
    pub fn dress(&mut self, looks: &Randomisation, seed: u64, keep: impl Fn(&str) -> bool) {
        let variation = Variation::sample(looks, self.simulation.model(), seed).keeping(keep);
        self.simulation.vary(&variation);
    }

    /// What the camera called `camera` would see of `world`; the size of `out` is the size of the picture.
    ///
    /// Errors: [`EnvError::World`] for a world of another scene or one that came apart; [`EnvError::Render`].
    pub fn render(
        &mut self,
        world: &World,
        camera: &str,
        out: &mut RgbImage,
    ) -> Result<(), EnvError> {
        let camera = camera_index(self.simulation.model(), camera)?;
        let data = self.simulation.data_mut();
        world.with_data(|theirs| {
            if data.qpos().len() != theirs.qpos().len()
                || data.mocap_pos().len() != theirs.mocap_pos().len()
            {
                return Err(WorldError::Invalid(
                    "the world is of another scene than its double".into(),
                ));
            }
            data.qpos_mut().copy_from_slice(theirs.qpos());
            data.mocap_pos_mut().copy_from_slice(theirs.mocap_pos());
            data.mocap_quat_mut().copy_from_slice(theirs.mocap_quat());
            Ok(())
        })??;
        self.simulation.render(camera, out)
    }
}

/// The published arm among the things of the scene. Its joints come first in both models and in the same order.
fn published(scene: &Scene) -> Result<MjModel, EnvError> {
    let path = assets::SO101.file("so101_new_calib.xml")?;
    let unreadable = |message: String| {
        EnvError::Model(ModelError {
            file: path.clone(),
            line: None,
            message,
        })
    };
    let arm = std::fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    let meshes = path.with_file_name("assets");
    let whole = arm
        .replace(
            "meshdir=\"assets\"",
            &format!("meshdir=\"{}\"", meshes.display()),
        )
        .replace(
            "</mujoco>",
            &format!("{}</mujoco>", mjcf::surroundings(scene.config())),
        );
    let mut model =
        MjModel::from_xml_string(&whole).map_err(|error| SceneError::Model(error.to_string()))?;
    let names = |model: &MjModel| {
        (0..model.njnt() as usize)
            .map(|joint| {
                let name = model.id_to_name(MjtObjBase::mjOBJ_JOINT, joint);
                name.unwrap_or_default().to_owned()
            })
            .collect::<Vec<_>>()
    };
    if names(&model) != names(scene.model()) {
        return Err(unreadable("has other joints than the scene's arm".into()));
    }
    meshes::lighten(&mut model, meshes::FACES);
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;
    use crate::env::EnvConfig;
    use crate::randomise::Range;

    const SIZE: u32 = 64;

    fn env() -> Env {
        let config = EnvConfig {
            image_width: SIZE,
            image_height: SIZE,
            renderer: Backend::Cpu,
            ..EnvConfig::default()
        };
        let mut env = Env::new("so101-avoid", config).unwrap();
        env.reset(3).unwrap();
        env
    }

    fn look(double: &mut Double, env: &Env) -> RgbImage {
        let mut picture = RgbImage::new(SIZE, SIZE);
        double.render(env.world(), "front", &mut picture).unwrap();
        picture
    }

    fn double(env: &Env, body: Body) -> Result<Double, EnvError> {
        Double::new(env.world().scene(), body, Backend::Cpu, Quality::Fast)
    }

    /// Middle of the red pixels, and how many there are.
    fn red(picture: &RgbImage) -> ([f64; 2], f64) {
        let (mut sum, mut count) = ([0.0; 2], 0.0);
        for (x, y, pixel) in picture.enumerate_pixels() {
            let [r, g, b] = pixel.0.map(f64::from);
            if r > 1.8 * g && r > 1.8 * b && r > 60.0 {
                sum[0] += f64::from(x);
                sum[1] += f64::from(y);
                count += 1.0;
            }
        }
        (sum.map(|s| s / count), count)
    }

    #[test]
    fn an_undressed_double_is_the_world_itself_and_looking_changes_nothing() {
        let (mut one, mut other) = (env(), env());
        let mut double = double(&one, Body::Primitive).unwrap();
        for t in 0..4 {
            assert_eq!(look(&mut double, &one), one.render("front").unwrap(), "{t}");
            let action = [0.4, 0.8 - 0.3 * t as f32];
            assert_eq!(one.step(&action).unwrap(), other.step(&action).unwrap());
        }
    }

    #[test]
    fn only_the_looks_that_are_kept_change() {
        let env = env();
        let mut double = double(&env, Body::Primitive).unwrap();
        let plain = look(&mut double, &env);
        let colours = Randomisation {
            colour: Some(Range::new(-0.4, -0.3)),
            ..Randomisation::default()
        };
        double.dress(&colours, 1, |name| name.starts_with("colour.table."));
        let dressed = look(&mut double, &env);
        assert_ne!(dressed, plain);
        // The table is another, the cube is the same.
        assert_ne!(dressed.get_pixel(2, SIZE - 2), plain.get_pixel(2, SIZE - 2));
        let ((was, count), (is, now)) = (red(&plain), red(&dressed));
        assert!(count > 10.0 && (count - now).abs() <= 2.0, "{count} {now}");
        assert!((was[0] - is[0]).abs() < 0.5 && (was[1] - is[1]).abs() < 0.5);
        double.dress(&colours, 1, |_| false);
        assert_eq!(look(&mut double, &env), plain);
    }

    #[test]
    fn the_published_arm_stands_among_the_same_things() {
        let env = env();
        let Ok(mut published) = double(&env, Body::Published) else {
            // A machine without the package; the error is the same as everywhere.
            let error = double(&env, Body::Published).unwrap_err();
            assert!(error.to_string().contains("./x assets so101"), "{error}");
            return;
        };
        let plain = look(&mut double(&env, Body::Primitive).unwrap(), &env);
        let seen = look(&mut published, &env);
        let differ = plain.pixels().zip(seen.pixels()).filter(|(a, b)| a != b);
        assert!(differ.count() > 200);
        let ((was, _), (is, count)) = (red(&plain), red(&seen));
        assert!(count > 10.0, "{count}");
        assert!((was[0] - is[0]).abs() < 1.5 && (was[1] - is[1]).abs() < 1.5);
    }

    #[test]
    fn a_world_of_another_scene_is_refused() {
        let env = env();
        let other = Env::new("so101-lift", EnvConfig::default()).unwrap();
        let mut double = double(&other, Body::Primitive).unwrap();
        let mut picture = RgbImage::new(SIZE, SIZE);
        let error = double.render(env.world(), "front", &mut picture);
        assert!(error.unwrap_err().to_string().contains("another scene"));
    }
}
