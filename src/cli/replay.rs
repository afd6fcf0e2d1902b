//! `rapport replay`: a recorded episode's goals, sent again.

use std::path::PathBuf;

use rapport::dataset::Dataset;
use rapport::robot::{so101, units};
use rapport::sim::Pace;
use serde::Serialize;

use super::Usage;
use crate::interrupt;
use crate::schema;
use crate::station::{RobotName, Start, Station, StationConfig};
use crate::ui::Ui;

/// Send the goals of a recorded episode again, through the guard.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The dataset.
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// Which episode.
    #[arg(long)]
    episode: usize,
    /// sim:so101, twin:so101 or so101:/dev/ttyACM0.
    #[arg(long, value_name = "R")]
    robot: RobotName,
    /// Task whose objects lie on the table (simulated robots).
    #[arg(long, default_value = "so101-push", help = super::tasks("Task whose objects lie on the table (simulated robots)"))]
    task: String,
    /// Goals a second; between rows the goals are interpolated.
    #[arg(long, default_value_t = 50)]
    control_hz: u32,
    /// LeRobot calibration of a real arm.
    #[arg(long, value_name = "FILE.json")]
    calibration: Option<PathBuf>,
    /// Seed of the scene.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Serialize)]
struct Summary {
    rows: usize,
    mean_error_rad: f64,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let dataset = Dataset::open(&args.dataset)?;
    if args.episode >= dataset.len() {
        return Err(Usage(format!(
            "{} has episodes 0 to {}",
            args.dataset.display(),
            dataset.len().saturating_sub(1)
        ))
        .into());
    }
    let episode = dataset.episode_columns(args.episode)?;
    let column = |name| {
        episode
            .columns
            .get(name)
            .ok_or_else(|| anyhow::anyhow!("{} has no column {name}", args.dataset.display()))
    };
    let (states, actions) = (column(schema::STATE)?, column(schema::ACTION)?);
    let config = StationConfig {
        robot: args.robot.clone(),
        task: Some(args.task.clone()),
        cameras: Vec::new(),
        control_hz: f64::from(args.control_hz),
        calibration: args.calibration.clone(),
        pace: Pace::WallClock,
    };
    let spec = so101::spec();
    let rows_per_tick = (args.control_hz / episode.fps).max(1);
    let mut station = Station::open(&config, Start::Task(args.seed))?;
    let mut tick = station.tick(None)?;
    // To the first recorded pose at a walking pace: an arm does not jump there.
    let first = units::positions_from_lerobot(&spec, states.row(0))?;
    let from = tick.state.positions.clone();
    let distance = from
        .iter()
        .zip(&first)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    let approach = (distance / 0.5 * f64::from(args.control_hz)).ceil() as usize;
    let blend = |a: &[f64], b: &[f64], share: f64| -> Vec<f64> {
        a.iter().zip(b).map(|(a, b)| a + share * (b - a)).collect()
    };
    for k in 1..=approach {
        tick = station.tick(Some(&blend(&from, &first, k as f64 / approach as f64)))?;
    }
    let (mut previous, mut error, mut rows) = (first, 0.0, 0);
    for t in 0..actions.len() {
        if interrupt::requested() {
            break;
        }
        let goal = units::positions_from_lerobot(&spec, actions.row(t))?;
        for k in 1..=rows_per_tick {
            tick = station.tick(Some(&blend(
                &previous,
                &goal,
                f64::from(k) / f64::from(rows_per_tick),
            )))?;
        }
        if t + 1 < states.len() {
            let recorded = units::positions_from_lerobot(&spec, states.row(t + 1))?;
            error += recorded
                .iter()
                .zip(&tick.state.positions)
                .map(|(a, b)| (a - b).abs())
                .sum::<f64>()
                / recorded.len() as f64;
        }
        previous = goal;
        rows += 1;
    }
    station.stop()?;
    let summary = Summary {
        rows,
        mean_error_rad: error / rows.max(1) as f64,
    };
    ui.result(&summary, || {
        format!(
            "{} rows replayed, joints {:.4} rad from the recording on average; torque is off",
            summary.rows, summary.mean_error_rad
        )
    })
}
