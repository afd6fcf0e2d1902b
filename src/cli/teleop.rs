//! `rapport teleop`: move an arm by hand, without recording.

use std::path::PathBuf;

use rapport::sim::Pace;
use serde::Serialize;

use crate::interrupt;
use crate::station::{RobotName, Start, Station, StationConfig};
use crate::teleops;
use crate::ui::Ui;

/// Move an arm with a leader arm or a script, through the guard; Ctrl-C ends it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// sim:so101, twin:so101 or so101:/dev/ttyACM0.
    #[arg(long, value_name = "R")]
    robot: RobotName,
    /// script:TASK, script:play or leader:/dev/ttyACM1.
    #[arg(long, value_name = "T")]
    teleop: String,
    /// Task whose objects lie on the table (simulated robots).
    #[arg(long, default_value = "so101-push", help = super::tasks("Task whose objects lie on the table (simulated robots)"))]
    task: String,
    /// Seconds; until Ctrl-C when not given.
    #[arg(long)]
    seconds: Option<f64>,
    /// Goals a second.
    #[arg(long, default_value_t = 50.0)]
    control_hz: f64,
    /// LeRobot calibration of a real arm.
    #[arg(long, value_name = "FILE.json")]
    calibration: Option<PathBuf>,
    /// LeRobot calibration of the leader arm.
    #[arg(long, value_name = "FILE.json")]
    leader_calibration: Option<PathBuf>,
    /// Seed of scene and scripts.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Serialize)]
struct Summary {
    ticks: u64,
    lateness_p50_us: f64,
    lateness_p99_us: f64,
    lateness_max_us: f64,
    missed_deadlines: u64,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let config = StationConfig {
        robot: args.robot.clone(),
        task: Some(args.task.clone()),
        cameras: Vec::new(),
        control_hz: args.control_hz,
        calibration: args.calibration.clone(),
        pace: Pace::WallClock,
    };
    let task = config.task()?;
    let mut station = Station::open(&config, Start::Task(args.seed))?;
    let mut teleop = teleops::open(
        &args.teleop,
        &station,
        &task,
        10.0,
        args.seed,
        args.leader_calibration.as_deref(),
    )?;
    teleop.reset();
    let mut tick = station.tick(None)?;
    let begin = tick.time;
    while !interrupt::requested()
        && args
            .seconds
            .is_none_or(|s| (tick.time - begin).as_secs_f64() < s)
    {
        let (goal, _) = teleop.next_goal(&tick.state)?;
        tick = station.tick(Some(&goal))?;
        if !tick.follows_goals() {
            let reason = tick
                .reason
                .map_or_else(String::new, |reason| reason.to_string());
            // The reason is what to tell; the stop order that follows tells its own story only where it fails.
            match station.stop() {
                Ok(_) => anyhow::bail!("the arm was stopped: {reason}"),
                Err(error) => anyhow::bail!("the arm was stopped: {reason}; then: {error:#}"),
            }
        }
    }
    let lateness = station.stop()?.lateness;
    let summary = Summary {
        ticks: lateness.ticks,
        lateness_p50_us: lateness.p50_us,
        lateness_p99_us: lateness.p99_us,
        lateness_max_us: lateness.max_us,
        missed_deadlines: lateness.missed,
    };
    ui.result(&summary, || {
        format!(
            "{} ticks; late by p50 {:.0} us, p99 {:.0} us, max {:.0} us; {} deadlines missed by over 10 ms; torque is off",
            summary.ticks, summary.lateness_p50_us, summary.lateness_p99_us, summary.lateness_max_us, summary.missed_deadlines
        )
    })
}
