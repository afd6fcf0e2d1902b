//! Fewer triangles in the pictures. The compiled model keeps every vertex, hull and inertia; only the lists of the triangles
//! that are drawn become shorter, so the physics is bit for bit that of the original.

use std::collections::HashMap;

use mujoco_rs::prelude::*;
use rayon::prelude::*;

use super::simplify::simplify;

/// Triangles of one mesh in a picture, about.
pub(crate) const FACES: usize = 500;

/// The triangles of one mesh: vertices, normals, texture coordinates, all counted from the mesh's first.
#[derive(Default)]
struct Triangles {
    vertices: Vec<[i32; 3]>,
    normals: Vec<[i32; 3]>,
    textures: Vec<[i32; 3]>,
}

/// Shortens the triangle lists of all meshes to about `faces` each. Does nothing to meshes whose triangles take part in the
/// physics: those of signed distance fields, and all where a sensor looks along a ray.
pub(crate) fn lighten(model: &mut MjModel, faces: usize) {
    if sees_triangles(model) {
        return;
    }
    let lists: Vec<(usize, Triangles)> = (0..model.nmesh() as usize)
        .into_par_iter()
        .filter(|&mesh| model.mesh_facenum()[mesh] as usize > faces)
        .filter(|&mesh| model.mesh_octnum()[mesh] == 0)
        .map(|mesh| (mesh, fewer(model, mesh, faces)))
        .filter(|(_, list)| !list.vertices.is_empty())
        .collect();
    for (mesh, list) in lists {
        let first = model.mesh_faceadr()[mesh] as usize;
        let count = list.vertices.len();
        // SAFETY: each list is shorter than the one whose place it takes, and its numbers come from that one, so everything
        // still points into the mesh.
        unsafe {
            model.mesh_face_mut()[first..first + count].copy_from_slice(&list.vertices);
            model.mesh_facenormal_mut()[first..first + count].copy_from_slice(&list.normals);
            model.mesh_facetexcoord_mut()[first..first + count].copy_from_slice(&list.textures);
            model.mesh_facenum_mut()[mesh] = count as i32;
        }
    }
}

fn sees_triangles(model: &MjModel) -> bool {
    model.sensor_type().iter().any(|kind| {
        matches!(
            kind,
            MjtSensor::mjSENS_RANGEFINDER | MjtSensor::mjSENS_TACTILE
        )
    })
}

fn fewer(model: &MjModel, mesh: usize, target: usize) -> Triangles {
    let first = model.mesh_vertadr()[mesh] as usize;
    let positions = &model.mesh_vert()[first..first + model.mesh_vertnum()[mesh] as usize];
    let first = model.mesh_faceadr()[mesh] as usize;
    let range = first..first + model.mesh_facenum()[mesh] as usize;
    let faces = &model.mesh_face()[range.clone()];
    let normals = &model.mesh_facenormal()[range.clone()];
    let textures = &model.mesh_facetexcoord()[range];
    let directions = &model.mesh_normal()[model.mesh_normaladr()[mesh] as usize..];

    // The normals and texture coordinates that each place of the mesh has had.
    let place = |vertex: i32| positions[vertex as usize].map(|x| (x + 0.0).to_bits());
    let mut had: HashMap<[u32; 3], Vec<(i32, i32)>> = HashMap::new();
    for ((face, normal), texture) in faces.iter().zip(normals).zip(textures) {
        for i in 0..3 {
            had.entry(place(face[i]))
                .or_default()
                .push((normal[i], texture[i]));
        }
    }
    let unsigned: Vec<[u32; 3]> = faces
        .iter()
        .map(|face| face.map(|vertex| vertex as u32))
        .collect();
    let mut list = Triangles::default();
    for face in simplify(positions, &unsigned, target) {
        let corners = face.map(|vertex| vertex as i32);
        let [a, b, c] = corners.map(|vertex| nalgebra::Vector3::from(positions[vertex as usize]));
        let flat = (b - a).cross(&(c - a));
        // Of the normals at a corner, the one of the side that this face is on.
        let best = corners.map(|vertex| {
            let along =
                |normal: i32| nalgebra::Vector3::from(directions[normal as usize]).dot(&flat);
            let all = had.get(&place(vertex)).map_or(&[][..], Vec::as_slice);
            all.iter()
                .copied()
                .max_by(|(one, _), (other, _)| along(*one).total_cmp(&along(*other)))
                .unwrap_or_default()
        });
        list.vertices.push(corners);
        list.normals.push(best.map(|(normal, _)| normal));
        list.textures.push(best.map(|(_, texture)| texture));
    }
    list
}
