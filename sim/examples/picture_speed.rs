//! Pictures a second of a published model with the CPU rasteriser, with all its triangles and with the importer's fewer ones.
//!
//! `cargo run --release -p rapport-sim --example picture_speed -- so101-published 64`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::{Duration, Instant};

use image::RgbImage;
use rapport_sim::Simulation;
use rapport_sim::models::{Format, load, load_original, published};
use rapport_sim::render::{Backend, Quality};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "so101-published".into());
    let size = arguments.next().map_or(Ok(64), |size| size.parse())?;
    let path = published(&name)?;
    let began = Instant::now();
    let original = load_original(&path, Format::Mjcf)?;
    let compiled = began.elapsed();
    let mut light = load(&path, Format::Mjcf)?;
    let began = Instant::now();
    if let Ok(again) = load(&path, Format::Mjcf) {
        light = again;
    }
    println!(
        "{name}: compiled in {compiled:.2?}, from the cache in {:.2?}",
        began.elapsed()
    );
    for (what, model) in [("all triangles", original), ("fewer triangles", light)] {
        let triangles: i32 = model.mesh_facenum().iter().sum();
        let mut simulation = Simulation::new(model, Backend::Cpu, Quality::Fast)?;
        let mut picture = RgbImage::new(size, size);
        let (mut pictures, mut spent) = (0_u32, Duration::ZERO);
        while spent < Duration::from_secs(3) {
            simulation.advance(10)?;
            let began = Instant::now();
            simulation.render(0, &mut picture)?;
            // The first one loads the meshes.
            if pictures > 0 {
                spent += began.elapsed();
            }
            pictures += 1;
        }
        let rate = f64::from(pictures - 1) / spent.as_secs_f64();
        println!("{what}: {triangles} in meshes, {rate:.0} pictures a second at {size} x {size}");
        if let Some(folder) = std::env::var_os("PICTURES") {
            let file = format!("{name}-{}.png", what.replace(' ', "-"));
            picture.save(std::path::Path::new(&folder).join(file))?;
        }
    }
    Ok(())
}
