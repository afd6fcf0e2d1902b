//! `rapport find-port`: which serial port the arm is on.

use std::path::PathBuf;

use rapport::robot::feetech::{Bus, BusConfig, ServoId, list_ports, setup};
use serde::Serialize;

use crate::ui::Ui;

/// List the serial ports, and find the arm's by unplugging it.
///
/// Names under /dev/serial/by-id stay the same when the numbering changes: use them.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Ask each port for Feetech servos 1 to 8 at 1 Mbit/s. Only asks: nothing moves and nothing is written.
    #[arg(long)]
    servos: bool,
    /// Compare the ports before and after you unplug the arm.
    #[arg(long)]
    unplug: bool,
}

/// A port and what is on it.
#[derive(Debug, Serialize)]
struct Port {
    port: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_id: Option<PathBuf>,
    /// Ids that answered, or why nothing was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    servos: Option<Result<Vec<u8>, String>>,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let mut ports = list_ports()?;
    if args.unplug {
        ui.say("Unplug the arm's USB cable now, then press ENTER.");
        super::press_enter()?;
        let left = list_ports()?;
        ports.retain(|port| left.iter().all(|other| other.path != port.path));
        ui.say("Plug it in again.");
    }
    let found: Vec<Port> = ports
        .into_iter()
        .map(|info| Port {
            servos: args.servos.then(|| servos(&info.path)),
            port: info.path,
            by_id: info.by_id,
        })
        .collect();
    ui.result(&found, || {
        if found.is_empty() {
            return match args.unplug {
                true => "no port went away; was it the right cable?".into(),
                false => {
                    "no serial port that an arm could be on; is its adapter plugged in?".into()
                }
            };
        }
        let lines = found.iter().map(|port| {
            let mut line = port.port.display().to_string();
            if let Some(name) = &port.by_id {
                line += &format!("  ({})", name.display());
            }
            match &port.servos {
                Some(Ok(ids)) if ids.is_empty() => line += ": no servo answers",
                Some(Ok(ids)) => line += &format!(": servos {ids:?}"),
                Some(Err(error)) => line += &format!(": {error}"),
                None => {}
            }
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

fn servos(port: &std::path::Path) -> Result<Vec<u8>, String> {
    let scan = || {
        let mut bus = Bus::open(&port.display().to_string(), BusConfig::default())?;
        setup::scan(&mut bus, (1..=8).filter_map(ServoId::new))
    };
    let found = scan().map_err(|error| error.to_string())?;
    Ok(found.iter().map(|servo| servo.id).collect())
}
