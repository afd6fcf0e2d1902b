//! Textures, mirrors, haze and glass as MuJoCo's own renderer draws them.

use super::opengl::{compare, opengl};
use super::*;

/// The world of `bodies` with a texture `t` of this kind and a material `m` of it that shines by itself.
fn textured(kind: &str, material: &str, bodies: &str) -> String {
    format!(
        "<mujoco><visual><headlight ambient='0 0 0' diffuse='0 0 0' specular='0 0 0'/></visual><asset>\
         <texture name='t' type='{kind}' builtin='gradient' rgb1='1 .2 .1' rgb2='.1 .3 1' mark='cross' markrgb='0 1 0' width='64' height='{}'/>\
         <material name='m' texture='t' emission='1' specular='0' {material}/>\
         <mesh name='bare' vertex='-.2 -.2 -.2 .2 -.2 -.2 -.2 .2 -.2 .2 .2 -.2 -.2 -.2 .2 .2 -.2 .2 -.2 .2 .2 .2 .2 .2'/>\
         <mesh name='uv' vertex='-.3 -.3 0 .3 -.3 0 .3 .3 0 -.3 .3 0 0 0 -.3' face='0 1 2 0 2 3 0 4 1 1 4 2 2 4 3 3 4 0' \
           texcoord='0 0 .9 0 .9 .7 0 .7 .1 .1' inertia='shell'/></asset>\
         <worldbody><camera pos='0 -1.4 2.2' xyaxes='1 0 0 0 .8 .6' fovy='60'/>{bodies}</worldbody></mujoco>",
        if kind == "cube" { 384 } else { 64 }
    )
}

/// Mean absolute difference over the pixels of each geom; none where there is no EGL.
fn difference_per_geom(xml: &str, camera: usize) -> Option<Vec<f64>> {
    let model = Arc::new(MjModel::from_xml_string(xml).expect("the test scene is valid"));
    let mut world = MjData::new(Arc::clone(&model));
    world.forward();
    let mut gl = opengl(&model, Quality::Smooth)?;
    let mut cpu = CpuRenderer::new(&model, Quality::Smooth, 120, 90).expect("the size is valid");
    let (mut a, mut b) = (RgbImage::new(120, 90), RgbImage::new(120, 90));
    cpu.render(&mut world, camera, &mut a)
        .expect("the camera exists");
    gl.render(&mut world, camera, &mut b)
        .expect("the camera exists");
    let seen = layers(&mut cpu, &mut world, camera);
    let mut sums = vec![(0.0, 0.0); model.ngeom() as usize];
    for ((a, b), geom) in a.pixels().zip(b.pixels()).zip(&seen.geom) {
        if let Ok(geom) = usize::try_from(*geom) {
            sums[geom].0 += (0..3).map(|i| f64::from(a[i].abs_diff(b[i]))).sum::<f64>() / 3.0;
            sums[geom].1 += 1.0;
        }
    }
    Some(sums.into_iter().map(|(sum, count)| sum / count).collect())
}

#[test]
fn textures_wrap_every_shape_in_the_same_way() {
    let shapes = [
        "type='box' size='.3 .2 .25'",
        "type='sphere' size='.3'",
        "type='ellipsoid' size='.35 .2 .3'",
        "type='cylinder' size='.25 .2'",
        "type='capsule' size='.15 .2'",
        "type='mesh' mesh='bare'",
        "type='mesh' mesh='uv'",
        "type='plane' size='.3 .4 .1'",
    ];
    let geoms: String = (0..)
        .zip(shapes)
        .map(|(i, shape)| {
            let (x, y) = (0.8 * f64::from(i % 4) - 1.2, 0.9 * f64::from(i / 4) - 0.2);
            format!("<geom {shape} material='m' pos='{x} {y} 0' euler='10 20 30'/>")
        })
        .collect();
    for kind in ["2d", "cube"] {
        for material in ["texrepeat='1 1.5'", "texuniform='true' texrepeat='2 3'"] {
            let Some(differences) = difference_per_geom(&textured(kind, material, &geoms), 0)
            else {
                return;
            };
            for (shape, difference) in shapes.iter().zip(differences) {
                // Edges differ, in small pictures; an image that lies wrongly is 30 to 100 off.
                assert!(
                    difference < 16.0,
                    "{kind} {material} on {shape}: {difference:.1} apart"
                );
            }
        }
    }
}

#[test]
fn glass_and_the_back_of_a_plane_let_the_same_light_through() {
    let xml = "<mujoco><asset><texture type='skybox' builtin='gradient' rgb1='.6 .7 .8' rgb2='.2 .2 .3' width='32' height='32'/></asset>\
        <worldbody><light pos='0 0 3'/><light pos='0 0 -3' dir='0 0 1'/>\
        <camera pos='0 -2 .8' xyaxes='1 0 0 0 .4 1'/><camera pos='0 -2 -.8' xyaxes='1 0 0 0 -.4 1'/>\
        <geom type='plane' size='1 1 .1' rgba='.8 .3 .2 1'/><geom type='box' size='.2 .2 .2' pos='0 .3 .3' rgba='.1 .8 .2 1'/>\
        <geom type='box' size='.3 .05 .3' pos='-.2 -.3 .4' rgba='.2 .2 .9 .4'/><geom size='.2' pos='.3 -.6 .3' rgba='.9 .9 .2 .5'/>\
        </worldbody></mujoco>";
    compare(xml, Quality::Smooth, 1.5);
}

#[test]
fn a_mirror_shows_the_same_things() {
    for mirror in [
        "type='plane' size='1 1 .1' material='mirror'",
        "type='box' size='.8 .9 .1' pos='0 0 -.1' material='mirror'",
    ] {
        let xml = format!(
            "<mujoco><asset><material name='mirror' reflectance='.6' rgba='.2 .2 .3 1'/>\
             <mesh name='wedge' vertex='0 0 0 .4 0 0 0 .4 0 0 0 .4'/></asset><worldbody><light pos='0 0 3' castshadow='false'/>\
             <camera pos='0 -2 .8' xyaxes='1 0 0 0 .4 1'/><geom {mirror}/>\
             <geom type='box' size='.2 .2 .2' pos='-.3 .3 .3' rgba='.9 .3 .2 1' euler='20 30 0'/>\
             <geom type='sphere' size='.15' pos='.3 -.3 .1' rgba='.3 .9 .2 1'/>\
             <geom type='mesh' mesh='wedge' pos='.4 .3 .1' rgba='.3 .4 .9 1'/></worldbody></mujoco>"
        );
        // Without the reflection it is 6 apart.
        compare(&xml, Quality::High, 2.0);
    }
}

#[test]
fn haze_hides_the_same_part_of_an_endless_plane() {
    let xml = "<mujoco><statistic extent='1' center='0 0 0'/><visual><map zfar='20' haze='.4'/><rgba haze='.9 .8 .7 1'/></visual><asset>\
        <texture type='skybox' builtin='gradient' rgb1='.3 .5 .7' rgb2='0 0 0' width='64' height='64'/></asset>\
        <worldbody><light pos='0 0 3' castshadow='false'/><camera pos='0 -2 1' xyaxes='1 0 0 0 .2 1'/><camera pos='0 -2 4' xyaxes='1 0 0 0 .3 1'/>\
        <geom type='plane' size='0 0 .1' rgba='.2 .3 .4 1'/><geom type='box' size='.3 .3 .3' pos='0 0 .3'/></worldbody></mujoco>";
    // Without haze it is 7 apart.
    compare(xml, Quality::Smooth, 2.0);
}
