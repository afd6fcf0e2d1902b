//! What a picture must show, derived from geometry rather than from earlier pictures.

use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;

use super::{CpuRenderer, Layers, Quality, RenderError, Renderer, camera_index};

mod golden;
mod layers;
mod opengl;
mod textures;

type World = MjData<Arc<MjModel>>;

/// A world whose camera `eye` sits at the origin and looks along -z, with a vertical field of view of 60 degrees.
fn world(bodies: &str) -> World {
    let xml = format!(
        "<mujoco><statistic extent='1' center='0 0 0'/><visual><map znear='0.01' zfar='50'/></visual>\
         <worldbody><light pos='0 3 3' dir='0 -1 -1'/><camera name='eye' pos='0 0 0' fovy='60'/>{bodies}</worldbody></mujoco>"
    );
    let mut world = MjData::new(Arc::new(
        MjModel::from_xml_string(&xml).expect("the test scene is valid"),
    ));
    world.forward();
    world
}

fn picture(world: &mut World, size: u32) -> (Layers, RgbImage) {
    let mut renderer =
        CpuRenderer::new(world.model(), Quality::Fast, size, size).expect("the size is valid");
    let mut image = RgbImage::new(size, size);
    renderer
        .render(world, 0, &mut image)
        .expect("the camera exists");
    (layers(&mut renderer, world, 0), image)
}

fn layers(renderer: &mut dyn Renderer, world: &mut World, camera: usize) -> Layers {
    let mut layers = Layers::default();
    renderer
        .render_layers(world, camera, &mut layers)
        .expect("the camera exists");
    layers
}

#[test]
fn a_sphere_covers_exactly_the_pixels_whose_rays_meet_it() {
    let (centre, radius, size) = ([0.3f64, -0.2, -2.0], 0.5f64, 96u32);
    let mut world = world("<geom type='sphere' pos='0.3 -0.2 -2' size='0.5'/>");
    let Layers {
        geom: segmentation,
        depth,
        ..
    } = picture(&mut world, size).0;
    let scale = (30f64).to_radians().tan() / (size as f64 / 2.0);
    let mut covered = 0;
    for y in 0..size {
        for x in 0..size {
            let d = [
                (x as f64 + 0.5 - size as f64 / 2.0) * scale,
                (size as f64 / 2.0 - y as f64 - 0.5) * scale,
                -1.0,
            ];
            let dd: f64 = d.iter().map(|v| v * v).sum();
            let b: f64 = d.iter().zip(centre).map(|(d, c)| d * c).sum();
            let c: f64 = centre.iter().map(|v| v * v).sum::<f64>() - radius * radius;
            let discriminant = b * b - dd * c;
            let index = (y * size + x) as usize;
            if discriminant.abs() < 1e-4 {
                continue;
            }
            assert_eq!(
                segmentation[index] == 0,
                discriminant > 0.0,
                "pixel {x} {y}"
            );
            if discriminant > 0.0 {
                covered += 1;
                let expected = (b - discriminant.sqrt()) / dd;
                assert!(
                    (f64::from(depth[index]) - expected).abs() < 1e-4,
                    "depth at {x} {y}"
                );
            } else {
                assert_eq!(depth[index], f32::INFINITY);
            }
        }
    }
    assert!(covered > 500);
}

#[test]
fn the_nearer_geom_wins() {
    let mut world = world(
        "<geom type='box' pos='0 0 -3' size='1 1 0.1' rgba='0 1 0 1'/><geom type='sphere' pos='0 0 -1' size='0.2' rgba='1 0 0 1'/>",
    );
    let (
        Layers {
            geom: segmentation, ..
        },
        image,
    ) = picture(&mut world, 64);
    assert_eq!(segmentation[32 * 64 + 32], 1);
    assert_eq!(segmentation[32 * 64 + 18], 0);
    assert!(image.get_pixel(32, 32)[0] > image.get_pixel(32, 32)[1]);
    assert!(image.get_pixel(18, 32)[1] > image.get_pixel(18, 32)[0]);
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    let mut world = world("<geom type='capsule' pos='0 0 -1' euler='20 30 40' size='0.1 0.3'/>");
    let (_, first) = picture(&mut world, 64);
    let (_, second) = picture(&mut world, 64);
    assert_eq!(first, second);
    assert!(first.pixels().any(|p| p.0 != [0, 0, 0]));
}

#[test]
fn wrong_sizes_and_cameras_are_errors() {
    let mut world = world("");
    assert!(matches!(
        CpuRenderer::new(world.model(), Quality::Fast, 0, 4),
        Err(RenderError::Size { .. })
    ));
    let mut renderer =
        CpuRenderer::new(world.model(), Quality::Fast, 4, 4).expect("the size is valid");
    let mut image = RgbImage::new(4, 4);
    assert!(matches!(
        renderer.render(&mut world, 7, &mut image),
        Err(RenderError::NoCamera {
            camera: 7,
            count: 1
        })
    ));
    assert!(matches!(
        camera_index(world.model(), "side"),
        Err(RenderError::NoCameraNamed { .. })
    ));
    assert_eq!(camera_index(world.model(), "eye").ok(), Some(0));
}

/// Centroid of the pixels that show geom `id`, in pixels from the top left corner, and their number.
fn centroid(segmentation: &[i32], width: usize, id: i32) -> ([f64; 2], usize) {
    let mut sum = [0.0; 2];
    let mut count = 0;
    for (index, _) in segmentation
        .iter()
        .enumerate()
        .filter(|(_, seen)| **seen == id)
    {
        sum[0] += (index % width) as f64 + 0.5;
        sum[1] += (index / width) as f64 + 0.5;
        count += 1;
    }
    (sum.map(|s| s / count as f64), count)
}

#[test]
fn a_small_sphere_appears_where_its_centre_projects() {
    let mut world = world(
        "<camera name='side' pos='1.2 -0.7 0.9' xyaxes='0.5 0.8 0 -0.4 0.25 0.85' fovy='45'/>\
         <geom size='0.02' pos='0.1 0.2 0.05'/><geom size='0.02' pos='-0.3 0.1 0.3'/><geom size='0.02' pos='0.2 -0.2 -0.1'/>",
    );
    let camera = camera_index(world.model(), "side").expect("it is in the scene");
    let (width, height) = (160u32, 120u32);
    let mut renderer =
        CpuRenderer::new(world.model(), Quality::Fast, width, height).expect("the size is valid");
    let mut image = RgbImage::new(1, 1);
    renderer
        .render(&mut world, camera, &mut image)
        .expect("the camera exists");
    assert_eq!(image.dimensions(), (width, height));
    let segmentation = layers(&mut renderer, &mut world, camera).geom;
    let focal = f64::from(height) / 2.0 / (22.5f64).to_radians().tan();
    for id in 0..3 {
        let (eye, axes, point) = (
            world.cam_xpos()[camera],
            world.cam_xmat()[camera],
            world.geom_xpos()[id],
        );
        // MuJoCo's cameras look along their own -z with y up.
        let p: [f64; 3] = std::array::from_fn(|axis| {
            (0..3)
                .map(|k| axes[3 * k + axis] * (point[k] - eye[k]))
                .sum()
        });
        let expected = [
            f64::from(width) / 2.0 + focal * p[0] / -p[2],
            f64::from(height) / 2.0 - focal * p[1] / -p[2],
        ];
        let (seen, count) = centroid(&segmentation, width as usize, id as i32);
        assert!(count > 5, "sphere {id} covers {count} pixels");
        for axis in 0..2 {
            assert!(
                (seen[axis] - expected[axis]).abs() < 0.5,
                "sphere {id}: {seen:?}, expected {expected:?}"
            );
        }
    }
}

/// A cube as a mesh and as a primitive, each in a scene of its own.
fn cube_twice(pose: &str) -> [World; 2] {
    let scene = |geom: &str| {
        let xml = format!(
            "<mujoco><statistic extent='1' center='0 0 0'/><visual><map znear='0.05' zfar='50'/></visual>\
             <asset><mesh name='cube' vertex='-.2 -.2 -.2 .2 -.2 -.2 -.2 .2 -.2 .2 .2 -.2 -.2 -.2 .2 .2 -.2 .2 -.2 .2 .2 .2 .2 .2'/></asset>\
             <worldbody><camera name='eye' fovy='60'/><geom {geom} {pose}/></worldbody></mujoco>"
        );
        let mut world = MjData::new(Arc::new(
            MjModel::from_xml_string(&xml).expect("the test scene is valid"),
        ));
        world.forward();
        world
    };
    [
        scene("type='mesh' mesh='cube'"),
        scene("type='box' size='.2 .2 .2'"),
    ]
}

#[test]
fn a_cube_of_triangles_covers_the_same_pixels_at_the_same_depth_as_a_box() {
    // In full view, cut by the border, cut by the near plane, and around the camera.
    for pose in [
        "pos='0.1 0 -1' euler='20 30 40'",
        "pos='0.5 0.4 -0.8' euler='50 10 0'",
        "pos='0.1 -0.1 -0.3' euler='10 20 30'",
        "pos='0.15 0.1 -0.15' euler='40 60 10'",
        "pos='0 0 0' euler='10 20 30'",
        "pos='0 0 1'",
    ] {
        let [mut mesh, mut cuboid] = cube_twice(pose);
        let (seen, expected) = (picture(&mut mesh, 80).0, picture(&mut cuboid, 80).0);
        let differ = seen
            .geom
            .iter()
            .zip(&expected.geom)
            .filter(|(a, b)| a != b)
            .count();
        assert!(differ <= 4, "{pose}: {differ} pixels differ");
        for (a, b) in seen.depth.iter().zip(&expected.depth) {
            assert!(
                !(a.is_finite() && b.is_finite()) || (a - b).abs() < 2e-3 * b,
                "{pose}: depth {a} and {b}"
            );
        }
    }
}

#[test]
fn geoms_across_the_near_plane_show_only_what_lies_beyond_it() {
    for geom in ["capsule", "cylinder", "ellipsoid", "box"] {
        let mut world = world(&format!(
            "<geom type='{geom}' size='0.05 0.3 0.2' pos='0.02 0.03 -0.1' euler='50 20 10'/>"
        ));
        let near = 0.01;
        let depth = picture(&mut world, 64).0.depth;
        assert!(depth.iter().all(|&t| t >= near), "{geom}");
        assert!(
            depth.iter().all(|&t| t < 0.6 || t == f32::INFINITY),
            "{geom}"
        );
    }
}

#[test]
fn a_transparent_geom_lets_what_is_behind_it_shine_through() {
    let mut world = world(
        "<geom type='box' pos='0 0 -2' size='2 2 0.1' rgba='0 1 0 1'/>\
         <geom type='box' pos='0 0 -1' size='0.2 0.2 0.1' rgba='1 0 0 0.5'/>",
    );
    let (seen, image) = picture(&mut world, 64);
    let middle = image.get_pixel(32, 32);
    assert!(middle[0] > 40 && middle[1] > 20, "{middle:?}");
    assert_eq!(
        seen.geom[32 * 64 + 32],
        0,
        "transparent geoms do not hide others"
    );
}

#[test]
fn high_quality_smooths_edges_and_keeps_the_rest() {
    let mut world =
        world("<geom type='box' pos='0 0 -2' size='0.5 0.5 0.1' euler='0 0 30' rgba='1 1 1 1'/>");
    let (layers_fast, fast) = picture(&mut world, 64);
    let mut renderer =
        CpuRenderer::new(world.model(), Quality::High, 64, 64).expect("the size is valid");
    let mut high = RgbImage::new(64, 64);
    renderer
        .render(&mut world, 0, &mut high)
        .expect("the camera exists");
    let levels = |image: &RgbImage| {
        image
            .pixels()
            .map(|p| p[0])
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    assert!(levels(&high) > levels(&fast));
    assert_eq!(layers(&mut renderer, &mut world, 0), layers_fast);
    let mean = |image: &RgbImage| image.pixels().map(|p| f64::from(p[0])).sum::<f64>() / 4096.0;
    assert!((mean(&high) - mean(&fast)).abs() < 0.5);
}

#[test]
fn a_world_of_another_model_is_refused() {
    let mut one = world("<geom size='0.1' pos='0 0 -1'/>");
    let mut other = world("<geom size='0.1' pos='0 0 -1'/><geom size='0.1' pos='0 0 -2'/>");
    let mut renderer =
        CpuRenderer::new(one.model(), Quality::Fast, 8, 8).expect("the size is valid");
    let mut image = RgbImage::new(8, 8);
    assert!(matches!(
        renderer.render(&mut other, 0, &mut image),
        Err(RenderError::OtherModel)
    ));
    assert!(renderer.render(&mut one, 0, &mut image).is_ok());
}

#[test]
fn a_ball_under_a_lamp_throws_a_round_shadow() {
    let xml = "<mujoco><statistic extent='1' center='0 0 0'/><visual><map znear='0.01' zfar='50'/></visual><worldbody>\
        <light pos='0 0 2' dir='0 0 -1' type='directional' diffuse='.6 .6 .6' specular='0 0 0'/>\
        <camera name='eye' pos='0 -1.5 1' xyaxes='1 0 0 0 1 1.5' fovy='60'/>\
        <geom type='plane' size='0.9 0.9 .1'/><geom size='0.2' pos='0 0 0.6'/></worldbody></mujoco>";
    let mut world = MjData::new(Arc::new(
        MjModel::from_xml_string(xml).expect("the test scene is valid"),
    ));
    world.forward();
    let size = 128u32;
    let mut renderer =
        CpuRenderer::new(world.model(), Quality::High, size, size).expect("the size is valid");
    let mut image = RgbImage::new(size, size);
    renderer
        .render(&mut world, 0, &mut image)
        .expect("the camera exists");
    let Layers {
        depth,
        geom: segmentation,
        ..
    } = layers(&mut renderer, &mut world, 0);
    let (eye, axes) = (world.cam_xpos()[0], world.cam_xmat()[0]);
    let scale = (30f64).to_radians().tan() / (f64::from(size) / 2.0);
    let (mut dark, mut bright) = (Vec::new(), Vec::new());
    for (index, pixel) in image
        .pixels()
        .enumerate()
        .filter(|(index, _)| segmentation[*index] == 0)
    {
        let (x, y) = (
            (index as u32 % size) as f64 + 0.5,
            (index as u32 / size) as f64 + 0.5,
        );
        let half = f64::from(size) / 2.0;
        let ray = [(x - half) * scale, (half - y) * scale, -1.0];
        let point: [f64; 2] = std::array::from_fn(|i| {
            let direction: f64 = (0..3).map(|k| axes[3 * i + k] * ray[k]).sum();
            eye[i] + direction * f64::from(depth[index])
        });
        match point[0].hypot(point[1]) {
            r if r < 0.18 => dark.push(pixel[0]),
            r if (0.23..0.7).contains(&r) => bright.push(pixel[0]),
            _ => {}
        }
    }
    assert!(
        dark.len() > 50 && bright.len() > 500,
        "{} and {} pixels",
        dark.len(),
        bright.len()
    );
    let (most, least) = (
        dark.iter().max().expect("not empty"),
        bright.iter().min().expect("not empty"),
    );
    assert!(
        u32::from(*most) + 20 < u32::from(*least),
        "shadow up to {most}, light from {least}"
    );
}
