//! [`DatasetWriter`]: recording episodes so that a kill at any instant loses at most the one being recorded.
//!
//! Every episode has files of its own: one data file, one row file of the episode table, one mp4 per camera.
//!
//! 1. While an episode is recorded, its video grows in the hidden directory `.partial/`, where no reader looks.
//! 2. Saving first writes everything else next to its final place under a name that ends in `.partial`, and waits until
//!    all of it is on the disk. A full disk shows here, with the dataset untouched.
//! 3. Then files only get their names, in this order: `meta/tasks.parquet`, the mp4 files, the data file, the episode's
//!    row, `meta/stats.json`; the directories are synced; `meta/info.json` comes last and is synced.
//!
//! `meta/info.json` counts the episodes, so an episode exists from the instant at which that file is replaced, and
//! everything before that is a leftover that [`DatasetWriter::open`] removes.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use crate::commit::Commit;
use crate::config::DatasetConfig;
use crate::data::{self, Place};
use crate::durable;
use crate::episode::Episode;
use crate::episodes::{self, EpisodeMeta, PixelTotals, VideoSpan};
use crate::error::{Error, Result};
use crate::info::{FileIndex, Info};
use crate::recording::{EpisodeWriter, Recorded};
use crate::recovery::{self, Found};
use crate::stats::{self, Accumulator};
use crate::tasks;

/// Directory of recordings in progress, inside the dataset.
pub(crate) const STAGING: &str = ".partial";

/// A dataset opened for recording. Only one process at a time can hold it.
pub struct DatasetWriter {
    dir: PathBuf,
    _lock: File,
    config: Arc<DatasetConfig>,
    info: Info,
    tasks: Vec<String>,
    next: NextFiles,
    /// Columns of the existing episode table.
    columns: Option<Vec<String>>,
    /// Statistics of all saved episodes; none after a failed save, then they are computed again.
    statistics: Option<Accumulator>,
    removed: Vec<PathBuf>,
    begun: usize,
    /// Set when a save failed after the first file got its name.
    must_reopen: bool,
}

/// Numbers of the files of the next episode.
#[derive(Clone, Debug, Default)]
pub(crate) struct NextFiles {
    pub data: FileIndex,
    pub episodes: FileIndex,
    pub videos: BTreeMap<String, FileIndex>,
}

impl DatasetWriter {
    /// Creates an empty dataset in `dir`, which must not exist or be empty.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the configuration cannot be used or `dir` holds something; [`Error::Io`],
    /// [`Error::DiskFull`].
    pub fn create(dir: impl AsRef<Path>, config: DatasetConfig) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        config.validate()?;
        if Info::path(&dir).exists() {
            return Err(Error::Invalid(format!(
                "{} is a dataset already; open it to append episodes, or choose another directory",
                dir.display()
            )));
        }
        if let Some(other) = durable::entries(&dir)?.iter().find(|p| !is_leftover(p)) {
            return Err(Error::Invalid(format!(
                "{} is not empty (it holds {}); choose a new directory for the dataset",
                dir.display(),
                other.file_name().unwrap_or_default().to_string_lossy()
            )));
        }
        durable::create_dir(&dir.join("meta"))?;
        let lock = durable::lock(&dir)?;
        let info = config.info();
        durable::replace(&Info::path(&dir), &info.to_bytes())?;
        let videos = info.features.videos();
        let next = NextFiles {
            videos: videos
                .map(|(k, _)| (k.to_owned(), FileIndex::default()))
                .collect(),
            ..Default::default()
        };
        Ok(Self {
            dir,
            _lock: lock,
            config: Arc::new(config),
            info,
            tasks: Vec::new(),
            next,
            columns: None,
            statistics: Some(Accumulator::default()),
            removed: Vec::new(),
            begun: 0,
            must_reopen: false,
        })
    }

    /// Opens an existing dataset to append episodes, and removes what an interrupted recording left behind
    /// ([`removed`](Self::removed) lists it). Works on datasets of LeRobot too when their features are of the kinds that
    /// [`DatasetConfig`] has.
    ///
    /// # Errors
    /// Those of [`Dataset::open`](crate::Dataset::open); [`Error::Locked`] when another process holds the dataset;
    /// [`Error::Invalid`] when its features cannot be recorded here; [`Error::Corrupt`] when saved episodes are damaged.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        Info::read(&dir)?;
        let lock = durable::lock(&dir)?;
        // Read again: another process may have saved an episode before it let go of the lock.
        let info = Info::read(&dir)?;
        let config = DatasetConfig::of_dataset(&dir, &info)?;
        let Found {
            tasks,
            next,
            columns,
            statistics,
            removed,
        } = recovery::recover(&dir, &info)?;
        Ok(Self {
            dir,
            _lock: lock,
            config: Arc::new(config),
            info,
            tasks,
            next,
            columns,
            statistics: Some(statistics),
            removed,
            begun: 0,
            must_reopen: false,
        })
    }

    /// What is recorded.
    pub fn config(&self) -> &DatasetConfig {
        &self.config
    }

    /// The dataset's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of episodes saved.
    pub fn len(&self) -> usize {
        self.info.total_episodes
    }

    /// True when no episode was saved.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leftovers of an interrupted recording that [`open`](Self::open) removed, relative to the dataset.
    pub fn removed(&self) -> &[PathBuf] {
        &self.removed
    }

    /// Starts an episode.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the task is empty or the encoder is missing; [`Error::Io`], [`Error::DiskFull`].
    pub fn begin(&mut self, task: &str) -> Result<EpisodeWriter> {
        self.begun += 1;
        let dir = self.dir.join(STAGING).join(format!("{}", self.begun));
        EpisodeWriter::begin(self.config.clone(), task, dir)
    }

    /// Makes a recorded episode part of the dataset and returns its number. When this returns, the episode is on the disk.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the episode is empty, broke off, or belongs to another dataset; [`Error::DiskFull`] or
    /// [`Error::Io`]. The episode is then lost; those saved before are not touched.
    pub fn save(&mut self, episode: EpisodeWriter) -> Result<usize> {
        if self.must_reopen {
            return Err(Error::Invalid(format!(
                "an earlier episode could not be completed in {}; open the dataset again to clean up",
                self.dir.display()
            )));
        }
        if !Arc::ptr_eq(&self.config, &episode.config) {
            return Err(Error::Invalid(format!(
                "the episode \"{}\" was begun for another dataset than {}",
                episode.task(),
                self.dir.display()
            )));
        }
        let recorded = episode.finish()?;
        let mut statistics = match self.statistics.take() {
            Some(known) => known,
            None => recovery::statistics(&self.dir, &self.info)?,
        };
        let staged = self.stage(&recorded, &mut statistics)?;
        if let Err(e) = staged.commit.publish() {
            self.must_reopen = true;
            return Err(e);
        }
        self.statistics = Some(statistics);
        self.info = staged.info;
        self.tasks = staged.tasks;
        self.columns = Some(staged.columns);
        let chunks_size = self.info.chunks_size;
        self.next.data = self.next.data.next(chunks_size);
        self.next.episodes = self.next.episodes.next(chunks_size);
        for at in self.next.videos.values_mut() {
            *at = at.next(chunks_size);
        }
        Ok(self.info.total_episodes - 1)
    }

    /// Records and saves a whole episode.
    ///
    /// # Errors
    /// [`Error::Invalid`] when its rate, columns or cameras are not those of the dataset or differ in length; otherwise as
    /// [`EpisodeWriter::push`] and [`save`](Self::save).
    pub fn write_episode(&mut self, episode: &Episode) -> Result<usize> {
        if episode.fps != self.config.fps {
            return Err(Error::Invalid(format!(
                "the episode has {} rows per second, and the dataset {} has {}",
                episode.fps,
                self.dir.display(),
                self.config.fps
            )));
        }
        let len = episode.len();
        let columns = episode.columns.iter().map(|(n, c)| (n, c.len()));
        let cameras = episode.cameras.iter().map(|(n, c)| (n, c.len()));
        if let Some((name, rows)) = columns.chain(cameras).find(|(_, rows)| *rows != len) {
            return Err(Error::Invalid(format!(
                "{name} has {rows} rows in an episode of {len} frames; every frame needs a value"
            )));
        }
        let mut writer = self.begin(&episode.task)?;
        for t in 0..len {
            let values: Vec<(&str, &[f32])> = episode
                .columns
                .iter()
                .map(|(n, c)| (n.as_str(), c.row(t)))
                .collect();
            let images: Vec<(&str, &RgbImage)> = episode
                .cameras
                .iter()
                .map(|(n, c)| (n.as_str(), &c[t]))
                .collect();
            writer.push(&values, &images)?;
        }
        self.save(writer)
    }

    /// Writes everything that the episode changes under partial names, and syncs it.
    fn stage(&self, recorded: &Recorded, statistics: &mut Accumulator) -> Result<Staged> {
        let mut info = self.info.clone();
        let mut tasks = self.tasks.clone();
        let task = tasks.iter().position(|t| *t == recorded.task);
        let task = task.unwrap_or_else(|| {
            tasks.push(recorded.task.clone());
            tasks.len() - 1
        });
        let place = Place {
            episode: info.total_episodes,
            first_frame: info.total_frames,
            task,
        };
        let columns = data::with_defaults(
            recorded.columns.clone(),
            recorded.len,
            self.config.fps,
            place,
        );
        let mut own = Accumulator::default();
        for (name, feature) in info.features.numeric() {
            if let Some(values) = columns.get(name) {
                own.add_numeric(name, feature.dim(), values);
            }
        }
        let mut videos = BTreeMap::new();
        let mut video_files = Vec::new();
        for ((key, at), (_, pixels)) in self.camera_files().zip(&recorded.videos) {
            let span = VideoSpan {
                file: at,
                from: 0.0,
                to: recorded.len as f64 / f64::from(self.config.fps),
            };
            let to = info.video_file(&key, at).ok_or_else(|| {
                Error::corrupt(&Info::path(&self.dir), "it has cameras but no video_path")
            })?;
            video_files.push(self.dir.join(to));
            own.add_pixels(&key, pixels);
            videos.insert(key, span);
        }
        statistics.merge(&own);
        let meta = EpisodeMeta {
            index: place.episode,
            tasks: vec![recorded.task.clone()],
            length: recorded.len,
            first_frame: place.first_frame,
            data: self.next.data,
            videos,
        };
        info.total_episodes += 1;
        info.total_frames += recorded.len;
        info.total_tasks = tasks.len();
        let all = format!("0:{}", info.total_episodes);
        info.splits.insert("train".into(), all);
        let pixels = PixelTotals {
            episodes: info.total_episodes,
            cameras: statistics.pixels().clone(),
        };
        let row = episodes::encode(
            &meta,
            &own.stats(),
            self.next.episodes,
            self.columns.as_deref(),
            &pixels,
        )?;

        let mut commit = Commit::default();
        if tasks.len() != self.tasks.len() {
            commit.replace(tasks::path(&self.dir), &tasks::encode(&tasks)?)?;
        }
        for ((from, _), to) in recorded.videos.iter().zip(video_files) {
            commit.move_in(from, to)?;
        }
        let data_file = self.dir.join(info.data_file(self.next.data));
        commit.create(data_file, &data::encode(&info, &columns)?)?;
        let row_file = self.dir.join(Info::episodes_file(self.next.episodes));
        commit.create(row_file.clone(), &row)?;
        commit.replace(stats::path(&self.dir), &statistics.to_bytes())?;
        commit.last(Info::path(&self.dir), &info.to_bytes())?;
        let columns = match &self.columns {
            Some(known) => known.clone(),
            None => episodes::read(&durable::partial(&row_file), &info)?.columns,
        };
        Ok(Staged {
            commit,
            info,
            tasks,
            columns,
        })
    }

    fn camera_files(&self) -> impl Iterator<Item = (String, FileIndex)> {
        self.info.features.videos().map(|(key, _)| {
            let at = self.next.videos.get(key).copied().unwrap_or_default();
            (key.to_owned(), at)
        })
    }
}

/// A saved episode that is on the disk and waits for its names.
struct Staged {
    commit: Commit,
    info: Info,
    tasks: Vec<String>,
    columns: Vec<String>,
}

/// What an interrupted `create` may have left.
fn is_leftover(path: &Path) -> bool {
    let empty = |p: &Path| durable::entries(p).is_ok_and(|e| e.iter().all(|f| is_partial(f)));
    path.file_name().is_some_and(|n| n == STAGING)
        || (path.file_name().is_some_and(|n| n == "meta") && empty(path))
}

fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == durable::PARTIAL)
}
