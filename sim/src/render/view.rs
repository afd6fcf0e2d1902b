//! Where a camera is and how it maps a point to a pixel; the pose of a geom as seen from there.

use mujoco_rs::wrappers::mj_visualization::{MjvGLCamera, MjvGeom};

/// A three-vector.
pub(super) type Vec3 = [f32; 3];

pub(super) fn sub(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn dot(a: Vec3, b: Vec3) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

pub(super) fn unit(a: Vec3) -> Vec3 {
    let length = dot(a, a).sqrt().max(1e-20);
    a.map(|x| x / length)
}

/// A pinhole camera over a raster of `width` x `height` samples.
///
/// The ray through the raster point `(x, y)` (sample centres at half numbers, y downwards) is
/// `forward + (left + x * step_x) * right + (top - y * step_y) * up`, so that the ray parameter is the depth along the
/// optical axis in metres.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) eye: Vec3,
    pub(super) forward: Vec3,
    pub(super) right: Vec3,
    pub(super) up: Vec3,
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) step_x: f32,
    pub(super) step_y: f32,
    pub(super) near: f32,
    pub(super) far: f32,
    pub(super) width: usize,
    pub(super) height: usize,
    /// Samples across a pixel. Textures are as sharp as pixels are, not samples.
    pub(super) samples: f32,
    /// In a mirror: only what is in front of it counts, and triangles turn the other way round.
    pub(super) mirror: Option<Mirror>,
}

/// A flat mirror in the world: the points with `normal . p = offset`, seen from the side of its unit normal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mirror {
    pub(super) normal: Vec3,
    pub(super) offset: f32,
}

impl Mirror {
    /// Distance of a world point from the mirror, positive in front.
    pub(super) fn distance(&self, p: Vec3) -> f32 {
        dot(self.normal, p) - self.offset
    }

    fn direction(&self, v: Vec3) -> Vec3 {
        let twice = 2.0 * dot(self.normal, v);
        std::array::from_fn(|i| v[i] - twice * self.normal[i])
    }
}

impl View {
    /// The view of an OpenGL camera of MuJoCo. A frustum width of zero means square pixels, as in MuJoCo's own renderer.
    pub(super) fn new(camera: &MjvGLCamera, width: usize, height: usize) -> View {
        let near = camera.frustum_near;
        let tall = camera.frustum_top - camera.frustum_bottom;
        let half_width = if camera.frustum_width > 0.0 {
            camera.frustum_width
        } else {
            0.5 * tall * width as f32 / height as f32
        };
        let forward = unit(camera.forward);
        let right = unit(cross(forward, camera.up));
        View {
            eye: camera.pos,
            forward,
            right,
            up: cross(right, forward),
            left: (camera.frustum_center - half_width) / near,
            top: camera.frustum_top / near,
            step_x: 2.0 * half_width / near / width as f32,
            step_y: tall / near / height as f32,
            near,
            far: camera.frustum_far,
            width,
            height,
            samples: 1.0,
            mirror: None,
        }
    }

    /// A square view of `side` samples from `eye` along the last of `axes` (right, up, forward), with `half` the tangent of its half
    /// angle.
    pub(super) fn square(
        eye: Vec3,
        [right, up, forward]: [Vec3; 3],
        half: f32,
        side: usize,
    ) -> View {
        let step = 2.0 * half / side as f32;
        View {
            eye,
            forward,
            right,
            up,
            left: -half,
            top: half,
            step_x: step,
            step_y: step,
            near: 1e-3,
            far: f32::MAX,
            width: side,
            height: side,
            samples: 1.0,
            mirror: None,
        }
    }

    /// The view from behind a mirror that shows on the same samples what this view sees in it.
    pub(super) fn mirrored(&self, mirror: Mirror) -> View {
        let twice = 2.0 * mirror.distance(self.eye);
        View {
            eye: std::array::from_fn(|i| self.eye[i] - twice * mirror.normal[i]),
            forward: mirror.direction(self.forward),
            right: mirror.direction(self.right),
            up: mirror.direction(self.up),
            mirror: Some(mirror),
            ..self.clone()
        }
    }

    /// Direction, not normalised, of the ray through the raster point `(x, y)`.
    pub(super) fn ray(&self, x: f32, y: f32) -> Vec3 {
        let (a, b) = (self.left + x * self.step_x, self.top - y * self.step_y);
        std::array::from_fn(|i| self.forward[i] + a * self.right[i] + b * self.up[i])
    }

    /// Raster position of a point in view coordinates (right, up, forward) in front of the camera.
    pub(super) fn raster(&self, p: Vec3) -> [f32; 2] {
        let inverse = 1.0 / p[2];
        [
            (p[0] * inverse - self.left) / self.step_x,
            (self.top - p[1] * inverse) / self.step_y,
        ]
    }
}

/// The frame of a geom seen from a view: everything a kernel needs to work in the geom's own coordinates.
#[derive(Clone, Debug)]
pub(super) struct Local {
    /// World directions of the geom's axes.
    pub(super) axes: [Vec3; 3],
    /// Geom origin in the world.
    pub(super) origin: Vec3,
    /// The eye in geom coordinates.
    pub(super) eye: Vec3,
    /// Ray of raster point (0, 0) in geom coordinates.
    pub(super) ray: Vec3,
    /// Change of that ray for one sample to the right.
    pub(super) ray_x: Vec3,
    /// Change of that ray for one sample down.
    pub(super) ray_y: Vec3,
}

impl Local {
    pub(super) fn new(geom: &MjvGeom, view: &View) -> Local {
        let m = &geom.mat;
        let axes = [[m[0], m[3], m[6]], [m[1], m[4], m[7]], [m[2], m[5], m[8]]];
        let from_world = |v: Vec3| axes.map(|axis| dot(axis, v));
        Local {
            axes,
            origin: geom.pos,
            eye: from_world(sub(view.eye, geom.pos)),
            ray: from_world(view.ray(0.0, 0.0)),
            ray_x: from_world(view.right.map(|x| x * view.step_x)),
            ray_y: from_world(view.up.map(|x| -x * view.step_y)),
        }
    }

    /// A world direction in geom coordinates.
    pub(super) fn direction(&self, world: Vec3) -> Vec3 {
        self.axes.map(|axis| dot(axis, world))
    }

    /// A mirror in geom coordinates: the normal and the offset of the points `normal . p + offset = distance`.
    pub(super) fn mirror(&self, mirror: &Mirror) -> (Vec3, f32) {
        (self.direction(mirror.normal), mirror.distance(self.origin))
    }

    /// A world point in geom coordinates.
    pub(super) fn point(&self, world: Vec3) -> Vec3 {
        self.direction(sub(world, self.origin))
    }

    /// The linear map and offset that take geom coordinates to view coordinates (right, up, forward).
    pub(super) fn view_from_local(&self, view: &View) -> ([Vec3; 3], Vec3) {
        let offset = sub(self.origin, view.eye);
        let rows = [view.right, view.up, view.forward];
        (
            rows.map(|row| self.axes.map(|axis| dot(row, axis))),
            rows.map(|row| dot(row, offset)),
        )
    }
}
