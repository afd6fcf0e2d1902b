//! Painting a scene into a frame: in which order, in which light.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtGeom};
use mujoco_rs::wrappers::mj_visualization::{MjvGeom, MjvScene};

use super::decal::Decal;
use super::fill::Fill;
use super::footprint::Footprint;
use super::frame::Frame;
use super::lighting::{Light, Lighting, LocalLight, Material, Viewer};
use super::mesh::Mesh;
use super::paint::{Paint, Subject};
use super::shadow::{Reach, ShadowMap};
use super::shape::{Scratch, Shape, is_plane_from_behind, is_solid};
use super::sky::{Haze, backdrop};
use super::texture::Textures;
use super::view::{Local, Mirror, View, dot, sub};

/// What is read from the model once.
#[derive(Debug)]
pub(super) struct Assets {
    pub(super) meshes: Vec<Mesh>,
    textures: Textures,
    haze: Option<Haze>,
    reach: Reach,
}

impl Assets {
    pub(super) fn of(model: &MjModel) -> Assets {
        Assets {
            meshes: Mesh::all(model),
            textures: Textures::of(model),
            haze: Haze::of(model),
            reach: Reach::of(model),
        }
    }
}

/// What a painter works with, kept from one picture to the next.
#[derive(Debug, Default)]
pub(super) struct Tools {
    lights: Vec<Light>,
    local_lights: Vec<LocalLight>,
    maps: Vec<ShadowMap>,
    order: Vec<(u8, f32, usize)>,
    footprint: Footprint,
    scratch: Scratch,
    /// What a mirror shows.
    reflection: Frame,
}

/// One look at a scene.
struct Look<'a> {
    geoms: &'a [MjvGeom],
    view: &'a View,
    lights: &'a [Light],
    maps: &'a [ShadowMap],
    assets: &'a Assets,
    /// A geom that is left out, the mirror in its own reflection.
    without: Option<usize>,
    /// Colours are multiplied by this.
    strength: f32,
    style: Style,
}

/// How exactly a picture is painted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) mirrors: Mirrors,
    pub(super) highlights: Highlights,
}

/// Whether mirrors show something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mirrors {
    Reflect,
    StayBlank,
}

/// From where highlights are seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Highlights {
    FromTheEye,
    /// Except on planes and meshes.
    FromAfar,
}

impl Look<'_> {
    fn viewer(&self, shape: &Shape<'_>) -> Viewer {
        match (self.style.highlights, shape) {
            // On something wide and flat a highlight seen from afar would be everywhere.
            (Highlights::FromTheEye, _) | (_, Shape::Plane(_) | Shape::Mesh(_)) => {
                Viewer::At(self.view.eye)
            }
            (Highlights::FromAfar, _) => Viewer::Towards(self.view.forward.map(|x| -x)),
        }
    }
}

impl Tools {
    /// Follows the light of a scene into its shadows. Good for every camera until something moves.
    pub(super) fn cast_shadows(&mut self, scene: &MjvScene, assets: &Assets) {
        let casting = || {
            let lights = scene.lights().iter().map(Light::of);
            lights.filter(|light| light.casts_shadow)
        };
        self.maps.resize_with(casting().count(), ShadowMap::new);
        for (light, map) in casting().zip(&mut self.maps) {
            let things = (scene.geoms(), &assets.meshes[..]);
            let vertices = &mut self.scratch.vertices;
            map.draw(&light, assets.reach, things, &mut self.footprint, vertices);
        }
    }

    /// Paints a scene. Shadows are those of the last [`Tools::cast_shadows`].
    pub(super) fn paint(
        &mut self,
        frame: &mut Frame,
        scene: &MjvScene,
        view: &View,
        assets: &Assets,
        style: Style,
    ) {
        self.lights.clear();
        self.lights.extend(scene.lights().iter().map(Light::of));
        let casting = self.lights.iter_mut().filter(|light| light.casts_shadow);
        for (number, light) in casting.enumerate().take(self.maps.len()) {
            light.map = Some(number);
        }

        let Tools {
            lights,
            local_lights,
            maps,
            order,
            footprint,
            scratch,
            reflection,
        } = self;
        let mut brush = Brush {
            local_lights,
            order,
            footprint,
            scratch,
        };
        let look = Look {
            geoms: scene.geoms(),
            view,
            lights,
            maps,
            assets,
            without: None,
            strength: 1.0,
            style,
        };
        frame.clear();
        brush.solids(frame, &look);
        if style.mirrors == Mirrors::Reflect
            && let Some((number, mirror)) = mirror(&look)
        {
            let mirrored = view.mirrored(mirror);
            let look = Look {
                view: &mirrored,
                maps: &[],
                without: Some(number),
                strength: look.geoms[number].reflectance,
                ..look
            };
            if reflection.depth.len() != frame.depth.len() {
                *reflection = Frame::picture(view.width, view.height, &assets.meshes);
            }
            reflection.clear();
            brush.solids(reflection, &look);
            brush.transparents(reflection, &look);
            frame.add_reflection(reflection, number as u32 + 1, view, &mirror);
        }
        if let Some(sky) = &assets.textures.sky {
            backdrop(frame, view, sky);
            if let Some(haze) = &assets.haze {
                haze.draw(frame, view, look.geoms);
            }
        }
        brush.transparents(frame, &look);
    }

    /// Finds depth and object of every sample.
    pub(super) fn measure(
        &mut self,
        frame: &mut Frame,
        geoms: &[MjvGeom],
        view: &View,
        assets: &Assets,
    ) {
        frame.depth.fill(f32::INFINITY);
        frame.object.fill(0);
        for (index, geom) in geoms.iter().enumerate() {
            if !is_solid(geom) {
                continue;
            }
            let Some(shape) = Shape::of(geom, &assets.meshes) else {
                continue;
            };
            let local = Local::new(geom, view);
            if shape.project(view, &local, &mut self.footprint) {
                let what = Fill::Object(index as u32 + 1);
                let vertices = &mut self.scratch.vertices;
                shape.paint_depth(frame, &self.footprint, (view, &local), what, vertices);
            }
        }
    }
}

/// The one mirror that MuJoCo's renderer has: the first plane or box that reflects, if the eye is in front of it.
fn mirror(look: &Look<'_>) -> Option<(usize, Mirror)> {
    let (number, geom) = look.geoms.iter().enumerate().find(|(_, geom)| {
        let flat = [MjtGeom::mjGEOM_PLANE, MjtGeom::mjGEOM_BOX].map(|kind| kind as i32);
        flat.contains(&geom.type_)
            && is_solid(geom)
            && geom.reflectance > 0.0
            && !is_plane_from_behind(geom, look.view.eye)
    })?;
    let m = &geom.mat;
    let normal = [m[2], m[5], m[8]];
    // A box reflects on its upper side.
    let above = if geom.type_ == MjtGeom::mjGEOM_BOX as i32 {
        geom.size[2]
    } else {
        0.0
    };
    let mirror = Mirror {
        normal,
        offset: dot(normal, geom.pos) + above,
    };
    (mirror.distance(look.view.eye) > 0.0).then_some((number, mirror))
}

/// The parts of [`Tools`] that painting a geom needs.
struct Brush<'a> {
    local_lights: &'a mut Vec<LocalLight>,
    order: &'a mut Vec<(u8, f32, usize)>,
    footprint: &'a mut Footprint,
    scratch: &'a mut Scratch,
}

impl Brush<'_> {
    /// Paints solid geoms from near to far, so that most of what is hidden is never lit; planes, the widest, last.
    fn solids(&mut self, frame: &mut Frame, look: &Look<'_>) {
        self.order.clear();
        for (index, geom) in look.geoms.iter().enumerate() {
            if is_solid(geom) && look.without != Some(index) {
                let way = sub(geom.pos, look.view.eye);
                let last = geom.type_ == MjtGeom::mjGEOM_PLANE as i32;
                self.order.push((u8::from(last), dot(way, way), index));
            }
        }
        self.sort();
        for step in 0..self.order.len() {
            let (_, _, index) = self.order[step];
            let geom = &look.geoms[index];
            if let Some(shape) = Shape::of(geom, &look.assets.meshes) {
                self.geom(frame, look, index, &shape, geom.rgba[3].max(1.0));
            }
        }
    }

    /// Paints transparent geoms from near to far, then from far to near, as MuJoCo's renderer does. The back of a plane is one
    /// of them.
    fn transparents(&mut self, frame: &mut Frame, look: &Look<'_>) {
        self.order.clear();
        for (index, geom) in look.geoms.iter().enumerate() {
            let behind = is_plane_from_behind(geom, look.view.eye);
            let hidden = look.without == Some(index) || geom.rgba[3] <= 0.0;
            if (is_solid(geom) && !behind) || hidden {
                continue;
            }
            let way = sub(geom.pos, look.view.eye);
            let key = if geom.type_ == MjtGeom::mjGEOM_PLANE as i32 {
                1e10
            } else {
                dot(way, way).sqrt() - geom.modelrbound
            };
            self.order.push((0, key, index));
        }
        self.sort();
        let count = self.order.len();
        for step in (0..count).chain((0..count).rev()) {
            let (_, _, index) = self.order[step];
            let geom = &look.geoms[index];
            let behind = is_plane_from_behind(geom, look.view.eye);
            let alpha = geom.rgba[3] * if behind { 0.3 } else { 1.0 };
            if let Some(shape) = Shape::of(geom, &look.assets.meshes) {
                let look = Look { maps: &[], ..*look };
                self.geom(frame, &look, index, &shape.seen_from_both_sides(), alpha);
            }
        }
    }

    /// Without allocating.
    fn sort(&mut self) {
        self.order.sort_unstable_by(|a, b| {
            let nearer = a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
            nearer.then(a.2.cmp(&b.2))
        });
    }

    fn geom(
        &mut self,
        frame: &mut Frame,
        look: &Look<'_>,
        index: usize,
        shape: &Shape<'_>,
        alpha: f32,
    ) {
        let geom = &look.geoms[index];
        let local = Local::new(geom, look.view);
        if !shape.project(look.view, &local, self.footprint) {
            return;
        }
        let mut material = Material::of(geom);
        material.colour = material.colour.map(|c| c * look.strength);
        let subject = Subject {
            view: look.view,
            local: &local,
            lighting: Lighting::new(
                look.lights,
                look.maps,
                look.viewer(shape),
                &local,
                self.local_lights,
            ),
            decal: Decal::of(geom, shape, &look.assets.textures),
            paint: Paint {
                object: index as u32 + 1,
                alpha,
            },
            material,
        };
        shape.paint(frame, self.footprint, &subject, self.scratch);
    }
}
