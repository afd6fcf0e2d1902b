//! `rapport calibrate`: from a limp arm to a calibration file.

use std::io::BufRead as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rapport::robot::feetech::calibrate::{Homing, Swept};
use rapport::robot::feetech::{Bus, BusConfig};
use rapport::robot::so101;
use serde::Serialize;

use super::Usage;
use crate::interrupt;
use crate::ui::Ui;

/// Measure where an arm's joints begin and end, by hand, torque off; writes LeRobot's calibration file and the servos' own limits.
///
/// First the middle pose, then every joint to both of its ends. A joint whose range cannot be right is named, and nothing is stored.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The adapter's port (`rapport find-port`).
    #[arg(long, value_name = "PORT")]
    port: String,
    /// The calibration file to write; an existing one is kept as FILE.json.old.
    #[arg(long, value_name = "FILE.json")]
    out: PathBuf,
    /// Store a calibration even where a range differs much from an SO-101's.
    #[arg(long)]
    unusual: bool,
}

#[derive(Debug, Serialize)]
struct Summary {
    file: PathBuf,
    joints: Vec<Swept>,
    doubts: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.out.extension().is_none_or(|end| end != "json") {
        return Err(Usage(format!(
            "{}: a calibration file ends in .json",
            args.out.display()
        ))
        .into());
    }
    let bus = Bus::open(&args.port, BusConfig::default())?;
    let spec = so101::spec();
    let homing = Homing::begin(bus, &spec)?;
    ui.say("Torque is off. Put every joint into the middle of its range, the gripper half open, then press ENTER.");
    super::press_enter()?;
    let mut sweep = homing.centre()?;
    ui.say(
        "Now move every joint slowly to both of its ends (wrist_roll may stay), then press ENTER.",
    );
    let enough = AtomicBool::new(false);
    let joints = std::thread::scope(|scope| -> anyhow::Result<Vec<Swept>> {
        scope.spawn(|| {
            // What is typed does not matter, nor does the end of a script's input.
            let _ = std::io::stdin().lock().read_line(&mut String::new());
            enough.store(true, Ordering::Release);
        });
        let bar = ui.bar(0, "joints");
        let mut joints;
        loop {
            joints = sweep.observe()?.to_vec();
            let ranges = joints
                .iter()
                .map(|j| format!("{} {}..{}", j.name, j.min, j.max));
            bar.set_message(ranges.collect::<Vec<_>>().join("  "));
            if enough.load(Ordering::Acquire) {
                break;
            }
            if interrupt::requested() {
                bar.finish_and_clear();
                anyhow::bail!(
                    "stopped; the servos keep their full range and the file is not written"
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bar.finish_and_clear();
        Ok(joints)
    })?;
    let measured = sweep.measured()?;
    let doubts = measured.doubts(&spec);
    if !doubts.is_empty() && !args.unusual {
        anyhow::bail!(
            "{}; nothing is stored: calibrate again, or store it with --unusual",
            doubts.join("; ")
        );
    }
    let (calibration, _bus) = sweep.finish()?;
    if args.out.exists() {
        let mut old = args.out.clone().into_os_string();
        old.push(".old");
        std::fs::rename(&args.out, old)?;
    }
    calibration.save(&args.out)?;
    let summary = Summary {
        file: args.out.clone(),
        joints,
        doubts,
    };
    ui.result(&summary, || {
        format!(
            "calibrated; {} holds it, and so do the servos",
            args.out.display()
        )
    })
}
