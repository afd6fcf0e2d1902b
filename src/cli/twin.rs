//! `rapport twin`: the simulated arm as a serial port, for any program that speaks to servos.

use std::path::PathBuf;
use std::time::Duration;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport::sim::servo_bus::{ServoBus, ServoBusConfig, WorldPlant};
use rapport::sim::{RealTime, Scene, World, tasks};
use serde::Serialize;

use super::Usage;
use crate::interrupt;
use crate::ui::Ui;

/// Answer on a pseudo-terminal as six Feetech STS3215 servos would, byte for byte; the joints behind them are MuJoCo's.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Which arm.
    #[arg(long, default_value = "so101")]
    arm: String,
    /// Name for the port, a symbolic link (`/tmp/so101`).
    #[arg(long, value_name = "PATH")]
    link: Option<PathBuf>,
    /// Task whose objects lie on the table.
    #[arg(long, default_value = "so101-push", help = super::tasks("Task whose objects lie on the table"))]
    task: String,
    /// Write the calibration a client needs, in LeRobot's format.
    #[arg(long, value_name = "FILE.json")]
    calibration: Option<PathBuf>,
    /// Seed of the scene.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Serialize)]
struct Port {
    port: PathBuf,
    arm: String,
}

/// Runs the command until Ctrl-C.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.arm != "so101" {
        return Err(Usage(format!(
            "there is no arm {}; the twin is an so101",
            args.arm
        ))
        .into());
    }
    let task = tasks::by_name(&args.task).map_err(|e| Usage(e.to_string()))?;
    let world = World::new(Scene::new(task.scene())?)?;
    world.reset();
    task.reset(&world, &mut ChaCha8Rng::seed_from_u64(args.seed))?;
    let calibration = ServoBusConfig::calibration();
    if let Some(file) = &args.calibration {
        calibration.save(file)?;
    }
    let bus = ServoBus::start(
        &ServoBusConfig::so101(&calibration),
        Box::new(WorldPlant::new(world.clone())),
        args.link.as_deref(),
    )?;
    let _time = RealTime::start(world.clone(), world.timestep())?;
    let port = Port {
        port: bus.path().to_owned(),
        arm: args.arm.clone(),
    };
    ui.result(&port, || {
        format!("{} answers on {}", port.arm, port.port.display())
    })?;
    ui.say("Ctrl-C ends it");
    while !interrupt::requested() {
        std::thread::sleep(Duration::from_millis(50));
    }
    bus.stop()?;
    Ok(())
}
