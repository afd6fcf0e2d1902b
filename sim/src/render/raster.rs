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
use super::mesh::{Mesh, Vertex};
use super::paint::{self, Decal, Paint, Subject};
use super::shadow::{Reach, ShadowMap};
use super::shape::Shape;
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
    assets: Assets,
    /// Absent when shadows are off.
    shadows: Option<Shadows>,
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
    footprint: Footprint,
    vertices: Vec<Vertex>,
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
        let assets = Assets {
            meshes: Mesh::all(model),
            textures: Textures::of(model),
        };
        let (width, height) = (width as usize * factor, height as usize * factor);
        Ok(CpuRenderer {
            scene: MjvScene::new(model, super::scene_capacity(model)),
            option: MjvOption::default(),
            quality,
            factor,
            frame: Frame::picture(width, height, !assets.meshes.is_empty()),
            shadows: (quality == Quality::High).then(|| Shadows {
                reach: Reach::of(model),
                maps: Vec::new(),
            }),
            assets,
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
            shadows,
            ..
        } = self;
        let Scratch {
            order,
            footprint,
            vertices,
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
        let meshes = &assets.meshes;
        let lights = light_up(scene, shadows.as_mut(), meshes, footprint, vertices);
        let mut local_lights = Vec::with_capacity(lights.len());

        frame.clear();
        plan(geoms, view, order);
        for (_, step) in order.iter() {
            let Step::Geom(index) = *step else {
                if let Some(sky) = &assets.textures.sky {
                    paint::backdrop(frame, view, sky);
                }
                continue;
            };
            let geom = &geoms[index];
            let Some(shape) = Shape::of(geom, meshes) else {
                continue;
            };
            let local = Local::new(geom, view);
            if !shape.project(view, &local, footprint) {
                continue;
            }
            let material = Material::of(geom);
            let subject = Subject {
                view,
                local: &local,
                lighting: Lighting::new(&lights, view, &local, &mut local_lights),
                decal: if let Shape::Plane(_) = shape {
                    plane_decal(geom, assets)
                } else {
                    None
                },
                paint: Paint {
                    object: index as u32 + 1,
                    alpha: material.alpha,
                },
                material,
            };
            shape.paint(frame, footprint, &subject, vertices);
        }
    }
}

/// Opaque geoms from near to far, so that most of what is hidden is never lit; planes, the widest, last. Then the sky, then
/// transparent geoms from far to near.
fn plan(geoms: &[MjvGeom], view: &View, order: &mut Vec<((u8, f32), Step)>) {
    order.clear();
    for (index, geom) in geoms.iter().enumerate() {
        let way = super::view::sub(geom.pos, view.eye);
        let distance = super::view::dot(way, way);
        let key = match geom.rgba[3] {
            alpha if alpha >= 1.0 && geom.type_ == MjtGeom::mjGEOM_PLANE as i32 => (1, distance),
            alpha if alpha >= 1.0 => (0, distance),
            alpha if alpha > 0.0 => (3, -distance),
            _ => continue,
        };
        order.push((key, Step::Geom(index)));
    }
    order.push(((2, 0.0), Step::Sky));
    order.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
}

/// Shadow maps, one for each light that throws shadows.
#[derive(Debug)]
struct Shadows {
    reach: Reach,
    maps: Vec<ShadowMap>,
}

/// The lights of the scene, with fresh shadow maps where there are shadows.
fn light_up<'m>(
    scene: &MjvScene,
    shadows: Option<&'m mut Shadows>,
    meshes: &[Mesh],
    footprint: &mut Footprint,
    vertices: &mut Vec<Vertex>,
) -> Vec<(Light, Option<&'m ShadowMap>)> {
    let lights: Vec<Light> = scene.lights().iter().map(Light::of).collect();
    let Some(Shadows { reach, maps }) = shadows else {
        return lights.into_iter().map(|light| (light, None)).collect();
    };
    let casting = lights.iter().filter(|light| light.casts_shadow);
    maps.resize_with(casting.clone().count(), ShadowMap::new);
    for (light, map) in casting.zip(maps.iter_mut()) {
        map.draw(light, *reach, (scene.geoms(), meshes), footprint, vertices);
    }
    let mut maps = maps.iter();
    lights
        .into_iter()
        .map(|light| {
            (
                light,
                if light.casts_shadow {
                    maps.next()
                } else {
                    None
                },
            )
        })
        .collect()
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
            Quality::Fast => "fast, no shadows, 1 sample per pixel",
            Quality::High => "high, shadows, 4 samples per pixel",
        };
        format!("CPU rasteriser ({quality})")
    }
}

/// The texture of a plane.
fn plane_decal<'a>(geom: &MjvGeom, assets: &'a Assets) -> Option<Decal<'a>> {
    let texture = assets.textures.flat(geom.texid)?;
    let scale: [f32; 2] = std::array::from_fn(|i| {
        // Half a repeat per metre when uniform, or when the plane has no end; else per half size.
        let half = 0.5 * geom.texrepeat[i];
        let size = geom.size[i];
        if geom.texuniform != 0 || size <= 0.0 {
            half
        } else {
            half / size
        }
    });
    // The image starts in a corner of the plane, or half an image from its origin.
    let shift = std::array::from_fn(|i| {
        if geom.size[i] > 0.0 {
            scale[i] * geom.size[i]
        } else {
            -0.5
        }
    });
    Some(Decal {
        texture,
        scale: [scale[0], -scale[1]],
        shift,
    })
}
