//! `rapport setup-motors`: gives each servo of a new arm its id, its bus speed and its settings.

use anyhow::Context as _;
use rapport::robot::feetech::{Bus, BusConfig, ServoId, setup};
use rapport::robot::so101;
use serde::Serialize;

use super::Usage;
use crate::ui::Ui;

/// Set up the servos of a new arm, one after the other, from the gripper to the base.
///
/// Each is connected alone, gets the id of its joint and LeRobot's settings, and is left limp. What was done stays done: when something goes
/// wrong, go on with --from JOINT.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The adapter's port (`rapport find-port`).
    #[arg(long, value_name = "PORT")]
    port: String,
    /// Begin with this joint.
    #[arg(long, value_name = "JOINT")]
    from: Option<String>,
    /// This joint only.
    #[arg(long, value_name = "JOINT", conflicts_with = "from")]
    joint: Option<String>,
}

#[derive(Debug, Serialize)]
struct Done {
    joint: String,
    id: u8,
    firmware: String,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let joints = so101::spec().joints;
    let place = |name: &str| {
        joints
            .iter()
            .position(|joint| joint.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = joints.iter().map(|joint| joint.name.as_str()).collect();
                Usage(format!(
                    "there is no joint {name}; the joints are {}",
                    names.join(", ")
                ))
            })
    };
    let last = args.from.as_deref().or(args.joint.as_deref());
    let last = last.map_or(Ok(joints.len() - 1), place)?;
    let first = if args.joint.is_some() { last } else { 0 };
    let config = BusConfig::default();
    let mut done = Vec::new();
    for at in (first..=last).rev() {
        let joint = &joints[at];
        let id = u8::try_from(at + 1)
            .ok()
            .and_then(ServoId::new)
            .context("too many joints")?;
        ui.say(format!(
            "Connect the servo of {} to the adapter, and no other one; then press ENTER.",
            joint.name
        ));
        super::press_enter()?;
        let found = setup::assign(&args.port, &config, id).with_context(|| {
            format!(
                "{} is not set up; go on with --from {}",
                joint.name, joint.name
            )
        })?;
        let mut bus = Bus::open(&args.port, config.clone())?;
        setup::configure(&mut bus, id, joint.kind).with_context(|| {
            format!(
                "{} is not set up; go on with --from {}",
                joint.name, joint.name
            )
        })?;
        ui.say(format!("{} is servo {}", joint.name, id.get()));
        done.push(Done {
            joint: joint.name.clone(),
            id: id.get(),
            firmware: format!("{}.{}", found.firmware.0, found.firmware.1),
        });
    }
    ui.result(&done, || match done.len() {
        1 => format!("{} is set up", done[0].joint),
        n => format!(
            "{n} servos are set up; connect them all, then run `rapport calibrate --port {}`",
            args.port
        ),
    })
}
