//! Importing: runs that were logged as states become episodes of a LeRobot dataset, with pictures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use image::RgbImage;
use indicatif::ProgressBar;
use rapport::dataset::{
    CameraFeature, DatasetConfig, DatasetWriter, Dtype, EpisodeWriter, Feature, VideoCodec,
};
use rapport::sim::log::{Layout, Log, Playback, Verdict};
use rapport::sim::render::{Backend, Quality};
use rayon::prelude::*;
use serde::Serialize;

use crate::{interrupt, schema};

/// Pictures of every camera that wait to be compressed, per thread.
const AHEAD: usize = 16;

/// How runs become episodes.
#[derive(Clone, Debug)]
pub struct Import {
    /// Cameras of the model.
    pub cameras: Vec<String>,
    /// Width and height of the pictures.
    pub size: (u32, u32),
    /// A row for every so many logged states.
    pub every: usize,
    /// Compression of the video.
    pub codec: VideoCodec,
    /// What draws the pictures.
    pub renderer: Backend,
    /// How well.
    pub quality: Quality,
}

/// What became of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// Its name.
    pub name: String,
    /// The task in words.
    pub instruction: String,
    /// Number of the episode.
    pub episode: usize,
    /// Logged states.
    pub states: usize,
    /// Rows of the episode.
    pub rows: usize,
    /// Whether the task is done in the last state. Absent where nobody knows.
    pub success: Option<bool>,
    /// The first state in which the task is done.
    pub first_success: Option<usize>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Pictures drawn in a second, all threads together, compression not counted.
    pub pictures_per_second: f64,
}

/// Columns of the dataset that all runs share.
#[derive(Debug)]
pub struct Columns {
    robot: Vec<String>,
    /// Those of all runs, each once, in the order in which they first come.
    environment: Vec<String>,
    referee: bool,
}

impl Columns {
    /// The columns of these runs, which must be of one robot and one rate.
    pub fn of(logs: &[Arc<Log>]) -> anyhow::Result<Self> {
        let first = logs.first().context("there is no run to import")?;
        let robot = Layout::names(&first.layout.robot);
        let mut environment: Vec<String> = Vec::new();
        for log in logs {
            let same = log.rate_hz == first.rate_hz
                && log.action == first.action
                && log.referee.is_some() == first.referee.is_some()
                && Layout::names(&log.layout.robot) == robot
                && log.columns.len() == first.columns.len()
                && log
                    .columns
                    .iter()
                    .zip(&first.columns)
                    .all(|(a, b)| a.0 == b.0 && a.1.width() == b.1.width());
            ensure!(
                same,
                "{} and {} differ in rate, robot, actions or columns, so they cannot be in one dataset; import them one by one",
                first.name,
                log.name
            );
            for name in Layout::names(&log.layout.environment) {
                if !environment.contains(&name) {
                    environment.push(name);
                }
            }
        }
        Ok(Self {
            robot,
            environment,
            referee: first.referee.is_some(),
        })
    }

    /// A dataset for runs like `log`.
    pub fn config(&self, log: &Log, import: &Import) -> anyhow::Result<DatasetConfig> {
        let fps = log.rate_hz / import.every as f64;
        ensure!(
            fps >= 1.0 && (fps - fps.round()).abs() < 1e-6,
            "the states come at {} Hz; every {} of them makes {fps} rows a second, and a dataset needs a whole number",
            log.rate_hz,
            import.every
        );
        let mut features = vec![Feature::named(
            schema::ACTION,
            log.action.iter().map(|(name, _)| name.clone()),
        )];
        if !self.robot.is_empty() {
            features.push(Feature::named(schema::STATE, self.robot.clone()));
        }
        if !self.environment.is_empty() {
            features.push(Feature::named(
                schema::ENVIRONMENT,
                self.environment.clone(),
            ));
        }
        if self.referee {
            features.push(Feature::new(schema::REWARD, 1));
            features.push(Feature::new(schema::SUCCESS, 1).stored_as(Dtype::Bool));
        }
        for (name, table) in &log.columns {
            // A column of the log under a name of ours is what the log's owner wants there.
            features.retain(|feature| feature.name != *name);
            features.push(Feature::new(name, table.width()));
        }
        Ok(DatasetConfig {
            fps: fps.round() as u32,
            robot_type: log.robot_type.clone(),
            features,
            cameras: import
                .cameras
                .iter()
                .map(|name| CameraFeature::new(name, import.size.0, import.size.1))
                .collect(),
            codec: import.codec,
        })
    }
}

/// One row before it is written.
struct Row {
    robot: Vec<f64>,
    environment: Vec<f64>,
    pictures: Vec<RgbImage>,
}

/// Shows a run again, draws it, and saves it as an episode. The bar goes on by one for each row.
pub fn write(
    log: &Arc<Log>,
    columns: &Columns,
    import: &Import,
    writer: &mut DatasetWriter,
    bar: &ProgressBar,
) -> anyhow::Result<Imported> {
    let begin = Instant::now();
    let threads = rayon::current_num_threads().clamp(1, 16);
    let mut playbacks = (0..threads)
        .map(|_| Playback::new(log.clone(), import.renderer, import.quality))
        .collect::<Result<Vec<_>, _>>()?;
    let verdicts = verdicts(&mut playbacks[0])?;
    let numbers = Numbers::new(log, columns, verdicts.as_deref());
    let mut episode = writer.begin(&log.instruction)?;
    let rows: Vec<usize> = (0..log.actions.len()).step_by(import.every).collect();
    let mut drawing = Duration::ZERO;
    for part in rows.chunks(AHEAD * threads) {
        ensure!(!interrupt::requested(), "stopped; nothing was written");
        let start = Instant::now();
        let shown = playbacks
            .par_iter_mut()
            .zip(part.par_chunks(part.len().div_ceil(threads)))
            .map(|(playback, rows)| {
                rows.iter()
                    .map(|&row| look(playback, row, import))
                    .collect::<anyhow::Result<Vec<Row>>>()
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        drawing += start.elapsed();
        for (&row, seen) in part.iter().zip(shown.into_iter().flatten()) {
            numbers
                .push(&mut episode, import, row, &seen)
                .with_context(|| format!("{}, state {row}", log.name))?;
            bar.inc(1);
        }
    }
    let count = rows.len();
    let number = writer.save(episode)?;
    let pictures = (count * import.cameras.len()) as f64;
    Ok(Imported {
        name: log.name.clone(),
        instruction: log.instruction.clone(),
        episode: number,
        states: log.states.len(),
        rows: count,
        success: verdicts.as_ref().and_then(|v| v.last()).map(|v| v.success),
        first_success: verdicts
            .as_ref()
            .and_then(|v| v.iter().position(|v| v.success)),
        seconds: begin.elapsed().as_secs_f64(),
        pictures_per_second: pictures / drawing.as_secs_f64().max(1e-9),
    })
}

/// The numbers of the rows of one run.
struct Numbers<'a> {
    log: &'a Log,
    features: Vec<&'a str>,
    /// Where each number of the dataset's environment state is in that of the run.
    places: Vec<Option<usize>>,
    verdicts: Option<&'a [Verdict]>,
}

impl<'a> Numbers<'a> {
    fn new(log: &'a Log, columns: &Columns, verdicts: Option<&'a [Verdict]>) -> Self {
        let own = Layout::names(&log.layout.environment);
        let place = |name: &String| own.iter().position(|known| known == name);
        let given = |present: bool, name| (present && log.column(name).is_none()).then_some(name);
        Self {
            log,
            features: [
                given(true, schema::ACTION),
                given(!columns.robot.is_empty(), schema::STATE),
                given(!columns.environment.is_empty(), schema::ENVIRONMENT),
                given(verdicts.is_some(), schema::REWARD),
                given(verdicts.is_some(), schema::SUCCESS),
            ]
            .into_iter()
            .flatten()
            .collect(),
            places: columns.environment.iter().map(place).collect(),
            verdicts,
        }
    }

    /// The verdict on the state that follows row `row`. Where the state after the last action was not logged, the last state
    /// that was stands for it.
    fn next(&self, row: usize, every: usize) -> Verdict {
        let verdicts = self.verdicts.unwrap_or_default();
        let next = (row + every).min(verdicts.len().saturating_sub(1));
        verdicts.get(next).copied().unwrap_or_default()
    }

    fn push(
        &self,
        episode: &mut EpisodeWriter,
        import: &Import,
        row: usize,
        seen: &Row,
    ) -> anyhow::Result<()> {
        let next = self.next(row, import.every);
        let mut values: Vec<(&str, Vec<f64>)> = self
            .features
            .iter()
            .map(|&name| {
                let value = match name {
                    schema::ACTION => self.log.action_over(row, row + import.every),
                    schema::STATE => seen.robot.clone(),
                    schema::ENVIRONMENT => self
                        .places
                        .iter()
                        .map(|place| place.map_or(0.0, |place| seen.environment[place]))
                        .collect(),
                    schema::REWARD => vec![next.reward],
                    _ => vec![f64::from(u8::from(next.success))],
                };
                (name, value)
            })
            .collect();
        for (name, table) in &self.log.columns {
            values.push((name, table.row(row).to_vec()));
        }
        let values: Vec<(&str, Vec<f32>)> = values
            .into_iter()
            .map(|(name, row)| (name, row.into_iter().map(|value| value as f32).collect()))
            .collect();
        let values: Vec<(&str, &[f32])> = values
            .iter()
            .map(|(name, row)| (*name, row.as_slice()))
            .collect();
        let pictures: Vec<(&str, &RgbImage)> = import
            .cameras
            .iter()
            .map(String::as_str)
            .zip(&seen.pictures)
            .collect();
        Ok(episode.push(&values, &pictures)?)
    }
}

/// The verdict on every state. None: there is no referee.
pub fn verdicts(playback: &mut Playback) -> anyhow::Result<Option<Vec<Verdict>>> {
    let mut verdicts = Vec::new();
    for row in 0..playback.log().states.len() {
        playback.show(row)?;
        let Some(verdict) = playback.verdict() else {
            return Ok(None);
        };
        verdicts.push(verdict);
    }
    Ok(Some(verdicts))
}

fn look(playback: &mut Playback, row: usize, import: &Import) -> anyhow::Result<Row> {
    playback.show(row)?;
    let pictures = import
        .cameras
        .iter()
        .map(|camera| {
            let mut picture = RgbImage::new(import.size.0, import.size.1);
            playback.render(camera, &mut picture)?;
            Ok(picture)
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Row {
        robot: playback.robot_state(),
        environment: playback.environment_state(),
        pictures,
    })
}
