//! Camera pictures on the CPU: no graphics library, no shared state, one renderer per thread.

use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtGeom, MjtObj};
use mujoco_rs::wrappers::mj_visualization::{
    MjtCatBit, MjvCamera, MjvGLCamera, MjvGeom, MjvOption, MjvPerturb, MjvScene,
};

use super::footprint::Footprint;
use super::frame::Frame;
use super::lighting::{Light, Lighting, Material};
use super::mesh::Mesh;
use super::paint::{self, Decal, MeshScratch, Paint, Subject};
use super::surface::{Capsule, Cuboid, Cylinder, Ellipsoid, Plane};
use super::texture::Textures;
use super::view::{Local, View};
use super::{Quality, RenderError, Renderer, check};

/// Renderer for planes, spheres, ellipsoids, capsules, cylinders, boxes and meshes, with MuJoCo's lights, checker
/// and picture textures on planes, and the skybox. Geoms of other kinds (height fields, flexes, skins) are left out.
///
/// Besides the picture it has the depth and the geom of every pixel.
#[derive(Debug)]
pub struct CpuRenderer {
    scene: MjvScene,
    option: MjvOption,
    quality: Quality,
    /// Samples per pixel along one axis.
    factor: usize,
    frame: Frame,
    assets: Arc<Assets>,
    /// Model geom of each geom of the last scene, -1 for other objects.
    geom_ids: Vec<i32>,
    scratch: Scratch,
}

/// What is read from the model once.
#[derive(Debug)]
struct Assets {
    meshes: Vec<Mesh>,
    textures: Textures,
}

#[derive(Debug, Default)]
struct Scratch {
    order: Vec<((u8, f32), Step)>,
    world_lights: Vec<Light>,
    local_lights: Vec<Light>,
    footprint: Footprint,
    mesh: MeshScratch,
}

/// One step of painting a picture.
#[derive(Clone, Copy, Debug)]
enum Step {
    Geom(usize),
    Sky,
}

impl CpuRenderer {
    /// A renderer for pictures of `width` x `height` pixels of worlds of `model`.
    ///
    /// # Errors
    /// When a size is zero.
    pub fn new(
        model: &MjModel,
        quality: Quality,
        width: u32,
        height: u32,
    ) -> Result<CpuRenderer, RenderError> {
        super::check_size(width, height)?;
        let factor = match quality {
            Quality::Fast => 1,
            Quality::High => 2,
        };
        Ok(CpuRenderer {
            scene: MjvScene::new(model, super::scene_capacity(model)),
            option: MjvOption::default(),
            quality,
            factor,
            frame: Frame::new(width as usize * factor, height as usize * factor),
            assets: Arc::new(Assets {
                meshes: Mesh::all(model),
                textures: Textures::of(model),
            }),
            geom_ids: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    /// Depth of every pixel of the last picture: metres along the optical axis, rows top to bottom, infinite where there
    /// is nothing. Transparent geoms do not count. With [`Quality::High`] it is that of the top left sample of a pixel.
    pub fn depth(&self) -> Vec<f32> {
        self.pixels()
            .map(|sample| self.frame.depth[sample])
            .collect()
    }

    /// Number in the model of the geom at every pixel of the last picture, rows top to bottom; -1 where there is none, or
    /// something else, such as a site. Transparent geoms do not count.
    pub fn segmentation(&self) -> Vec<i32> {
        self.pixels()
            .map(|sample| match self.frame.object[sample] {
                0 => -1,
                object => self.geom_ids[object as usize - 1],
            })
            .collect()
    }

    /// Index of the first sample of each pixel.
    fn pixels(&self) -> impl Iterator<Item = usize> {
        let (width, height, factor) = (self.frame.width, self.frame.height, self.factor);
        let stride = self.frame.stride;
        (0..height)
            .step_by(factor)
            .flat_map(move |y| (0..width).step_by(factor).map(move |x| y * stride + x))
    }

    /// Paints the scene into the frame.
    fn draw(&mut self, view: &View) {
        let CpuRenderer {
            scene,
            frame,
            assets,
            geom_ids,
            scratch,
            ..
        } = self;
        let Scratch {
            order,
            world_lights,
            local_lights,
            footprint,
            mesh,
        } = scratch;
        let geoms = scene.geoms();
        geom_ids.clear();
        geom_ids.extend(geoms.iter().map(|g| {
            if g.objtype == MjtObj::mjOBJ_GEOM as i32 {
                g.objid
            } else {
                -1
            }
        }));
        world_lights.clear();
        world_lights.extend(scene.lights().iter().map(Light::of));
        frame.clear();

        // Opaque geoms from near to far, so that most of what is hidden is never lit; planes, the widest, last. Then the
        // sky, then transparent geoms from far to near.
        order.clear();
        for (index, geom) in geoms.iter().enumerate() {
            let way = super::view::sub(geom.pos, view.eye);
            let distance = super::view::dot(way, way);
            let key = match geom.rgba[3] {
                alpha if alpha >= 1.0 && geom.type_ == MjtGeom::mjGEOM_PLANE as i32 => {
                    (1, distance)
                }
                alpha if alpha >= 1.0 => (0, distance),
                alpha if alpha > 0.0 => (3, -distance),
                _ => continue,
            };
            order.push((key, Step::Geom(index)));
        }
        order.push(((2, 0.0), Step::Sky));
        order.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for (_, step) in order.iter() {
            match *step {
                Step::Sky => {
                    if let Some(sky) = &assets.textures.sky {
                        paint::backdrop(frame, view, sky);
                    }
                }
                Step::Geom(index) => {
                    let lights = (&world_lights[..], &mut *local_lights);
                    draw_geom(
                        frame,
                        view,
                        &geoms[index],
                        index,
                        assets,
                        lights,
                        footprint,
                        mesh,
                    );
                }
            }
        }
    }
}

impl Renderer for CpuRenderer {
    fn render(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        camera: usize,
        out: &mut RgbImage,
    ) -> Result<(), RenderError> {
        check(&self.scene, data.model(), camera)?;
        let mut fixed = MjvCamera::new_fixed(camera);
        let everything = MjtCatBit::mjCAT_ALL as i32;
        self.scene.update_with_catmask(
            data,
            &self.option,
            &MjvPerturb::default(),
            &mut fixed,
            everything,
        );
        let [left, right] = self.scene.camera();
        let middle = MjvGLCamera::average_camera(left, right);
        if middle.orthographic != 0 {
            return Err(RenderError::Orthographic { camera });
        }
        let view = View::new(&middle, self.frame.width, self.frame.height);

        self.draw(&view);
        let (width, height) = (
            (self.frame.width / self.factor) as u32,
            (self.frame.height / self.factor) as u32,
        );
        if out.dimensions() != (width, height) {
            *out = RgbImage::new(width, height);
        }
        self.frame.resolve(self.factor, out);
        Ok(())
    }

    fn describe(&self) -> String {
        let quality = match self.quality {
            Quality::Fast => "fast, 1 sample per pixel",
            Quality::High => "high, 4 samples per pixel",
        };
        format!("CPU rasteriser ({quality})")
    }
}

/// Paints one geom of the scene.
#[allow(clippy::too_many_arguments)]
fn draw_geom(
    frame: &mut Frame,
    view: &View,
    geom: &MjvGeom,
    index: usize,
    assets: &Assets,
    (world_lights, local_lights): (&[Light], &mut Vec<Light>),
    footprint: &mut Footprint,
    mesh_scratch: &mut MeshScratch,
) {
    let local = Local::new(geom, view);
    let map = local.view_from_local(view);
    let material = Material::of(geom);
    let [a, b, c] = geom.size;
    let kind = geom.type_;
    let is = |kind_: MjtGeom| kind == kind_ as i32;

    let mesh = if is(MjtGeom::mjGEOM_MESH) {
        // A scene numbers meshes in twos: the mesh itself, then its convex hull.
        let Some(mesh) = usize::try_from(geom.dataid / 2)
            .ok()
            .and_then(|id| assets.meshes.get(id))
        else {
            return;
        };
        Some(mesh)
    } else {
        None
    };
    let half = match mesh {
        Some(mesh) => {
            let [low, high] = mesh.bounds;
            let centre = std::array::from_fn(|i| 0.5 * (low[i] + high[i]));
            footprint.project(
                view,
                &map,
                centre,
                std::array::from_fn(|i| 0.5 * (high[i] - low[i])),
            );
            None
        }
        None if is(MjtGeom::mjGEOM_PLANE) => {
            footprint.everything(view);
            None
        }
        None if is(MjtGeom::mjGEOM_CAPSULE) => Some([a, a, a + c]),
        None => Some([a, b, c]),
    };
    if let Some(half) = half {
        footprint.project(view, &map, [0.0; 3], half);
    }
    if footprint.spans.is_empty() {
        return;
    }

    let decal = if is(MjtGeom::mjGEOM_PLANE) {
        plane_decal(geom, assets)
    } else {
        None
    };
    let lighting = Lighting::new(world_lights, view, &local, local_lights);
    let subject = Subject {
        view,
        local: &local,
        lighting: &lighting,
        material: &material,
        decal,
        paint: Paint {
            object: index as u32 + 1,
            alpha: material.alpha,
        },
    };
    if let Some(mesh) = mesh {
        paint::triangles(frame, mesh, &subject, mesh_scratch);
    } else if is(MjtGeom::mjGEOM_PLANE) {
        paint::cast(frame, footprint, &Plane(a, b), &subject);
    } else if is(MjtGeom::mjGEOM_SPHERE) || is(MjtGeom::mjGEOM_ELLIPSOID) {
        paint::cast(frame, footprint, &Ellipsoid([a, b, c]), &subject);
    } else if is(MjtGeom::mjGEOM_CAPSULE) {
        paint::cast(frame, footprint, &Capsule(a, c), &subject);
    } else if is(MjtGeom::mjGEOM_CYLINDER) {
        paint::cast(frame, footprint, &Cylinder(a, c), &subject);
    } else if is(MjtGeom::mjGEOM_BOX) {
        paint::cast(frame, footprint, &Cuboid([a, b, c]), &subject);
    }
}

/// The texture of a plane.
fn plane_decal<'a>(geom: &MjvGeom, assets: &'a Assets) -> Option<Decal<'a>> {
    let texture = assets.textures.flat(geom.texid)?;
    let scale = std::array::from_fn(|i| {
        let size = geom.size[i];
        let repeat = geom.texrepeat[i].max(f32::MIN_POSITIVE);
        // Repeats are per metre when uniform (or the plane has no end), else over the whole plane.
        let per_metre = if geom.texuniform != 0 || size <= 0.0 {
            repeat
        } else {
            0.5 * repeat / size
        };
        if i == 0 { per_metre } else { -per_metre }
    });
    Some(Decal {
        texture,
        scale,
        shift: [-0.5, -0.5],
    })
}
