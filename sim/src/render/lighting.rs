//! The lighting that MuJoCo's own renderer asks of OpenGL (Blinn-Phong with attenuation and spots), per sample.

use mujoco_rs::mujoco_c::mjtLightType;
use mujoco_rs::wrappers::mj_visualization::{MjvGeom, MjvLight};

use super::lanes::{F, F3, dot, dot1, three, unit};
use super::view::{Local, Vec3, View};

/// How a surface answers to light.
#[derive(Clone, Copy, Debug)]
pub(super) struct Material {
    pub(super) colour: Vec3,
    pub(super) alpha: f32,
    pub(super) emission: f32,
    pub(super) specular: f32,
    /// Exponent of the highlight.
    pub(super) shininess: u32,
}

impl Material {
    pub(super) fn of(geom: &MjvGeom) -> Material {
        Material {
            colour: [geom.rgba[0], geom.rgba[1], geom.rgba[2]],
            alpha: geom.rgba[3],
            emission: geom.emission,
            specular: geom.specular,
            shininess: (geom.shininess * 128.0).round().clamp(0.0, 128.0) as u32,
        }
    }
}

/// A light in world or in geom coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Light {
    position: Vec3,
    /// Unit direction in which the light shines.
    direction: Vec3,
    directional: bool,
    /// Constant, linear and quadratic attenuation.
    attenuation: Vec3,
    /// Cosine of the cone's half angle, for a spot.
    cutoff: Option<f32>,
    exponent: u32,
    ambient: Vec3,
    diffuse: Vec3,
    specular: Vec3,
}

impl Light {
    pub(super) fn of(light: &MjvLight) -> Light {
        let spot = light.type_ == mjtLightType::mjLIGHT_SPOT as i32 && light.cutoff < 90.0;
        Light {
            position: light.pos,
            direction: super::view::unit(light.dir),
            directional: light.type_ == mjtLightType::mjLIGHT_DIRECTIONAL as i32,
            attenuation: light.attenuation,
            cutoff: spot.then(|| light.cutoff.to_radians().cos()),
            exponent: light.exponent.round().clamp(0.0, 128.0) as u32,
            ambient: light.ambient,
            diffuse: light.diffuse,
            specular: light.specular,
        }
    }

    fn in_local(&self, local: &Local) -> Light {
        Light {
            position: local.point(self.position),
            direction: local.direction(self.direction),
            ..*self
        }
    }
}

/// The lights and the viewer in the coordinates of one geom.
pub(super) struct Lighting<'a> {
    lights: &'a [Light],
    /// Direction towards the viewer, the same everywhere, as fixed-function OpenGL has it.
    to_viewer: Vec3,
}

impl<'a> Lighting<'a> {
    /// Moves `world` lights into the geom's coordinates; `scratch` holds them.
    pub(super) fn new(
        world: &[Light],
        view: &View,
        local: &Local,
        scratch: &'a mut Vec<Light>,
    ) -> Lighting<'a> {
        scratch.clear();
        scratch.extend(world.iter().map(|light| light.in_local(local)));
        Lighting {
            lights: scratch,
            to_viewer: local.direction(view.forward.map(|x| -x)),
        }
    }

    /// Colour of the points `p` with unit normals `n`: emission and ambient, diffuse and specular light of every light.
    #[inline(always)]
    pub(super) fn shade(&self, material: &Material, p: F3, n: F3) -> F3 {
        let mut base = [F::splat(material.emission); 3];
        let mut highlight = [F::splat(0.0); 3];
        for light in self.lights {
            let (towards, mut strength) = if light.directional {
                (three!(|i| F::splat(-light.direction[i])), F::splat(1.0))
            } else {
                let way = three!(|i| F::splat(light.position[i]) - p[i]);
                let [constant, linear, quadratic] = light.attenuation;
                let strength = if linear == 0.0 && quadratic == 0.0 {
                    F::splat(1.0 / constant)
                } else {
                    let d2 = dot(way, way);
                    F::splat(1.0) / (d2.sqrt() * linear + d2 * quadratic + constant)
                };
                (unit(way), strength)
            };
            if let Some(cutoff) = light.cutoff {
                let cosine = -dot1(towards, light.direction);
                let inside = F::splat(cutoff).le(cosine);
                strength = inside.select(strength * cosine.powi(light.exponent), F::splat(0.0));
            }
            let facing = dot(n, towards).max(F::splat(0.0));
            let lit = facing * strength;
            base = three!(|i| base[i] + strength * light.ambient[i] + lit * light.diffuse[i]);
            if material.specular > 0.0 {
                let half = unit(three!(|i| towards[i] + self.to_viewer[i]));
                let gloss = dot(n, half).max(F::splat(0.0)).powi(material.shininess)
                    * strength
                    * material.specular;
                let gloss = F::splat(0.0).lt(facing).select(gloss, F::splat(0.0));
                highlight = three!(|i| highlight[i] + gloss * light.specular[i]);
            }
        }
        three!(|i| (base[i] * material.colour[i] + highlight[i]).min(F::splat(1.0)))
    }
}
