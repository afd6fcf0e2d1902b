//! `rapport record`: demonstrations into a LeRobot dataset, on a simulated or a real arm.

use std::path::PathBuf;

use rapport::dataset::{CameraFeature, DatasetConfig, DatasetWriter, VideoCodec};
use rapport::robot::so101;
use rapport::sim::Pace;
use serde::Serialize;

use super::Usage;
use crate::recording::{End, Rates, record};
use crate::schema::{self, Referee, Servos};
use crate::station::{CameraName, CameraSource, RobotName, Start, Station, StationConfig};
use crate::teleops;
use crate::ui::Ui;

/// Record demonstrations as a LeRobotDataset v3. An existing dataset is continued.
///
/// Every episode is complete on disk the moment it is saved; killing the program at any instant loses at most the episode being recorded.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// sim:so101, twin:so101 or so101:/dev/ttyACM0.
    #[arg(long, value_name = "R")]
    pub robot: RobotName,
    /// script:TASK, script:play (waves about, the object anywhere) or leader:/dev/ttyACM1.
    #[arg(long, value_name = "T")]
    pub teleop: String,
    /// Task.
    #[arg(long, default_value = "so101-push", help = super::tasks("Task"))]
    pub task: String,
    /// Episodes to record now.
    #[arg(long, default_value_t = 20)]
    pub episodes: usize,
    /// The dataset's folder.
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Cameras: NAME, NAME=WIDTHxHEIGHT (simulated) or NAME=opencv:0.
    #[arg(long = "camera", value_name = "NAME=SPEC", default_value = "front")]
    pub cameras: Vec<CameraName>,
    /// Rows a second.
    #[arg(long, default_value_t = 10)]
    pub fps: u32,
    /// Goals a second.
    #[arg(long, default_value_t = 50)]
    pub control_hz: u32,
    /// Rows of an episode; the task's own length when not given.
    #[arg(long)]
    pub length: Option<usize>,
    /// h264 (quick) or av1 (small, as LeRobot).
    #[arg(long, default_value = "h264")]
    pub codec: String,
    /// LeRobot calibration of a real arm.
    #[arg(long, value_name = "FILE.json")]
    pub calibration: Option<PathBuf>,
    /// LeRobot calibration of the leader arm.
    #[arg(long, value_name = "FILE.json")]
    pub leader_calibration: Option<PathBuf>,
    /// Seed of starts and scripts.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Serialize)]
struct Summary {
    episodes: usize,
    recorded: usize,
    successes: Option<usize>,
    dataset: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.fps == 0 || !args.control_hz.is_multiple_of(args.fps) {
        return Err(Usage(format!(
            "--control-hz {} must be a multiple of --fps {}",
            args.control_hz, args.fps
        ))
        .into());
    }
    let codec = VideoCodec::from_name(&args.codec).ok_or_else(|| {
        Usage(format!(
            "there is no codec {}; take h264 or av1",
            args.codec
        ))
    })?;
    let config = StationConfig {
        robot: args.robot.clone(),
        task: Some(args.task.clone()),
        cameras: args.cameras.clone(),
        control_hz: f64::from(args.control_hz),
        calibration: args.calibration.clone(),
        pace: Pace::Free,
    };
    let task = config.task()?;
    teleops::check(&args.teleop, &*task)?;
    let referee = if matches!(args.robot, RobotName::Serial(_)) {
        Referee::Absent
    } else {
        Referee::Present
    };
    let servos = match args.robot {
        RobotName::Sim => Servos::Absent,
        RobotName::Twin | RobotName::Serial(_) => Servos::Present,
    };
    let is_play = args.teleop == "script:play";
    let mut writer = if args.dataset.join("meta/info.json").exists() {
        DatasetWriter::open(&args.dataset)?
    } else {
        let cameras = args.cameras.iter().map(|camera| {
            let (w, h) = match camera.source {
                CameraSource::Sim(w, h) => (w, h),
                CameraSource::OpenCv(_) => (640, 480),
            };
            CameraFeature::new(&camera.name, w, h)
        });
        DatasetWriter::create(
            &args.dataset,
            DatasetConfig {
                fps: args.fps,
                robot_type: so101::spec().robot_type,
                features: schema::features(&so101::spec(), &*task, referee, servos),
                cameras: cameras.collect(),
                codec,
            },
        )?
    };
    let columns = &writer.config().features;
    let servos = match columns.iter().any(|column| column.name == schema::CURRENT) {
        true => Servos::Present,
        false => Servos::Absent,
    };
    let rates = Rates {
        servos,
        ticks_per_row: args.control_hz / args.fps,
        rows: args.length.unwrap_or(task.max_steps()),
    };
    let bar = ui.bar(args.episodes as u64, "recording episodes");
    let (mut recorded, mut successes) = (0, 0);
    let mut kept: Option<Station> = None;
    while recorded < args.episodes {
        let seed = args.seed.wrapping_mul(1_000_003) + writer.len() as u64;
        let start = if is_play {
            Start::Independent(seed)
        } else {
            Start::Task(seed)
        };
        // A simulated station begins every episode anew; a real arm stays on.
        let mut station = match kept.take() {
            Some(station) => station,
            None => Station::open(&config, start)?,
        };
        let mut teleop = teleops::open(
            &args.teleop,
            &station,
            &task,
            f64::from(args.fps),
            seed,
            args.leader_calibration.as_deref(),
        )?;
        let mut episode = writer.begin(task.instruction())?;
        let end = record(
            &mut station,
            &mut *teleop,
            &*task,
            rates,
            Some(&mut episode),
            None,
        )?;
        let success = station
            .referee
            .as_ref()
            .map(|r| anyhow::Ok(r.task().success(&r.reading()?)))
            .transpose()?;
        if station.referee.is_some() {
            station.stop()?;
        } else {
            kept = Some(station);
        }
        match end {
            End::Done => {
                writer.save(episode)?;
                recorded += 1;
                successes += usize::from(success == Some(true));
                bar.inc(1);
            }
            End::Redo => episode.discard(),
            End::Quit => {
                episode.discard();
                break;
            }
        }
    }
    if let Some(station) = kept {
        station.stop()?;
    }
    bar.finish_and_clear();
    let summary = Summary {
        episodes: writer.len(),
        recorded,
        successes: (referee == Referee::Present && !is_play).then_some(successes),
        dataset: args.dataset.clone(),
    };
    ui.result(&summary, || {
        let done = summary.successes.map_or(String::new(), |s| {
            format!(", {s} of them successful by the task's test")
        });
        format!(
            "{} episodes recorded{done}; {} now has {}",
            summary.recorded,
            summary.dataset.display(),
            summary.episodes
        )
    })
}
