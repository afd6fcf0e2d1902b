//! [`Dataset`]: reading episodes, whoever wrote them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;

use crate::data::{self, Columns};
use crate::episode::{Column, Episode};
use crate::episodes::{self, EpisodeMeta};
use crate::error::{Error, Result};
use crate::info::{self, Info, camera_name};
use crate::stats::{self, Stats};
use crate::tasks;
use crate::video::VideoReader;

/// A dataset opened for reading.
///
/// It shows the episodes that `meta/info.json` counted when it was opened; an episode that is being recorded, or whose
/// recording was interrupted, does not appear.
pub struct Dataset {
    dir: PathBuf,
    info: Info,
    tasks: Vec<String>,
    episodes: Vec<EpisodeMeta>,
}

impl Dataset {
    /// Opens the dataset in `dir`: written by Rapport or by LeRobot, version 3.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADataset`], [`Error::OldVersion`], [`Error::NewVersion`], or [`Error::Corrupt`]
    /// when the tables in `meta/` are damaged or incomplete.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        let info = Info::read(&dir)?;
        let tasks = if info.total_tasks > 0 {
            tasks::read(&dir)?
        } else {
            Vec::new()
        };
        let mut rows = Vec::new();
        for path in episodes::files(&dir)? {
            if rows.len() >= info.total_episodes {
                break;
            }
            rows.extend(episodes::read(&path, &info)?.rows);
        }
        rows.truncate(info.total_episodes);
        check_positions(&dir, &info, &rows)?;
        Ok(Self {
            dir,
            info,
            tasks,
            episodes: rows,
        })
    }

    /// The dataset's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `meta/info.json`.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Number of episodes.
    pub fn len(&self) -> usize {
        self.episodes.len()
    }

    /// True when nothing was saved.
    pub fn is_empty(&self) -> bool {
        self.episodes.is_empty()
    }

    /// Number of frames of all episodes.
    pub fn frames_total(&self) -> usize {
        self.episodes.iter().map(|e| e.length).sum()
    }

    /// Task sentences by task index.
    pub fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// Names of the cameras, as [`Episode::cameras`] has them.
    pub fn cameras(&self) -> Vec<String> {
        let images = self.info.features.iter();
        images
            .filter(|(_, f)| matches!(f.dtype.as_str(), "video" | "image"))
            .map(|(key, _)| camera_name(key).to_owned())
            .collect()
    }

    /// Statistics of the features; none when the dataset has no `meta/stats.json`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the file is not JSON.
    pub fn stats(&self) -> Result<Option<Stats>> {
        stats::read(&self.dir)
    }

    /// Where episode `index` is and how long.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such episode.
    pub fn meta(&self, index: usize) -> Result<&EpisodeMeta> {
        self.episodes.get(index).ok_or_else(|| {
            Error::Invalid(format!(
                "there is no episode {index} in {}, which has {}",
                self.dir.display(),
                self.episodes.len()
            ))
        })
    }

    /// Episode `index` with its images.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such episode; [`Error::NotFound`] or [`Error::Corrupt`] when a file of it is
    /// missing or damaged.
    pub fn episode(&self, index: usize) -> Result<Episode> {
        let mut episode = self.episode_columns(index)?;
        for camera in self.cameras() {
            let frames = self.frames(index, &camera)?;
            episode.cameras.insert(camera, frames);
        }
        Ok(episode)
    }

    /// Episode `index` without images. Columns are the numeric features except those that the dataset maintains itself
    /// (time, numbers); whole numbers and truth values come as floats.
    ///
    /// # Errors
    /// As [`episode`](Self::episode).
    pub fn episode_columns(&self, index: usize) -> Result<Episode> {
        let meta = self.meta(index)?;
        let rows = self.rows(meta)?;
        let task = rows["task_index"].first().map_or(0.0, |t| *t) as usize;
        let task = match self.tasks.get(task) {
            Some(text) => text.clone(),
            None => meta.tasks.first().cloned().unwrap_or_default(),
        };
        let mut columns = BTreeMap::new();
        for (name, feature) in self.info.features.numeric() {
            if info::is_default(name) {
                continue;
            }
            let column = Column {
                names: feature.component_names(),
                dim: feature.dim(),
                values: rows[name].iter().map(|v| *v as f32).collect(),
            };
            columns.insert(name.to_owned(), column);
        }
        Ok(Episode {
            task,
            fps: self.info.fps,
            columns,
            cameras: BTreeMap::new(),
        })
    }

    /// All images of a camera in episode `index`, `[time]`. The camera is given by its name (`front`) or feature name.
    ///
    /// # Errors
    /// As [`episode`](Self::episode); [`Error::Invalid`] when there is no such camera.
    pub fn frames(&self, index: usize, camera: &str) -> Result<Vec<RgbImage>> {
        let meta = self.meta(index)?;
        self.images(index, camera, 0..meta.length)
    }

    /// Images `frames` of a camera in episode `index`, `[time]`.
    ///
    /// # Errors
    /// As [`frames`](Self::frames); [`Error::Invalid`] when the episode is shorter.
    pub fn frames_between(
        &self,
        index: usize,
        camera: &str,
        frames: std::ops::Range<usize>,
    ) -> Result<Vec<RgbImage>> {
        let length = self.meta(index)?.length;
        if frames.end > length {
            return Err(Error::Invalid(format!(
                "there are no frames {} to {} in episode {index} of {}, which has {length}",
                frames.start,
                frames.end,
                self.dir.display()
            )));
        }
        self.images(index, camera, frames)
    }

    /// Image number `frame` of a camera in episode `index`.
    ///
    /// # Errors
    /// As [`frames`](Self::frames); [`Error::Invalid`] when the episode is shorter.
    pub fn frame(&self, index: usize, camera: &str, frame: usize) -> Result<RgbImage> {
        let length = self.meta(index)?.length;
        if frame >= length {
            return Err(Error::Invalid(format!(
                "there is no frame {frame} in episode {index} of {}, which has {length}",
                self.dir.display()
            )));
        }
        let mut images = self.images(index, camera, frame..frame + 1)?;
        images
            .pop()
            .ok_or_else(|| Error::corrupt(&self.dir, format!("frame {frame} is missing")))
    }

    fn images(
        &self,
        index: usize,
        camera: &str,
        frames: std::ops::Range<usize>,
    ) -> Result<Vec<RgbImage>> {
        let meta = self.meta(index)?;
        let key = self.info.camera_key(camera).ok_or_else(|| {
            Error::Invalid(format!(
                "there is no camera {camera} in {}; it has: {}",
                self.dir.display(),
                self.cameras().join(", ")
            ))
        })?;
        let Some(span) = meta.videos.get(&key) else {
            return self.pictures(meta, &key, frames);
        };
        let path = self.info.video_file(&key, span.file).ok_or_else(|| {
            Error::corrupt(
                &Info::path(&self.dir),
                "it has cameras but no video_path, the place of their files",
            )
        })?;
        let mut video = VideoReader::open(self.dir.join(path))?;
        frames
            .map(|t| video.frame_at(span.from + t as f64 / f64::from(self.info.fps)))
            .collect()
    }

    /// Images of a feature that is stored as pictures in the data file.
    fn pictures(
        &self,
        meta: &EpisodeMeta,
        key: &str,
        frames: std::ops::Range<usize>,
    ) -> Result<Vec<RgbImage>> {
        let path = self.dir.join(self.info.data_file(meta.data));
        let encoded = data::read_pictures(&path, key, meta.index)?;
        let wanted = encoded.get(frames.clone()).ok_or_else(|| {
            Error::corrupt(
                &path,
                format!(
                    "episode {} has {} pictures of {key} instead of {}",
                    meta.index,
                    encoded.len(),
                    meta.length
                ),
            )
        })?;
        let decode = |bytes: &Vec<u8>| {
            image::load_from_memory(bytes)
                .map(|i| i.to_rgb8())
                .map_err(|e| {
                    Error::corrupt(
                        &path,
                        format!("a picture of {key} cannot be decoded as PNG ({e})"),
                    )
                })
        };
        wanted.iter().map(decode).collect()
    }

    fn rows(&self, meta: &EpisodeMeta) -> Result<Columns> {
        let path = self.dir.join(self.info.data_file(meta.data));
        let rows = data::read(&path, &self.info, Some(meta.index))?;
        for (name, _) in info::DEFAULT_FEATURES {
            if !rows.contains_key(name) {
                return Err(Error::corrupt(
                    &Info::path(&self.dir),
                    format!("it does not list the column {name}, which every dataset has"),
                ));
            }
        }
        let frames = &rows["frame_index"];
        if frames.len() != meta.length || (0..frames.len()).any(|t| frames[t] != t as f64) {
            return Err(Error::corrupt(
                &path,
                format!(
                    "it does not hold frames 0 to {} of episode {}, but {} rows",
                    meta.length.saturating_sub(1),
                    meta.index,
                    frames.len()
                ),
            ));
        }
        Ok(rows)
    }
}

/// Readers look an episode up by its position in the table, so that must be its number.
fn check_positions(dir: &Path, info: &Info, rows: &[EpisodeMeta]) -> Result<()> {
    let table = dir.join("meta/episodes");
    if rows.len() < info.total_episodes {
        return Err(Error::corrupt(
            &table,
            format!(
                "it lists {} episodes, and meta/info.json counts {}",
                rows.len(),
                info.total_episodes
            ),
        ));
    }
    match rows.iter().enumerate().find(|(i, row)| row.index != *i) {
        Some((i, row)) => Err(Error::corrupt(
            &table,
            format!("row {i} is of episode {}", row.index),
        )),
        None => Ok(()),
    }
}
