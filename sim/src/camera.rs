//! A camera in a world, behind the robot layer's [`Camera`] trait.

use image::RgbImage;
use rapport_robot::{Camera, CameraError, Frame};

use crate::render::{self, Backend, Quality, RenderError, Renderer};
use crate::world::World;

/// A camera of a [`World`], one of [`CAMERAS`](crate::scene::CAMERAS).
pub struct SimCamera {
    world: World,
    name: String,
    camera: usize,
    size: (u32, u32),
    renderer: Box<dyn Renderer>,
}

impl std::fmt::Debug for SimCamera {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimCamera")
            .field("name", &self.name)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl SimCamera {
    /// The camera called `name`, with pictures of `(width, height)` pixels.
    ///
    /// Errors: [`RenderError`] for a camera that does not exist, a size that cannot be, or a back end that is not there.
    pub fn new(
        world: World,
        name: &str,
        (width, height): (u32, u32),
        backend: Backend,
        quality: Quality,
    ) -> Result<Self, RenderError> {
        let model = world.scene().model();
        let camera = render::camera_index(model, name)?;
        let renderer = render::open(backend, quality, model, width, height)?;
        Ok(Self {
            world,
            name: name.into(),
            camera,
            size: (width, height),
            renderer,
        })
    }
}

impl Camera for SimCamera {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> (u32, u32) {
        self.size
    }

    /// A picture of this moment. Its number is the number of physics steps: a world that stands still is a frozen camera.
    fn capture(&mut self) -> Result<Frame, CameraError> {
        let failed = |cause: String| CameraError::Open {
            name: self.name.clone(),
            cause,
        };
        let mut image = RgbImage::new(self.size.0, self.size.1);
        let (stamp, sequence) = (self.world.now(), self.world.steps());
        self.world
            .with_data(|data| self.renderer.render(data, self.camera, &mut image))
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        Ok(Frame {
            image,
            stamp,
            sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{CAMERAS, ObjectConfig, Scene, SceneConfig};

    fn world() -> World {
        let scene = Scene::new(SceneConfig {
            objects: vec![ObjectConfig::default()],
            ..SceneConfig::default()
        })
        .unwrap();
        let world = World::new(scene).unwrap();
        world.place_cube(0.22, 0.05, 0.2).unwrap();
        world
    }

    fn red(image: &RgbImage) -> usize {
        image
            .pixels()
            .filter(|p| p[0] > 90 && p[1] < 60 && p[2] < 60)
            .count()
    }

    #[test]
    fn every_camera_shows_something_and_two_of_them_the_cube() {
        let world = world();
        for name in CAMERAS {
            let mut camera =
                SimCamera::new(world.clone(), name, (64, 48), Backend::Cpu, Quality::Fast).unwrap();
            let frame = camera.capture().unwrap();
            assert_eq!(frame.image.dimensions(), camera.size());
            let first = frame.image.get_pixel(0, 0);
            assert!(frame.image.pixels().any(|pixel| pixel != first), "{name}");
            if name != "wrist" {
                assert!(red(&frame.image) > 10, "{name}");
            }
        }
    }

    #[test]
    fn a_frame_is_numbered_by_the_physics() {
        let world = world();
        let mut camera = SimCamera::new(
            world.clone(),
            "front",
            (16, 16),
            Backend::Cpu,
            Quality::Fast,
        )
        .unwrap();
        let before = camera.capture().unwrap();
        assert_eq!(camera.capture().unwrap().sequence, before.sequence);
        world.advance(4).unwrap();
        let after = camera.capture().unwrap();
        assert_eq!(after.sequence, before.sequence + 4);
        assert_eq!(after.stamp, before.stamp + 4 * world.timestep());
    }

    #[test]
    fn a_camera_that_does_not_exist_is_an_error() {
        let error =
            SimCamera::new(world(), "back", (16, 16), Backend::Cpu, Quality::Fast).unwrap_err();
        assert!(error.to_string().contains("front, top, wrist"), "{error}");
    }
}
