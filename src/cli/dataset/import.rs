//! `rapport dataset import`: logged runs of other programs, and our own, become a dataset with pictures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rapport::dataset::{DatasetWriter, VideoCodec};
use rapport::sim::log::{self, Log};
use rapport::sim::render::{Backend, Quality};
use rapport::sim::robosuite::Robosuite;
use serde::Serialize;

use crate::cli::Usage;
use crate::cli::environment::from_name;
use crate::importing::{Columns, Import, Imported, write};
use crate::interrupt;
use crate::ui::Ui;

/// Make a dataset of runs that were logged as simulator states, and draw their pictures.
///
/// robosuite:DIR|WHEEL  what people did in robosuite 1.0.1 with a Panda arm: lift, stack, door, pick-place, nut-assembly; DIR
/// is the unpacked wheel, and without it what `./x assets robosuite` fetched is taken
///
/// states:DIR  runs that this program logged (see docs/import.md)
///
/// Whether each run succeeds is judged by the task's own condition on the logged states. The dataset appears when it is complete.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// robosuite:DIR, robosuite:WHEEL, robosuite or states:DIR.
    source: Source,
    /// The new dataset's folder.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only these runs, by name (`lift`); all when not given.
    #[arg(long = "run", value_name = "NAME")]
    runs: Vec<String>,
    /// Cameras of the model; agentview and frontview for robosuite, else the model's first when not given.
    #[arg(long = "camera", value_name = "NAME")]
    cameras: Vec<String>,
    /// Size of the pictures: N or WIDTHxHEIGHT, even numbers.
    #[arg(long, default_value = "224")]
    size: Size,
    /// Rows a second; the rate of the states must be a multiple of it. As many as there are states when not given.
    #[arg(long)]
    fps: Option<u32>,
    /// A row for every N states; an action then is the mean of N steps, or the last of N goals.
    #[arg(long, value_name = "N", conflicts_with = "fps")]
    every: Option<usize>,
    /// cpu (the same bytes everywhere), gl or auto.
    #[arg(long, default_value = "cpu", value_parser = from_name::<Backend>)]
    renderer: Backend,
    /// fast, or high (smooth edges and shadows).
    #[arg(long, default_value = "fast", value_parser = from_name::<Quality>)]
    quality: Quality,
    /// h264 (quick) or av1 (small, as LeRobot).
    #[arg(long, default_value = "h264")]
    codec: String,
}

/// Where runs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// A robosuite package; none: the one that was fetched.
    Robosuite(Option<PathBuf>),
    /// A folder of our own logs.
    States(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (format, path) = text.split_once(':').unwrap_or((text, ""));
        let path = Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty());
        match (format, path) {
            ("robosuite", path) => Ok(Self::Robosuite(path)),
            ("states", Some(path)) => Ok(Self::States(path)),
            ("states", None) => Err("states:DIR needs the folder of the logged runs".into()),
            _ => Err(format!(
                "there is no format {format}; import knows robosuite:DIR, robosuite:WHEEL and states:DIR"
            )),
        }
    }
}

/// Width and height, pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size(u32, u32);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once('x').unwrap_or((text, text));
        let side = |side: &str| {
            side.parse()
                .ok()
                .filter(|side: &u32| (16..=4096).contains(side) && side.is_multiple_of(2))
                .ok_or_else(|| format!("{side} is no side of a picture; give an even number from 16 to 4096, or two as 320x240"))
        };
        Ok(Self(side(width)?, side(height)?))
    }
}

#[derive(Serialize)]
struct Summary {
    out: PathBuf,
    fps: u32,
    cameras: Vec<String>,
    episodes: Vec<Imported>,
    skipped: Vec<Skipped>,
    seconds: f64,
}

/// A demonstration that was not imported.
#[derive(Serialize)]
struct Skipped {
    name: String,
    reason: String,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let begin = std::time::Instant::now();
    let codec = VideoCodec::from_name(&args.codec).ok_or_else(|| {
        Usage(format!(
            "there is no codec {}; take h264 or av1",
            args.codec
        ))
    })?;
    if occupied(&args.out) {
        return Err(Usage(format!(
            "{} is not empty; choose a new folder for the dataset",
            args.out.display()
        ))
        .into());
    }
    let Some(name) = args.out.file_name() else {
        return Err(Usage(format!(
            "{} has no name of its own; choose a new folder for the dataset",
            args.out.display()
        ))
        .into());
    };
    let (logs, skipped) = match &args.source {
        Source::Robosuite(path) => demonstrations(path.as_deref(), &args.runs, ui)?,
        Source::States(dir) => (chosen(log::read(dir)?, &args.runs)?, Vec::new()),
    };
    let logs: Vec<Arc<Log>> = logs.into_iter().map(Arc::new).collect();
    let columns = Columns::of(&logs)?;
    let import = Import {
        cameras: cameras(args, &logs)?,
        size: (args.size.0, args.size.1),
        every: every(args, &logs[0])?,
        codec,
        renderer: args.renderer,
        quality: args.quality,
    };
    let config = columns.config(&logs[0], &import)?;
    let fps = config.fps;

    // The dataset grows beside its place and gets its name when it is complete.
    let parent = match args.out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let partial = tempfile::Builder::new()
        .prefix(&format!(".{}.partial-", name.to_string_lossy()))
        .tempdir_in(parent)
        .with_context(|| format!("cannot write in {}", parent.display()))?;
    let dir = partial.path().join("dataset");
    let mut writer = DatasetWriter::create(&dir, config)?;
    let rows: usize = logs
        .iter()
        .map(|log| log.actions.len().div_ceil(import.every))
        .sum();
    let bar = ui.bar(rows as u64, "drawing states");
    let mut episodes = Vec::new();
    for log in &logs {
        bar.set_message(log.name.clone());
        episodes.push(write(log, &columns, &import, &mut writer, &bar)?);
    }
    bar.finish_and_clear();
    drop(writer);
    std::fs::rename(&dir, &args.out)
        .and_then(|()| std::fs::File::open(parent)?.sync_all())
        .with_context(|| format!("cannot give the dataset the name {}", args.out.display()))?;
    let summary = Summary {
        out: args.out.clone(),
        fps,
        cameras: import.cameras,
        episodes,
        skipped,
        seconds: begin.elapsed().as_secs_f64(),
    };
    ui.result(&summary, || text(&summary))
}

fn text(summary: &Summary) -> String {
    let mut text = String::new();
    for episode in &summary.episodes {
        let success = match (episode.success, episode.first_success) {
            (Some(true), Some(first)) => format!("succeeds, first in state {first}"),
            (Some(false), Some(first)) => format!("fails, though done in state {first}"),
            (Some(_), None) => "fails".into(),
            (None, _) => "nobody knows whether it succeeds".into(),
        };
        let _ = writeln!(
            text,
            "episode {}  {}: {} rows of {} states, {success}; {:.1} s, {:.0} pictures/s",
            episode.episode,
            episode.name,
            episode.rows,
            episode.states,
            episode.seconds,
            episode.pictures_per_second
        );
    }
    for skipped in &summary.skipped {
        let _ = writeln!(text, "left out   {}: {}", skipped.name, skipped.reason);
    }
    let rows: usize = summary.episodes.iter().map(|episode| episode.rows).sum();
    let _ = write!(
        text,
        "{}: {} episodes, {rows} frames at {} fps from {} in {:.1} s",
        summary.out.display(),
        summary.episodes.len(),
        summary.fps,
        summary.cameras.join(" and "),
        summary.seconds
    );
    text
}

/// Whether something is in the way.
fn occupied(out: &Path) -> bool {
    match std::fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => out.exists(),
    }
}

/// Reads the demonstrations of a robosuite package, and says which cannot be.
fn demonstrations(
    path: Option<&Path>,
    names: &[String],
    ui: Ui,
) -> anyhow::Result<(Vec<Log>, Vec<Skipped>)> {
    let robosuite = match path {
        Some(path) => Robosuite::open(path)?,
        None => Robosuite::installed()?,
    };
    let found = robosuite.demonstrations()?;
    let known: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(no_run(name, &known));
    }
    let wanted: Vec<_> = found
        .iter()
        .filter(|found| names.is_empty() || names.contains(&found.name))
        .collect();
    let (mut logs, mut skipped) = (Vec::new(), Vec::new());
    let bar = ui.bar(wanted.len() as u64, "compiling models");
    for found in wanted {
        anyhow::ensure!(!interrupt::requested(), "stopped; nothing was written");
        bar.set_message(found.name.clone());
        let (environment, task) = robosuite.task(found)?;
        if task.is_some() && found.robot == "panda" {
            logs.extend(robosuite.load(found)?);
        } else {
            let reason = format!(
                "no success condition is known here for {environment} with {}",
                found.robot
            );
            skipped.push(Skipped {
                name: found.name.clone(),
                reason,
            });
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let (true, Some(skipped)) = (logs.is_empty(), skipped.first()) {
        bail!("nothing to import: {}: {}", skipped.name, skipped.reason);
    }
    Ok((logs, skipped))
}

/// Those runs that were asked for.
fn chosen(logs: Vec<Log>, names: &[String]) -> anyhow::Result<Vec<Log>> {
    let known: Vec<&str> = logs.iter().map(|log| log.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(no_run(name, &known));
    }
    let mut logs = logs;
    logs.retain(|log| names.is_empty() || names.contains(&log.name));
    Ok(logs)
}

fn no_run(name: &str, known: &[&str]) -> anyhow::Error {
    Usage(format!(
        "there is no run {name}; there are: {}",
        known.join(", ")
    ))
    .into()
}

/// The cameras, which every model must have.
fn cameras(args: &Args, logs: &[Arc<Log>]) -> anyhow::Result<Vec<String>> {
    let wanted = match (&args.source, args.cameras.as_slice()) {
        (Source::Robosuite(_), []) => vec!["agentview".into(), "frontview".into()],
        (Source::States(_), []) => logs[0].cameras().into_iter().take(1).collect(),
        (_, given) => given.to_vec(),
    };
    for log in logs {
        let known = log.cameras();
        if let Some(name) = wanted.iter().find(|name| !known.contains(name)) {
            return Err(Usage(format!(
                "the model of {} has no camera {name}; it has: {}",
                log.name,
                known.join(", ")
            ))
            .into());
        }
    }
    Ok(wanted)
}

/// A row for every so many states.
fn every(args: &Args, log: &Log) -> anyhow::Result<usize> {
    let every = match (args.every, args.fps) {
        (Some(every), _) => every,
        (None, None) => 1,
        (None, Some(fps)) => {
            let every = log.rate_hz / f64::from(fps);
            if !(every >= 1.0 && (every - every.round()).abs() < 1e-6) {
                return Err(Usage(format!(
                    "--fps {fps} does not divide the {} states a second of {}",
                    log.rate_hz, log.name
                ))
                .into());
            }
            every.round() as usize
        }
    };
    if every == 0 {
        return Err(Usage("--every must be at least 1".into()).into());
    }
    Ok(every)
}
