//! Fewer triangles for the same shape: edges are collapsed onto one of their ends, cheapest first (Garland and Heckbert,
//! "Surface simplification using quadric error metrics", 1997). Only given vertices are used, so positions need not change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use nalgebra::{Matrix4, Vector3, Vector4};

/// How much a border of the mesh resists, relative to its faces.
const BORDER_WEIGHT: f64 = 4.0;

/// A collapse must not turn a face further than this, as a cosine.
const LEAST_TURN: f64 = 0.2;

/// At most about `target` of the triangles of a mesh, fewer than given, over the same vertices. Vertices at the same place
/// count as one. Triangles without area are left out. Small separate parts may vanish. The same mesh gives the same
/// triangles.
pub(super) fn simplify(positions: &[[f32; 3]], faces: &[[u32; 3]], target: usize) -> Vec<[u32; 3]> {
    let mut mesh = Mesh::new(positions, faces);
    mesh.collapse_until(target, LEAST_TURN);
    if mesh.alive > target {
        // Better a fold somewhere than a picture that takes ten times as long.
        mesh.collapse_until(target, f64::NEG_INFINITY);
    }
    mesh.faces.into_iter().flatten().collect()
}

/// A candidate: the cost as ordered bits, then the vertices, then their versions when it was weighed.
type Candidate = Reverse<(u64, u32, u32, u32, u32)>;

struct Mesh {
    points: Vec<Vector3<f64>>,
    /// None: collapsed.
    faces: Vec<Option<[u32; 3]>>,
    alive: usize,
    /// Faces at each vertex, some of them gone.
    around: Vec<Vec<u32>>,
    quadrics: Vec<Matrix4<f64>>,
    versions: Vec<u32>,
}

impl Mesh {
    fn new(positions: &[[f32; 3]], faces: &[[u32; 3]]) -> Self {
        let mut first = HashMap::new();
        let same: Vec<u32> = positions
            .iter()
            .zip(0..)
            .map(|(p, index)| *first.entry(p.map(|x| (x + 0.0).to_bits())).or_insert(index))
            .collect();
        let points: Vec<Vector3<f64>> = positions
            .iter()
            .map(|p| Vector3::from(p.map(f64::from)))
            .collect();
        let faces: Vec<[u32; 3]> = faces
            .iter()
            .map(|face| face.map(|vertex| same[vertex as usize]))
            .filter(|&face| across(&points, face).norm_squared() > 0.0)
            .collect();
        let mut mesh = Self {
            around: vec![Vec::new(); points.len()],
            quadrics: vec![Matrix4::zeros(); points.len()],
            versions: vec![0; points.len()],
            alive: faces.len(),
            faces: faces.iter().copied().map(Some).collect(),
            points,
        };
        // In order: sums of floats depend on it.
        let mut edges: BTreeMap<(u32, u32), (u32, u32)> = BTreeMap::new();
        for (face, index) in faces.iter().zip(0..) {
            let normal = across(&mesh.points, *face);
            let quadric = plane(
                &normal.normalize(),
                &mesh.points[face[0] as usize],
                normal.norm(),
            );
            for &vertex in face {
                mesh.around[vertex as usize].push(index);
                mesh.quadrics[vertex as usize] += quadric;
            }
            for (a, b) in sides(*face) {
                edges.entry((a.min(b), a.max(b))).or_insert((0, index)).0 += 1;
            }
        }
        for ((a, b), (count, face)) in edges {
            if count == 1 {
                let (from, to) = (mesh.points[a as usize], mesh.points[b as usize]);
                let along = to - from;
                let outwards = along.cross(&across(&mesh.points, faces[face as usize]));
                let Some(outwards) = outwards.try_normalize(0.0) else {
                    continue;
                };
                let border = plane(&outwards, &from, BORDER_WEIGHT * along.norm_squared());
                mesh.quadrics[a as usize] += border;
                mesh.quadrics[b as usize] += border;
            }
        }
        mesh
    }

    fn collapse_until(&mut self, target: usize, least_turn: f64) {
        let mut queue = BinaryHeap::new();
        for face in 0..self.faces.len() {
            if let Some(face) = self.faces[face] {
                for (a, b) in sides(face) {
                    self.weigh(a, b, &mut queue);
                    self.weigh(b, a, &mut queue);
                }
            }
        }
        while self.alive > target {
            let Some(Reverse((_, from, to, from_version, to_version))) = queue.pop() else {
                return;
            };
            let current = self.versions[from as usize] == from_version
                && self.versions[to as usize] == to_version;
            if current && !self.turns(from, to, least_turn) {
                self.collapse(from, to, &mut queue);
            }
        }
    }

    fn weigh(&self, from: u32, to: u32, queue: &mut BinaryHeap<Candidate>) {
        let point = self.points[to as usize];
        let point = Vector4::new(point.x, point.y, point.z, 1.0);
        let quadric = self.quadrics[from as usize] + self.quadrics[to as usize];
        // Never below zero but for rounding, so that the bits are in the order of the numbers.
        let cost = point.dot(&(quadric * point)).max(0.0);
        let versions = (self.versions[from as usize], self.versions[to as usize]);
        queue.push(Reverse((cost.to_bits(), from, to, versions.0, versions.1)));
    }

    /// Whether a face would turn over, or nearly so, when `from` goes to `to`.
    fn turns(&self, from: u32, to: u32, least_turn: f64) -> bool {
        let moved = |vertex: u32| if vertex == from { to } else { vertex };
        self.around[from as usize]
            .iter()
            .filter_map(|&face| self.faces[face as usize])
            .filter(|face| !face.contains(&to))
            .any(|face| {
                let before = across(&self.points, face);
                let after = across(&self.points, face.map(moved));
                before.dot(&after) <= least_turn * before.norm() * after.norm()
            })
    }

    fn collapse(&mut self, from: u32, to: u32, queue: &mut BinaryHeap<Candidate>) {
        for index in std::mem::take(&mut self.around[from as usize]) {
            let Some(face) = self.faces[index as usize] else {
                continue;
            };
            if face.contains(&to) {
                self.faces[index as usize] = None;
                self.alive -= 1;
            } else {
                let moved = face.map(|vertex| if vertex == from { to } else { vertex });
                self.faces[index as usize] = Some(moved);
                self.around[to as usize].push(index);
            }
        }
        let quadric = self.quadrics[from as usize];
        self.quadrics[to as usize] += quadric;
        // What was weighed with either is no longer true.
        self.versions[from as usize] += 1;
        self.versions[to as usize] += 1;
        let faces = &self.faces;
        self.around[to as usize].retain(|&face| faces[face as usize].is_some());
        let mut neighbours: Vec<u32> = self.around[to as usize]
            .iter()
            .filter_map(|&face| self.faces[face as usize])
            .flatten()
            .filter(|&vertex| vertex != to)
            .collect();
        neighbours.sort_unstable();
        neighbours.dedup();
        for vertex in neighbours {
            self.weigh(vertex, to, queue);
            self.weigh(to, vertex, queue);
        }
    }
}

/// The normal of a face, as long as twice its area.
fn across(points: &[Vector3<f64>], face: [u32; 3]) -> Vector3<f64> {
    let [a, b, c] = face.map(|vertex| points[vertex as usize]);
    (b - a).cross(&(c - a))
}

fn sides([a, b, c]: [u32; 3]) -> [(u32, u32); 3] {
    [(a, b), (b, c), (c, a)]
}

/// The squared distance from a plane, times `weight`, as a quadric.
fn plane(normal: &Vector3<f64>, point: &Vector3<f64>, weight: f64) -> Matrix4<f64> {
    let plane = Vector4::new(normal.x, normal.y, normal.z, -normal.dot(point));
    plane * plane.transpose() * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sphere of unit radius as `n` rings of `2 n` vertices, with corners repeated as an STL file has them.
    fn sphere(n: u32) -> (Vec<[f32; 3]>, Vec<[u32; 3]>) {
        let at = |ring: u32, step: u32| {
            let (theta, phi) = (
                std::f32::consts::PI * ring as f32 / n as f32,
                std::f32::consts::PI * (step % (2 * n)) as f32 / n as f32,
            );
            [
                theta.sin() * phi.cos(),
                theta.sin() * phi.sin(),
                theta.cos(),
            ]
        };
        let (mut positions, mut faces) = (Vec::new(), Vec::new());
        for (ring, step) in (0..n).flat_map(|ring| (0..2 * n).map(move |step| (ring, step))) {
            let [a, b, c, d] =
                [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(i, k)| at(ring + i, step + k));
            for corners in [[a, b, c], [a, c, d]] {
                let first = positions.len() as u32;
                positions.extend(corners);
                faces.push([first, first + 1, first + 2]);
            }
        }
        (positions, faces)
    }

    #[test]
    fn a_sphere_of_few_triangles_is_still_a_sphere() {
        let (positions, faces) = sphere(40);
        let few = simplify(&positions, &faces, 300);
        assert!(few.len() <= 300 && few.len() > 250, "{}", few.len());
        let points: Vec<_> = positions
            .iter()
            .map(|p| Vector3::from(p.map(f64::from)))
            .collect();
        let mut volume = 0.0;
        for &face in &few {
            let [a, b, c] = face.map(|v| points[v as usize]);
            volume += a.dot(&b.cross(&c)) / 6.0;
            // The middle of every face lies near the surface, and the face looks outwards.
            assert!(((a + b + c) / 3.0).norm() > 0.9);
            assert!(across(&points, face).dot(&a) > 0.0);
        }
        let whole = 4.0 / 3.0 * std::f64::consts::PI;
        assert!((volume / whole - 1.0).abs() < 0.06, "{volume}");
    }

    #[test]
    fn a_flat_square_keeps_its_border() {
        let n = 20_u32;
        let positions: Vec<[f32; 3]> = (0..=n)
            .flat_map(|y| (0..=n).map(move |x| [x as f32, y as f32, 0.0]))
            .collect();
        let corner = |x: u32, y: u32| y * (n + 1) + x;
        let faces: Vec<[u32; 3]> = (0..n)
            .flat_map(|y| (0..n).map(move |x| (x, y)))
            .flat_map(|(x, y)| {
                let [a, b, c, d] = [
                    corner(x, y),
                    corner(x + 1, y),
                    corner(x + 1, y + 1),
                    corner(x, y + 1),
                ];
                [[a, b, c], [a, c, d]]
            })
            .collect();
        let few = simplify(&positions, &faces, 10);
        assert!(few.len() <= 10);
        let points: Vec<_> = positions
            .iter()
            .map(|p| Vector3::from(p.map(f64::from)))
            .collect();
        let area: f64 = few.iter().map(|&face| across(&points, face).z / 2.0).sum();
        assert!((area - f64::from(n * n)).abs() < 1e-6, "{area}");
    }

    #[test]
    fn the_same_mesh_gives_the_same_triangles_and_small_meshes_stay() {
        let (positions, faces) = sphere(20);
        assert_eq!(
            simplify(&positions, &faces, 100),
            simplify(&positions, &faces, 100)
        );
        let tetrahedron = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]];
        let corners = [[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        assert_eq!(simplify(&corners, &tetrahedron, 500), tetrahedron);
        assert!(simplify(&[], &[], 500).is_empty());
    }
}
