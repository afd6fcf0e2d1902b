//! `rapport bench control`: how late the control loop is on this machine, while cameras record and other programs want the processor.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossbeam_channel::bounded;
use image::{Rgb, RgbImage};
use rapport::dataset::{CameraFeature, DatasetConfig, DatasetWriter, Feature, VideoCodec};
use rapport::robot::control::Tick;
use rapport::robot::control_thread::ControlThreadConfig;
use rapport::robot::lateness::LatenessReport;
use rapport::robot::{
    Camera, CameraError, CameraStream, Clock as _, Frame, SystemClock, so101, units,
};
use rapport::sim::Pace;
use serde::Serialize;

use crate::interrupt;
use crate::schema;
use crate::station::{RobotName, Start, Station, StationConfig};
use crate::ui::Ui;

/// Measure how late the control loop wakes, how many slots it misses and whether a sample is lost, with six servos, two cameras that record and
/// a busy processor.
///
/// `python benches/control_loop.py` sets it beside LeRobot's loop on the same twin.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// twin:so101, or so101:/dev/ttyACM0: the arm is energised and holds where it is.
    #[arg(long, value_name = "R", default_value = "twin:so101")]
    robot: RobotName,
    /// LeRobot calibration of a real arm, or of a twin in another process.
    #[arg(long, value_name = "FILE.json")]
    calibration: Option<PathBuf>,
    /// Seconds.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Ticks a second.
    #[arg(long, default_value_t = 100)]
    control_hz: u32,
    /// Synthetic cameras of 640 x 480 at 30 frames a second, all recorded.
    #[arg(long, default_value_t = 2)]
    cameras: usize,
    /// Threads that want the processor for nothing.
    #[arg(long, default_value_t = 0)]
    load: usize,
    /// An ordinary thread instead of real-time scheduling.
    #[arg(long)]
    ordinary: bool,
    /// Keep what was recorded here.
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
}

#[derive(Serialize)]
struct Summary {
    scheduling: String,
    seconds: f64,
    #[serde(flatten)]
    lateness: LatenessReport,
    /// Distance of two ticks from a period, microseconds: half, 99 of 100, the largest.
    interval_p50_us: f64,
    interval_p99_us: f64,
    interval_max_us: f64,
    /// Measurements that failed or came late.
    missed_reads: u64,
    /// Ticks that the recorder did not get.
    dropped_ticks: u64,
    /// Rows of the recording, and how many there should be.
    rows: usize,
    rows_due: usize,
    /// Memory of the process after a tenth of the time, and at the end, MiB.
    memory_mib: [f64; 2],
}

/// Ticks a row of the recording.
const TICKS_PER_ROW: usize = 4;

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let config = StationConfig {
        robot: args.robot.clone(),
        task: None,
        cameras: Vec::new(),
        control_hz: f64::from(args.control_hz),
        calibration: args.calibration.clone(),
        pace: Pace::WallClock,
    };
    let thread = ControlThreadConfig {
        fifo_priority: (!args.ordinary).then_some(50),
        // A second of ticks may wait for the recorder.
        queue: args.control_hz as usize,
    };
    let station = Station::open_with(&config, Start::Task(0), thread)?;
    let handle = station
        .handle()
        .context("this loop runs on a thread: take twin:so101 or so101:PATH")?;
    let scheduling = format!("{:?}", handle.scheduling());
    let scratch = tempfile::tempdir()?;
    let dir = args
        .dataset
        .clone()
        .unwrap_or_else(|| scratch.path().join("recording"));
    let mut cameras = cameras(args.cameras)?;
    let mut writer = DatasetWriter::create(&dir, dataset(args))?;
    let mut episode = writer.begin("hold still while the loop is measured")?;
    let (rows_in, rows_out) = bounded::<(Tick, Vec<Frame>)>(64);
    let over = AtomicBool::new(false);
    let bar = ui.bar(args.seconds.ceil() as u64, "measuring the loop");
    let names: Vec<String> = (0..args.cameras).map(|n| format!("camera{n}")).collect();
    let mut intervals = Vec::new();
    let mut memory = [0.0; 2];
    let (mut rows_due, mut taken) = (0, Ok(0));
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for _ in 0..args.load {
            scope.spawn(|| {
                let mut x = 1u64;
                while !over.load(Ordering::Relaxed) {
                    x = std::hint::black_box(
                        x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1),
                    );
                }
            });
        }
        let (names, writer) = (&names, &mut writer);
        let recorder = scope.spawn(move || -> anyhow::Result<usize> {
            let spec = so101::spec();
            for (tick, frames) in rows_out {
                let state = units::lerobot_from_positions(&spec, &tick.state.positions)?;
                let sent = tick.sent.as_ref().unwrap_or(&tick.state.positions);
                let action = units::lerobot_from_positions(&spec, sent)?;
                let age = [tick.age.as_secs_f64() as f32];
                let values: [(&str, &[f32]); 3] = [
                    (schema::STATE, &state),
                    (schema::ACTION, &action),
                    (AGE, &age),
                ];
                let images: Vec<(&str, &RgbImage)> = names
                    .iter()
                    .map(String::as_str)
                    .zip(frames.iter().map(|f| &f.image))
                    .collect();
                episode.push(&values, &images)?;
            }
            writer.save(episode)?;
            Ok(writer_rows(writer))
        });
        let begin = Instant::now();
        let mut last: Option<Tick> = None;
        let mut count = 0;
        let result = loop {
            let elapsed = begin.elapsed().as_secs_f64();
            if elapsed >= args.seconds || interrupt::requested() {
                break Ok(());
            }
            let tick = match handle.ticks().recv_timeout(Duration::from_secs(2)) {
                Ok(tick) => tick,
                Err(error) => break Err(anyhow::anyhow!("the loop says nothing: {error}")),
            };
            // The first ones are from before torque was on.
            if !tick.follows_goals() && last.is_none() {
                continue;
            }
            if !tick.follows_goals() {
                let reason = tick.reason.map_or_else(String::new, |r| r.to_string());
                break Err(anyhow::anyhow!("the arm was stopped: {reason}"));
            }
            let hold = tick
                .sent
                .clone()
                .unwrap_or_else(|| tick.state.positions.clone());
            handle.send_goal(hold)?;
            if let Some(last) = &last {
                intervals.push((tick.time - last.time).as_secs_f64());
            }
            count += 1;
            if count % TICKS_PER_ROW == 0 {
                rows_due += 1;
                let frames = cameras
                    .iter_mut()
                    .map(|c| c.capture())
                    .collect::<Result<_, _>>()?;
                // A full queue shows as a missing row.
                let _ = rows_in.try_send((tick.clone(), frames));
            }
            if memory[0] == 0.0 && elapsed > 0.1 * args.seconds {
                memory[0] = resident_mib();
            }
            bar.set_position(elapsed as u64);
            last = Some(tick);
        };
        memory[1] = resident_mib();
        over.store(true, Ordering::Relaxed);
        drop(rows_in);
        taken = recorder
            .join()
            .map_err(|_| anyhow::anyhow!("the recorder panicked"))?;
        result
    })?;
    bar.finish_and_clear();
    let report = station.stop()?;
    let period = 1.0 / f64::from(args.control_hz);
    let mut off: Vec<f64> = intervals
        .iter()
        .map(|dt| 1e6 * (dt - period).abs())
        .collect();
    off.sort_by(f64::total_cmp);
    let at = |share: f64| {
        off.get((share * (off.len().max(1) - 1) as f64) as usize)
            .copied()
            .unwrap_or(0.0)
    };
    let summary = Summary {
        scheduling,
        seconds: args.seconds,
        lateness: report.lateness,
        interval_p50_us: at(0.5),
        interval_p99_us: at(0.99),
        interval_max_us: at(1.0),
        missed_reads: report.guard.missed_reads,
        dropped_ticks: report.dropped_ticks,
        rows: taken?,
        rows_due,
        memory_mib: memory,
    };
    ui.result(&summary, || {
        let l = &summary.lateness;
        format!(
            "{} ticks, {}: late by p50 {:.0} us, p99 {:.0} us, max {:.0} us, {} by over 10 ms, {} slots left out\n\
             {} rows of {} recorded, {} ticks lost, {} readings missed; memory {:.0} MiB, then {:.0} MiB",
            l.ticks, summary.scheduling, l.p50_us, l.p99_us, l.max_us, l.missed, l.skipped, summary.rows, summary.rows_due,
            summary.dropped_ticks, summary.missed_reads, summary.memory_mib[0], summary.memory_mib[1]
        )
    })
}

/// Age of the measurement of a row, s.
const AGE: &str = "observation.state_age";

fn dataset(args: &Args) -> DatasetConfig {
    let names = units::lerobot_names(&so101::spec());
    DatasetConfig {
        fps: args.control_hz / TICKS_PER_ROW as u32,
        robot_type: so101::spec().robot_type,
        features: vec![
            Feature::named(schema::STATE, names.clone()),
            Feature::named(schema::ACTION, names),
            Feature::new(AGE, 1),
        ],
        cameras: (0..args.cameras)
            .map(|n| CameraFeature::new(format!("camera{n}"), 640, 480))
            .collect(),
        codec: VideoCodec::H264,
    }
}

fn writer_rows(writer: &DatasetWriter) -> usize {
    let dataset = rapport::dataset::Dataset::open(writer.dir());
    dataset.map_or(0, |dataset| dataset.info().total_frames)
}

fn cameras(count: usize) -> anyhow::Result<Vec<CameraStream>> {
    let camera = |n| {
        let pattern = Pattern {
            name: format!("camera{n}"),
            clock: SystemClock::default(),
            sequence: 0,
        };
        Ok(CameraStream::start(
            Box::new(pattern),
            Duration::from_millis(500),
        )?)
    };
    (0..count).map(camera).collect()
}

/// A bar that moves over a gradient, 30 times a second.
struct Pattern {
    name: String,
    clock: SystemClock,
    sequence: u64,
}

impl Camera for Pattern {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> (u32, u32) {
        (640, 480)
    }

    fn capture(&mut self) -> Result<Frame, CameraError> {
        self.sequence += 1;
        self.clock
            .sleep_until(Duration::from_secs_f64(self.sequence as f64 / 30.0));
        let bar = (self.sequence * 8 % 640) as u32;
        let image = RgbImage::from_fn(640, 480, |x, y| {
            let lit = if x.abs_diff(bar) < 20 { 200 } else { 0 };
            Rgb([(x / 4) as u8, (y / 2) as u8, lit])
        });
        Ok(Frame {
            image,
            stamp: self.clock.now(),
            sequence: self.sequence,
        })
    }
}

/// What the process holds in memory now.
fn resident_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4096.0 / 1048576.0
}
