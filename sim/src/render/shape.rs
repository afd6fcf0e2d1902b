//! The shape of a geom: which kernel draws it and which part of the raster it can touch.

use mujoco_rs::wrappers::mj_model::MjtGeom;
use mujoco_rs::wrappers::mj_visualization::MjvGeom;

use super::fill::Fill;
use super::footprint::Footprint;
use super::frame::Frame;
use super::mesh::{Mesh, Projected};
use super::paint::{self, Batch, Subject};
use super::surface::{Capsule, Cuboid, Cylinder, Ellipsoid, Plane, Sides, Surface};
use super::view::{Local, Vec3, View, dot, sub};

/// A shape in the coordinates of its geom.
pub(super) enum Shape<'a> {
    Plane(Plane),
    Ellipsoid(Ellipsoid),
    Capsule(Capsule),
    Cylinder(Cylinder),
    Cuboid(Cuboid),
    Mesh(&'a Mesh),
}

/// Opacity from which a geom hides what is behind it, as in MuJoCo's renderer.
const SOLID: f32 = 0.995;

/// Whether a geom hides what is behind it (a plane: from its front).
pub(super) fn is_solid(geom: &MjvGeom) -> bool {
    geom.rgba[3] >= SOLID
}

/// Whether a geom is a plane that turns its back on the eye.
pub(super) fn is_plane_from_behind(geom: &MjvGeom, eye: Vec3) -> bool {
    let m = &geom.mat;
    geom.type_ == MjtGeom::mjGEOM_PLANE as i32 && dot(sub(eye, geom.pos), [m[2], m[5], m[8]]) < 0.0
}

impl<'a> Shape<'a> {
    /// The shape of `geom`, if it is one of those that are drawn.
    pub(super) fn of(geom: &MjvGeom, meshes: &'a [Mesh]) -> Option<Shape<'a>> {
        let [a, b, c] = geom.size;
        let is = |kind: MjtGeom| geom.type_ == kind as i32;
        Some(if is(MjtGeom::mjGEOM_PLANE) {
            Shape::Plane(Plane {
                half: [a, b],
                sides: Sides::Front,
            })
        } else if is(MjtGeom::mjGEOM_SPHERE) || is(MjtGeom::mjGEOM_ELLIPSOID) {
            Shape::Ellipsoid(Ellipsoid([a, b, c]))
        } else if is(MjtGeom::mjGEOM_CAPSULE) {
            Shape::Capsule(Capsule(a, c))
        } else if is(MjtGeom::mjGEOM_CYLINDER) {
            Shape::Cylinder(Cylinder(a, c))
        } else if is(MjtGeom::mjGEOM_BOX) {
            Shape::Cuboid(Cuboid([a, b, c]))
        } else if is(MjtGeom::mjGEOM_MESH) || is(MjtGeom::mjGEOM_SDF) {
            // A scene numbers meshes in twos: the mesh itself, then its convex hull.
            Shape::Mesh(meshes.get(usize::try_from(geom.dataid / 2).ok()?)?)
        } else {
            return None;
        })
    }

    /// The same, seen from both sides if it is a plane.
    pub(super) fn seen_from_both_sides(self) -> Shape<'a> {
        match self {
            Shape::Plane(Plane { half, .. }) => Shape::Plane(Plane {
                half,
                sides: Sides::Both,
            }),
            other => other,
        }
    }

    /// Centre and half sizes of the box that holds the shape; none for a plane, which may have no end.
    fn bounds(&self) -> Option<(Vec3, Vec3)> {
        let around_origin = |half: Vec3| Some(([0.0; 3], half));
        match self {
            Shape::Plane(_) => None,
            Shape::Ellipsoid(shape) => around_origin(shape.half_size()),
            Shape::Capsule(shape) => around_origin(shape.half_size()),
            Shape::Cylinder(shape) => around_origin(shape.half_size()),
            Shape::Cuboid(shape) => around_origin(shape.half_size()),
            Shape::Mesh(mesh) => {
                let [low, high] = mesh.bounds;
                let centre = std::array::from_fn(|i| 0.5 * (low[i] + high[i]));
                Some((centre, std::array::from_fn(|i| 0.5 * (high[i] - low[i]))))
            }
        }
    }

    /// Sets `footprint` to the samples that the shape can touch; false if there are none.
    pub(super) fn project(&self, view: &View, local: &Local, footprint: &mut Footprint) -> bool {
        match self.bounds() {
            Some((centre, half)) => {
                footprint.project(view, &local.view_from_local(view), centre, half)
            }
            None => footprint.everything(view),
        }
        !footprint.spans.is_empty()
    }

    /// Paints the shape.
    pub(super) fn paint(
        &self,
        frame: &mut Frame,
        footprint: &Footprint,
        subject: &Subject<'_>,
        scratch: &mut Scratch,
    ) {
        let batch = &mut scratch.batch;
        match self {
            Shape::Plane(shape) => paint::cast(frame, footprint, shape, subject, batch),
            Shape::Ellipsoid(shape) => paint::cast(frame, footprint, shape, subject, batch),
            Shape::Capsule(shape) => paint::cast(frame, footprint, shape, subject, batch),
            Shape::Cylinder(shape) => paint::cast(frame, footprint, shape, subject, batch),
            Shape::Cuboid(shape) => paint::cast(frame, footprint, shape, subject, batch),
            Shape::Mesh(mesh) => {
                let place = (subject.view, subject.local);
                let what = Fill::Surface(subject.paint.object);
                // A transparent mesh needs depth to hide its own far parts, but leaves none behind.
                let transparent = subject.paint.alpha < 1.0;
                if transparent {
                    scratch.depth.clone_from(&frame.depth);
                    scratch.object.clone_from(&frame.object);
                }
                paint::fill(frame, mesh, place, what, &mut scratch.vertices);
                paint::light_filled(frame, footprint, subject, batch);
                if transparent {
                    std::mem::swap(&mut frame.depth, &mut scratch.depth);
                    std::mem::swap(&mut frame.object, &mut scratch.object);
                }
            }
        }
    }

    /// Writes the depth of the shape and, if `what` says so, whose it is.
    pub(super) fn paint_depth(
        &self,
        frame: &mut Frame,
        footprint: &Footprint,
        place: (&View, &Local),
        what: Fill,
        vertices: &mut Vec<Projected>,
    ) {
        match self {
            Shape::Plane(shape) => paint::cast_depth(frame, footprint, shape, place, what),
            Shape::Ellipsoid(shape) => paint::cast_depth(frame, footprint, shape, place, what),
            Shape::Capsule(shape) => paint::cast_depth(frame, footprint, shape, place, what),
            Shape::Cylinder(shape) => paint::cast_depth(frame, footprint, shape, place, what),
            Shape::Cuboid(shape) => paint::cast_depth(frame, footprint, shape, place, what),
            Shape::Mesh(mesh) => paint::fill(frame, mesh, place, what, vertices),
        }
    }
}

/// Space that painting a shape needs, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) batch: Batch,
    pub(super) vertices: Vec<Projected>,
    depth: Vec<f32>,
    object: Vec<u32>,
}
