//! The lighting that MuJoCo's own renderer asks of OpenGL (Blinn-Phong with attenuation and spots), per sample.

use mujoco_rs::mujoco_c::mjtLightType;
use mujoco_rs::wrappers::mj_visualization::{MjvGeom, MjvLight};

use super::lanes::{F, F3, dot, dot1, three, unit};
use super::shadow::{Shadow, ShadowMap};
use super::view::{Local, Vec3};

/// How a surface answers to light.
#[derive(Clone, Copy, Debug)]
pub(super) struct Material {
    pub(super) colour: Vec3,
    pub(super) emission: f32,
    pub(super) specular: f32,
    /// Exponent of the highlight.
    pub(super) shininess: u32,
}

impl Material {
    pub(super) fn of(geom: &MjvGeom) -> Material {
        Material {
            colour: [geom.rgba[0], geom.rgba[1], geom.rgba[2]],
            emission: geom.emission,
            specular: geom.specular,
            shininess: (geom.shininess * 128.0).round().clamp(0.0, 128.0) as u32,
        }
    }

    /// `cosine^shininess`. Above 16 it is `(1 + (cosine - 1) shininess / 16)^16`, which is within 0.02 of it and has a fixed
    /// number of factors.
    #[inline(always)]
    fn highlight(&self, cosine: F) -> F {
        if self.shininess <= 16 {
            return cosine.max(F::zero()).powi(self.shininess);
        }
        let slope = self.shininess as f32 / 16.0;
        let x = ((cosine - F::splat(1.0)) * slope + F::splat(1.0)).max(F::zero());
        let x4 = (x * x) * (x * x);
        (x4 * x4) * (x4 * x4)
    }
}

/// Where the light of a lamp goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Beam {
    /// Everywhere.
    Point,
    /// In one direction, the same for every point.
    Parallel,
    /// Into a cone.
    Spot {
        /// Half angle in radians.
        cutoff: f32,
    },
}

/// A light in world or in geom coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Light {
    pub(super) position: Vec3,
    /// Unit direction in which the light shines.
    pub(super) direction: Vec3,
    pub(super) beam: Beam,
    /// Constant, linear and quadratic attenuation.
    attenuation: Vec3,
    exponent: u32,
    ambient: Vec3,
    diffuse: Vec3,
    specular: Vec3,
    /// Whether things throw shadows in it.
    pub(super) casts_shadow: bool,
    /// Number of its shadow map, while there is one.
    pub(super) map: Option<usize>,
}

impl Light {
    /// A light of the scene, without a shadow map.
    pub(super) fn of(light: &MjvLight) -> Light {
        let beam = if light.type_ == mjtLightType::mjLIGHT_DIRECTIONAL as i32 {
            Beam::Parallel
        } else if light.type_ == mjtLightType::mjLIGHT_SPOT as i32 && light.cutoff < 90.0 {
            Beam::Spot {
                cutoff: light.cutoff.to_radians(),
            }
        } else {
            Beam::Point
        };
        Light {
            position: light.pos,
            direction: super::view::unit(light.dir),
            beam,
            attenuation: light.attenuation,
            exponent: light.exponent.round().clamp(0.0, 128.0) as u32,
            ambient: light.ambient,
            diffuse: light.diffuse,
            specular: light.specular,
            casts_shadow: light.castshadow != 0 && light.headlight == 0 && beam != Beam::Point,
            map: None,
        }
    }
}

/// A light in the coordinates of one geom, with its shadows there.
#[derive(Clone, Debug)]
pub(super) struct LocalLight {
    light: Light,
    /// Cosine of the half angle of a spot, else -1.
    cone: f32,
    shadow: Option<Shadow>,
}

/// Where highlights are seen from, in the coordinates of one geom or of the world.
#[derive(Clone, Copy, Debug)]
pub(super) enum Viewer {
    /// Far away in this direction, the same everywhere: cheap, and hardly to be told apart in small pictures.
    Towards(Vec3),
    /// At this point, as in MuJoCo's renderer.
    At(Vec3),
}

/// The lights and the viewer in the coordinates of one geom.
pub(super) struct Lighting<'a> {
    lights: &'a [LocalLight],
    maps: &'a [ShadowMap],
    viewer: Viewer,
    /// Light that is everywhere: only where there is no other.
    ambient: f32,
}

impl<'a> Lighting<'a> {
    /// Moves lights into the geom's coordinates; `scratch` holds them. Their maps must be among `maps`.
    pub(super) fn new(
        world: &[Light],
        maps: &'a [ShadowMap],
        viewer: Viewer,
        local: &Local,
        scratch: &'a mut Vec<LocalLight>,
    ) -> Lighting<'a> {
        scratch.clear();
        scratch.extend(world.iter().map(|light| {
            LocalLight {
                light: Light {
                    position: local.point(light.position),
                    direction: local.direction(light.direction),
                    ..*light
                },
                cone: match light.beam {
                    Beam::Spot { cutoff } => cutoff.cos(),
                    Beam::Point | Beam::Parallel => -1.0,
                },
                shadow: light
                    .map
                    .and_then(|number| Some(Shadow::new(number, maps.get(number)?, local))),
            }
        }));
        Lighting {
            lights: scratch,
            maps,
            viewer: match viewer {
                Viewer::Towards(direction) => Viewer::Towards(local.direction(direction)),
                Viewer::At(point) => Viewer::At(local.point(point)),
            },
            ambient: if world.is_empty() { 0.3 } else { 0.0 },
        }
    }

    /// Whether some light throws shadows.
    pub(super) fn has_shadows(&self) -> bool {
        self.lights.iter().any(|light| light.shadow.is_some())
    }

    /// Colour of the points `p` with unit normals `n`: emission and ambient, diffuse and specular light of every light.
    ///
    /// The sum is cut at 1 before lights with shadows are added, each cut at 1 too: OpenGL paints them in passes.
    /// `SHADOWS` is whether some light throws them; without, there is less to keep at hand.
    #[inline(always)]
    pub(super) fn shade<const SHADOWS: bool>(&self, material: &Material, p: F3, n: F3) -> F3 {
        let one = F::splat(1.0);
        let mut base = [F::splat(material.emission + self.ambient); 3];
        let mut highlight = [F::zero(); 3];
        let mut passes = [F::zero(); 3];
        let to_viewer = match self.viewer {
            Viewer::At(eye) if material.specular > 0.0 => unit(three!(|i| F::splat(eye[i]) - p[i])),
            Viewer::At(_) => [F::zero(); 3],
            Viewer::Towards(direction) => direction.map(F::splat),
        };
        for LocalLight {
            light,
            cone,
            shadow,
        } in self.lights
        {
            let (towards, mut strength) = if light.beam == Beam::Parallel {
                (three!(|i| F::splat(-light.direction[i])), one)
            } else {
                let way = three!(|i| F::splat(light.position[i]) - p[i]);
                let [constant, linear, quadratic] = light.attenuation;
                let strength = if linear == 0.0 && quadratic == 0.0 {
                    F::splat(1.0 / constant)
                } else {
                    let d2 = dot(way, way);
                    one / (d2.sqrt() * linear + d2 * quadratic + F::splat(constant))
                };
                (unit(way), strength)
            };
            if *cone > -1.0 {
                let cosine = -dot1(towards, light.direction);
                let inside = F::splat(*cone).le(cosine);
                strength = inside.select(strength * cosine.powi(light.exponent), F::zero());
            }
            let facing = dot(n, towards).max(F::zero());
            let lit = facing * strength;
            let gloss = if material.specular > 0.0 && light.specular != [0.0; 3] {
                let half = unit(three!(|i| towards[i] + to_viewer[i]));
                let gloss = material.highlight(dot(n, half)) * strength * material.specular;
                F::zero().lt(facing).select(gloss, F::zero())
            } else {
                F::zero()
            };
            if let Some(shadow) = shadow
                && SHADOWS
            {
                let seen = shadow.light(&self.maps[shadow.number], p, n);
                base = three!(|i| base[i] + strength * light.ambient[i]);
                passes = three!(|i| {
                    let pass =
                        lit * (light.diffuse[i] * material.colour[i]) + gloss * light.specular[i];
                    passes[i] + pass.min(one) * seen
                });
            } else {
                base = three!(|i| base[i] + strength * light.ambient[i] + lit * light.diffuse[i]);
                highlight = three!(|i| highlight[i] + gloss * light.specular[i]);
            }
        }
        let sum = three!(|i| (base[i] * material.colour[i] + highlight[i]).min(one));
        if SHADOWS {
            three!(|i| sum[i] + passes[i])
        } else {
            sum
        }
    }
}
