//! Depth and identity of what is seen, on both back ends.

use super::opengl::opengl;
use super::*;
use crate::render::Shot;

const SCENE: &str = "<mujoco><statistic extent='1' center='0 0 0'/><visual><map znear='0.01' zfar='30'/></visual><worldbody>\
    <light pos='0 0 3'/>\
    <camera name='down' pos='0 0 2' xyaxes='1 0 0 0 1 0' fovy='60'/>\
    <camera name='aside' pos='1.2 -1 0.8' xyaxes='.7 .7 0 -.35 .35 .87' fovy='55'/>\
    <geom name='floor' type='plane' size='3 3 .1'/>\
    <body name='block' pos='0.1 0.05 0.25'><geom name='block' type='box' size='.2 .15 .25'/></body>\
    <body name='arm' pos='-.5 .3 .2'>\
      <geom name='ball' type='sphere' size='.12' pos='0 0 .1'/><geom name='rod' type='capsule' size='.05 .2' pos='.1 -.4 0' euler='30 40 0'/>\
      <geom name='glass' type='box' size='.3 .3 .01' pos='.5 -.3 1' rgba='1 1 1 .3'/></body></worldbody></mujoco>";

fn scene() -> World {
    let model = MjModel::from_xml_string(SCENE).expect("the test scene is valid");
    let mut world = MjData::new(Arc::new(model));
    world.forward();
    world
}

/// The renderers there are.
fn renderers(world: &World, quality: Quality) -> Vec<Box<dyn Renderer>> {
    let cpu = CpuRenderer::new(world.model(), quality, 120, 90).expect("the size is valid");
    let mut all: Vec<Box<dyn Renderer>> = vec![Box::new(cpu)];
    if let Some(gl) = opengl(world.model(), quality) {
        all.push(Box::new(gl));
    }
    all
}

#[test]
fn depth_is_metres_along_the_optical_axis_and_ids_are_those_of_the_model() {
    let mut world = scene();
    for quality in Quality::ALL {
        for mut renderer in renderers(&world, quality) {
            let seen = layers(&mut *renderer, &mut world, 0);
            let name = renderer.describe();
            let at = |x: usize, y: usize| {
                let pixel = y * 120 + x;
                (seen.depth[pixel], seen.geom[pixel], seen.body[pixel])
            };
            // The floor is 2 m below the camera, the top of the block 1.5 m, whatever the angle of the ray.
            for (x, y) in [(2, 2), (117, 3), (4, 85), (110, 88), (30, 80)] {
                let (depth, geom, body) = at(x, y);
                assert!((depth - 2.0).abs() < 2e-3, "{name}: floor {depth} m");
                assert_eq!((geom, body), (0, 0), "{name}");
            }
            for (x, y) in [(60, 43), (66, 40), (72, 46)] {
                let (depth, geom, body) = at(x, y);
                assert!((depth - 1.5).abs() < 1.5e-3, "{name}: block {depth} m");
                assert_eq!((geom, body), (1, 1), "{name}");
            }
            // The glass pane hides nothing.
            assert!(!seen.geom.contains(&4), "{name}");
            assert_eq!((seen.width, seen.height), (120, 90));
        }
    }
}

#[test]
fn both_back_ends_measure_the_same() {
    let mut world = scene();
    for quality in Quality::ALL {
        let mut all = renderers(&world, quality);
        let [cpu, gl] = &mut all[..] else {
            return;
        };
        for camera in 0..2 {
            let (a, b) = (
                layers(&mut **cpu, &mut world, camera),
                layers(&mut **gl, &mut world, camera),
            );
            let other = a.geom.iter().zip(&b.geom).filter(|(a, b)| a != b).count();
            // OpenGL's balls and tubes have corners.
            assert!(other < 80, "camera {camera}, {quality}: {other} pixels");
            for pixel in 0..a.depth.len() {
                let (a_depth, b_depth) = (a.depth[pixel], b.depth[pixel]);
                if a.geom[pixel] != b.geom[pixel] {
                    continue;
                }
                assert_eq!(a.body[pixel], b.body[pixel]);
                if [0, 1].contains(&a.geom[pixel]) {
                    assert!(
                        (a_depth - b_depth).abs() < 1e-3 * a_depth,
                        "camera {camera}: {a_depth} and {b_depth} m"
                    );
                } else if a.geom[pixel] < 0 {
                    assert_eq!((a_depth, b_depth), (f32::INFINITY, f32::INFINITY));
                }
            }
        }
    }
}

#[test]
fn pictures_and_layers_do_not_disturb_each_other() {
    let mut world = scene();
    for mut renderer in renderers(&world, Quality::High) {
        let mut first = RgbImage::new(120, 90);
        let mut second = first.clone();
        renderer
            .render(&mut world, 0, &mut first)
            .expect("the camera exists");
        let before = layers(&mut *renderer, &mut world, 0);
        renderer
            .render(&mut world, 0, &mut second)
            .expect("the camera exists");
        assert!(first == second, "{}", renderer.describe());
        assert_eq!(before, layers(&mut *renderer, &mut world, 0));
    }
}

#[test]
fn many_pictures_are_the_pictures_taken_one_by_one() {
    let mut world = scene();
    for mut renderer in renderers(&world, Quality::High) {
        let mut alone = [RgbImage::new(120, 90), RgbImage::new(120, 90)];
        for (camera, out) in alone.iter_mut().enumerate() {
            renderer
                .render(&mut world, camera, out)
                .expect("the camera exists");
        }
        let mut together = [RgbImage::new(1, 1), RgbImage::new(1, 1)];
        let [first, second] = &mut together;
        let mut shots = [
            Shot {
                camera: 0,
                out: first,
            },
            Shot {
                camera: 1,
                out: second,
            },
        ];
        renderer
            .render_many(&mut world, &mut shots)
            .expect("the cameras exist");
        assert!(alone == together, "{}", renderer.describe());
        let mut shots = [Shot {
            camera: 2,
            out: &mut alone[0],
        }];
        assert!(matches!(
            renderer.render_many(&mut world, &mut shots),
            Err(RenderError::NoCamera {
                camera: 2,
                count: 2
            })
        ));
    }
}
