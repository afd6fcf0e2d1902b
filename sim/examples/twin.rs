//! The simulated SO-101 as a serial port: `cargo run -p rapport-sim --example twin -- /tmp/so101`.
//!
//! Any program that speaks to Feetech servos can open the link. Runs until its standard input ends.

use std::error::Error;
use std::path::PathBuf;

use rapport_sim::servo_bus::{ServoBus, ServoBusConfig, WorldPlant};
use rapport_sim::{Scene, SceneConfig, World};

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let link = std::env::args_os().nth(1).map(PathBuf::from);
    let world = World::new(Scene::new(SceneConfig::default())?)?;
    let plant = Box::new(WorldPlant::new(world));
    let config = ServoBusConfig::uncalibrated_so101();
    let bus = ServoBus::start(&config, plant, link.as_deref())?;
    println!("{}", bus.path().display());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    bus.stop()?;
    Ok(())
}
