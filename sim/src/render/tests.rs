//! What a picture must show, derived from geometry rather than from earlier pictures.

use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;

use super::{CpuRenderer, Quality, RenderError, Renderer, camera_index};

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

fn picture(world: &mut World, size: u32) -> (CpuRenderer, RgbImage) {
    let mut renderer =
        CpuRenderer::new(world.model(), Quality::Fast, size, size).expect("the size is valid");
    let mut image = RgbImage::new(size, size);
    renderer
        .render(world, 0, &mut image)
        .expect("the camera exists");
    (renderer, image)
}

#[test]
fn a_sphere_covers_exactly_the_pixels_whose_rays_meet_it() {
    let (centre, radius, size) = ([0.3f64, -0.2, -2.0], 0.5f64, 96u32);
    let mut world = world("<geom type='sphere' pos='0.3 -0.2 -2' size='0.5'/>");
    let (renderer, _) = picture(&mut world, size);
    let (segmentation, depth) = (renderer.segmentation(), renderer.depth());
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
    let (renderer, image) = picture(&mut world, 64);
    let segmentation = renderer.segmentation();
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
