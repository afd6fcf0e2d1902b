//! The shape of a geom: which kernel draws it and which part of the raster it can touch.

use mujoco_rs::wrappers::mj_model::MjtGeom;
use mujoco_rs::wrappers::mj_visualization::MjvGeom;

use super::footprint::Footprint;
use super::frame::Frame;
use super::mesh::{Fill, Mesh, Vertex};
use super::paint::{self, Subject};
use super::surface::{Capsule, Cuboid, Cylinder, Ellipsoid, Plane, Surface};
use super::view::{Local, Vec3, View};

/// A shape in the coordinates of its geom.
pub(super) enum Shape<'a> {
    Plane(Plane),
    Ellipsoid(Ellipsoid),
    Capsule(Capsule),
    Cylinder(Cylinder),
    Cuboid(Cuboid),
    Mesh(&'a Mesh),
}

impl<'a> Shape<'a> {
    /// The shape of `geom`, if it is one of those that are drawn.
    pub(super) fn of(geom: &MjvGeom, meshes: &'a [Mesh]) -> Option<Shape<'a>> {
        let [a, b, c] = geom.size;
        let is = |kind: MjtGeom| geom.type_ == kind as i32;
        Some(if is(MjtGeom::mjGEOM_PLANE) {
            Shape::Plane(Plane(a, b))
        } else if is(MjtGeom::mjGEOM_SPHERE) || is(MjtGeom::mjGEOM_ELLIPSOID) {
            Shape::Ellipsoid(Ellipsoid([a, b, c]))
        } else if is(MjtGeom::mjGEOM_CAPSULE) {
            Shape::Capsule(Capsule(a, c))
        } else if is(MjtGeom::mjGEOM_CYLINDER) {
            Shape::Cylinder(Cylinder(a, c))
        } else if is(MjtGeom::mjGEOM_BOX) {
            Shape::Cuboid(Cuboid([a, b, c]))
        } else if is(MjtGeom::mjGEOM_MESH) {
            // A scene numbers meshes in twos: the mesh itself, then its convex hull.
            Shape::Mesh(meshes.get(usize::try_from(geom.dataid / 2).ok()?)?)
        } else {
            return None;
        })
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
        vertices: &mut Vec<Vertex>,
    ) {
        match self {
            Shape::Plane(shape) => paint::cast(frame, footprint, shape, subject),
            Shape::Ellipsoid(shape) => paint::cast(frame, footprint, shape, subject),
            Shape::Capsule(shape) => paint::cast(frame, footprint, shape, subject),
            Shape::Cylinder(shape) => paint::cast(frame, footprint, shape, subject),
            Shape::Cuboid(shape) => paint::cast(frame, footprint, shape, subject),
            Shape::Mesh(mesh) => {
                let what = Fill::Surface(subject.paint.object);
                // A transparent mesh needs depth to hide its own far parts, but leaves none behind.
                let kept = (subject.paint.alpha < 1.0)
                    .then(|| (frame.depth.clone(), frame.object.clone()));
                paint::fill(frame, mesh, subject.view, subject.local, what, vertices);
                paint::light_filled(frame, footprint, subject);
                if let Some((depth, object)) = kept {
                    (frame.depth, frame.object) = (depth, object);
                }
            }
        }
    }

    /// Writes the depth of the shape alone.
    pub(super) fn paint_depth(
        &self,
        frame: &mut Frame,
        footprint: &Footprint,
        (view, local): (&View, &Local),
        vertices: &mut Vec<Vertex>,
    ) {
        match self {
            Shape::Plane(shape) => paint::cast_depth(frame, footprint, shape, view, local),
            Shape::Ellipsoid(shape) => paint::cast_depth(frame, footprint, shape, view, local),
            Shape::Capsule(shape) => paint::cast_depth(frame, footprint, shape, view, local),
            Shape::Cylinder(shape) => paint::cast_depth(frame, footprint, shape, view, local),
            Shape::Cuboid(shape) => paint::cast_depth(frame, footprint, shape, view, local),
            Shape::Mesh(mesh) => paint::fill(frame, mesh, view, local, Fill::Depth, vertices),
        }
    }
}
