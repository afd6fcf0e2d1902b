//! Triangle meshes of the model, as they are drawn: positions, normals and texture coordinates with the triangles between them.

use std::collections::HashMap;

use mujoco_rs::wrappers::mj_model::MjModel;

use super::lanes::{F, LANES, three};
use super::view::{Local, Vec3, View, cross, dot, sub, unit};

/// Three numbers of vertices, or of what belongs to vertices.
pub(super) type Corners = [u32; 3];

/// A mesh. Positions, normals and texture coordinates are numbered apart, so that each position is projected once whatever
/// the edges that meet there.
#[derive(Clone, Debug, Default)]
pub(super) struct Mesh {
    /// Coordinates of the positions, one array per axis, filled up with zeros to whole groups of lanes.
    axes: [Vec<f32>; 3],
    pub(super) normals: Vec<Vec3>,
    /// Texture coordinates; empty if the mesh has none.
    pub(super) uvs: Vec<[f32; 2]>,
    pub(super) triangles: Vec<Triangle>,
    /// Smallest and largest coordinates.
    pub(super) bounds: [Vec3; 2],
    /// Texture coordinates per metre, on average over the surface.
    pub(super) uv_density: f32,
}

/// A triangle, counter-clockwise seen from outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Triangle {
    pub(super) positions: Corners,
    pub(super) normals: Corners,
    /// Zeros in a mesh without texture coordinates.
    pub(super) uvs: Corners,
}

/// A vertex normal further than this (as a cosine) from the normal of a face does not belong to it: it comes from the other side of
/// an edge. OpenGL pictures of MuJoCo draw the line in the same place, for meshes without texture coordinates.
const SHARP: f32 = 0.8;

impl Mesh {
    /// Every mesh of `model`, with the normals that MuJoCo made, and normals of the faces at sharp edges.
    pub(super) fn all(model: &MjModel) -> Vec<Mesh> {
        (0..model.nmesh() as usize)
            .map(|id| Mesh::of(model, id))
            .collect()
    }

    fn of(model: &MjModel, id: usize) -> Mesh {
        let part = |address: i32, count: i32| address as usize..(address + count) as usize;
        let vertices = &model.mesh_vert()[part(model.mesh_vertadr()[id], model.mesh_vertnum()[id])];
        let normals =
            &model.mesh_normal()[part(model.mesh_normaladr()[id], model.mesh_normalnum()[id])];
        let faces = part(model.mesh_faceadr()[id], model.mesh_facenum()[id]);
        let uv_address = model.mesh_texcoordadr()[id];
        let uvs = if uv_address >= 0 {
            &model.mesh_texcoord()[part(uv_address, model.mesh_texcoordnum()[id])]
        } else {
            &[]
        };

        let mut mesh = Mesh {
            normals: normals.to_vec(),
            uvs: uvs.to_vec(),
            ..Mesh::default()
        };
        let mut flat_normals = HashMap::new();
        let (mut surface, mut texture) = (0.0f64, 0.0f64);
        for face in faces {
            let positions = model.mesh_face()[face].map(|v| v as u32);
            let [a, b, c] = positions.map(|v| vertices[v as usize]);
            let across = cross(sub(b, a), sub(c, a));
            if dot(across, across) == 0.0 {
                continue;
            }
            let flat = unit(across);
            let mut corners = model.mesh_facenormal()[face].map(|n| n as u32);
            if uvs.is_empty() {
                for corner in &mut corners {
                    if dot(normals[*corner as usize], flat) < SHARP {
                        *corner =
                            *flat_normals
                                .entry(flat.map(f32::to_bits))
                                .or_insert_with(|| {
                                    mesh.normals.push(flat);
                                    mesh.normals.len() as u32 - 1
                                });
                    }
                }
            }
            let mut triangle = Triangle {
                positions,
                normals: corners,
                uvs: [0; 3],
            };
            if !uvs.is_empty() {
                triangle.uvs = model.mesh_facetexcoord()[face].map(|t| t as u32);
                let [a, b, c] = triangle.uvs.map(|t| uvs[t as usize]);
                let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
                texture += f64::from(area.abs());
                surface += f64::from(dot(across, across).sqrt());
            }
            mesh.triangles.push(triangle);
        }
        mesh.uv_density = (texture / surface.max(f64::MIN_POSITIVE)).sqrt() as f32;

        mesh.bounds = [[f32::INFINITY; 3], [f32::NEG_INFINITY; 3]];
        for i in 0..3 {
            mesh.axes[i] = vertices.iter().map(|v| v[i]).collect();
            for &x in &mesh.axes[i] {
                mesh.bounds[0][i] = mesh.bounds[0][i].min(x);
                mesh.bounds[1][i] = mesh.bounds[1][i].max(x);
            }
            mesh.axes[i].resize(vertices.len().next_multiple_of(LANES), 0.0);
        }
        mesh
    }

    /// The position number `index`.
    #[inline(always)]
    pub(super) fn position(&self, index: u32) -> Vec3 {
        three!(|i| self.axes[i][index as usize])
    }

    /// Projects every position into `out`.
    #[inline(always)]
    pub(super) fn project(&self, view: &View, local: &Local, out: &mut Vec<Projected>) {
        let (rows, offset) = local.view_from_local(view);
        out.clear();
        let [xs, ys, zs] = &self.axes;
        let scale = [1.0 / view.step_x, 1.0 / view.step_y];
        for ((x, y), z) in xs
            .chunks_exact(LANES)
            .zip(ys.chunks_exact(LANES))
            .zip(zs.chunks_exact(LANES))
        {
            let p = [F::load(x), F::load(y), F::load(z)];
            let q = three!(|i| super::lanes::dot1(p, rows[i]) + F::splat(offset[i]));
            let inverse = F::splat(1.0) / q[2];
            let x = (q[0] * inverse - F::splat(view.left)) * scale[0];
            let y = (F::splat(view.top) - q[1] * inverse) * scale[1];
            let (x, y, inverse, depth) = (x.array(), y.array(), inverse.array(), q[2].array());
            for i in 0..LANES {
                out.push(Projected {
                    raster: [x[i], y[i]],
                    inverse: inverse[i],
                    depth: depth[i],
                });
            }
        }
    }
}

/// Where a vertex is on the raster. Only the depth means something for one at or behind the eye.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projected {
    pub(super) raster: [f32; 2],
    /// One over the depth.
    pub(super) inverse: f32,
    pub(super) depth: f32,
}

/// A vertex that a cut may have made: position in view coordinates (right, up, forward), distance in front of a mirror, and what
/// else belongs to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vertex {
    pub(super) position: Vec3,
    pub(super) above: f32,
    pub(super) normal: Vec3,
    pub(super) uv: [f32; 2],
}

impl Vertex {
    /// The point on the way from `self` to `other` where a quantity that is `from` here and `to` there is zero.
    fn cut(&self, other: &Vertex, from: f32, to: f32) -> Vertex {
        let k = from / (from - to);
        let mix = |a: f32, b: f32| a + (b - a) * k;
        Vertex {
            position: std::array::from_fn(|i| mix(self.position[i], other.position[i])),
            above: mix(self.above, other.above),
            normal: std::array::from_fn(|i| mix(self.normal[i], other.normal[i])),
            uv: std::array::from_fn(|i| mix(self.uv[i], other.uv[i])),
        }
    }
}

/// The part of a triangle where `distance` is not negative: none, one or two triangles. The winding stays.
pub(super) fn cut(
    corners: [Vertex; 3],
    distance: impl Fn(&Vertex) -> f32,
) -> [Option<[Vertex; 3]>; 2] {
    let away = corners.map(|v| distance(&v));
    let inside = away.map(|d| d >= 0.0);
    match inside.iter().filter(|&&inside| inside).count() {
        3 => [Some(corners), None],
        0 => [None, None],
        count => {
            // Turn the triangle so that the odd corner comes first.
            let odd = inside
                .iter()
                .position(|&inside| inside == (count == 1))
                .unwrap_or(0);
            let [i, j, k] = [odd, (odd + 1) % 3, (odd + 2) % 3];
            let [a, b, c] = [corners[i], corners[j], corners[k]];
            let (ab, ac) = (a.cut(&b, away[i], away[j]), a.cut(&c, away[i], away[k]));
            if count == 1 {
                [Some([a, ab, ac]), None]
            } else {
                [Some([ab, b, c]), Some([ab, c, ac])]
            }
        }
    }
}
