//! The rasteriser beside MuJoCo's own renderer.

use super::*;
use crate::render::GlRenderer;
use crate::scene::Scene;
use crate::tasks;

/// A small arm on a checkered table under a sky with marks, with every kind of geom that both renderers draw.
const ARM: &str = "<mujoco><statistic extent='1' center='0 0 0.2'/><asset>\
    <texture name='sky' type='skybox' builtin='gradient' rgb1='.6 .7 .8' rgb2='.2 .2 .3' mark='random' random='0.05' markrgb='1 .5 0' width='32' height='32'/>\
    <texture name='wood' type='2d' builtin='checker' rgb1='.7 .55 .4' rgb2='.4 .3 .2' width='64' height='64'/>\
    <material name='table' texture='wood' texrepeat='5 3'/>\
    <mesh name='wedge' vertex='0 0 0 .1 0 0 0 .1 0 0 0 .1'/></asset><worldbody>\
    <light pos='0.3 0.4 1.5' dir='-.2 -.3 -1' diffuse='.8 .8 .7'/>\
    <light pos='0 0 2' dir='0.5 0 -1' type='directional' diffuse='.2 .2 .3' castshadow='false'/>\
    <geom type='plane' size='1 0.8 .1' material='table'/>\
    <camera name='front' pos='.75 0 .55' xyaxes='0 1 0 -.6 0 .8' fovy='50'/>\
    <camera name='low' pos='.3 .7 .15' xyaxes='-1 .3 0 0 0 1' fovy='70'/>\
    <camera name='up' pos='.2 .2 .1' xyaxes='1 .2 0 -.1 .5 .6' fovy='90'/>\
    <geom type='cylinder' size='.05 .03' pos='0 0 .03' rgba='.2 .2 .2 1'/>\
    <geom type='capsule' fromto='0 0 .06 0.05 0.05 .3' size='.03' rgba='.9 .6 .1 1'/>\
    <geom type='capsule' fromto='0.05 0.05 .3 .25 0 .2' size='.02' rgba='.9 .6 .1 1'/>\
    <geom type='ellipsoid' size='.05 .03 .02' pos='.25 0 .18' euler='20 10 50' rgba='.2 .5 .9 1'/>\
    <geom type='sphere' size='.03' pos='.1 -.15 .03' rgba='.1 .7 .2 1'/>\
    <geom type='mesh' mesh='wedge' pos='.1 .2 .05' euler='20 0 30' rgba='.7 .2 .7 1'/>\
    <geom type='box' size='.02 .02 .02' pos='.25 .1 .02' rgba='.8 .1 .1 1'/></worldbody></mujoco>";

/// Mean absolute difference of two pictures, in units of 8-bit channels.
fn mean_difference(a: &RgbImage, b: &RgbImage) -> f64 {
    let sum: u64 = a
        .iter()
        .zip(b.iter())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    sum as f64 / a.len() as f64
}

/// The OpenGL renderer, or none, said loudly, where there is no EGL.
#[allow(clippy::print_stderr)]
pub(super) fn opengl(model: &MjModel, quality: Quality) -> Option<GlRenderer> {
    match GlRenderer::new(model, quality, 120, 90) {
        Ok(gl) => Some(gl),
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.contains("libegl1") && text.contains("--renderer cpu"),
                "{text}"
            );
            eprintln!("skipped: no EGL here, so the two renderers were not compared ({text})");
            None
        }
    }
}

/// Renders every camera of a scene with both renderers; each pair must be within `bound` on average.
pub(super) fn compare(xml: &str, quality: Quality, bound: f64) {
    let model = Arc::new(MjModel::from_xml_string(xml).expect("the test scene is valid"));
    compare_model(&model, quality, bound);
}

fn compare_model(model: &Arc<MjModel>, quality: Quality, bound: f64) {
    let mut world = MjData::new(Arc::clone(model));
    world.forward();
    let Some(mut gl) = opengl(model, quality) else {
        return;
    };
    let mut cpu = CpuRenderer::new(model, quality, 120, 90).expect("the size is valid");
    for camera in 0..model.ncam() as usize {
        let (mut a, mut b) = (RgbImage::new(120, 90), RgbImage::new(120, 90));
        cpu.render(&mut world, camera, &mut a)
            .expect("the camera exists");
        gl.render(&mut world, camera, &mut b)
            .expect("the camera exists");
        let difference = mean_difference(&a, &b);
        let black = mean_difference(&RgbImage::new(120, 90), &b);
        assert!(black > 4.0, "{} drew nothing", gl.describe());
        assert!(
            difference < bound,
            "camera {camera}, {quality}: {difference:.2} apart"
        );
    }
}

#[test]
fn the_rasteriser_and_opengl_show_the_same_picture() {
    compare(ARM, Quality::Fast, 1.6);
    compare(ARM, Quality::Smooth, 1.6);
}

#[test]
fn the_rasteriser_and_opengl_show_the_same_shadows() {
    compare(ARM, Quality::High, 4.0);
}

#[test]
fn the_rasteriser_and_opengl_lay_textures_on_planes_in_the_same_way() {
    for (size, material) in [
        ("1 2 .1", "texrepeat='2 3'"),
        ("1 2 .1", "texrepeat='.9 .7' texuniform='true'"),
        ("0 0 .1", "texrepeat='5 3'"),
        ("0 0 .1", "texrepeat='.5 .8' texuniform='true'"),
    ] {
        let xml = format!(
            "<mujoco><asset><texture name='t' type='2d' builtin='flat' rgb1='.7 .55 .4' mark='random' random='.2' markrgb='0 0 1' width='8' height='8'/>\
             <material name='t' texture='t' {material}/></asset><worldbody><light pos='0 0 3' dir='0 0 -1'/>\
             <camera pos='2 1 1.5' xyaxes='-.4 1 0 -.5 -.2 .8'/>\
             <geom type='plane' size='{size}' material='t' pos='.2 .3 0' euler='0 0 20'/></worldbody></mujoco>"
        );
        // A texture that lies wrongly is about 20 apart.
        compare(&xml, Quality::Fast, 3.0);
    }
}

#[test]
fn the_rasteriser_and_opengl_show_the_same_tasks() {
    for task in ["so101-reach", "so101-push", "so101-lift"] {
        let task = tasks::by_name(task).expect("the task exists");
        let scene = Scene::new(task.scene()).expect("the scene is valid");
        compare_model(scene.model(), Quality::Fast, 1.8);
        compare_model(scene.model(), Quality::Smooth, 1.8);
    }
}

#[test]
fn a_texture_that_opengl_cannot_take_is_an_error_there_and_no_harm_on_the_cpu() {
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("grey.png");
    image::GrayImage::from_pixel(8, 8, image::Luma([200]))
        .save(&file)
        .expect("there is room");
    let xml = format!(
        "<mujoco><asset><texture name='t' type='2d' nchannel='1' file='{}'/><material name='m' texture='t'/></asset>\
         <worldbody><light pos='0 0 3'/><camera pos='0 0 2'/><geom type='plane' size='1 1 .1' material='m'/></worldbody></mujoco>",
        file.display()
    );
    let model = Arc::new(MjModel::from_xml_string(&xml).expect("the test scene is valid"));
    let mut world = MjData::new(Arc::clone(&model));
    world.forward();
    assert!(picture(&mut world, 16).1.pixels().any(|p| p.0 != [0, 0, 0]));
    let error = GlRenderer::new(&model, Quality::Fast, 16, 16).unwrap_err();
    assert!(error.to_string().contains("channels"), "{error}");
}
