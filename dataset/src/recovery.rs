//! What an interrupted recording left behind goes, what was saved is counted up: for appending, and for [`repair`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::{self, Columns};
use crate::durable;
use crate::episodes::{self, EpisodeMeta, PixelTotals};
use crate::error::{Error, Result};
use crate::info::{FileIndex, Info};
use crate::stats::{self, Accumulator, PixelHistogram};
use crate::tasks;
use crate::video::VideoReader;
use crate::writer::{NextFiles, STAGING};

/// State of a dataset that is ready for the next episode.
pub(crate) struct Found {
    pub tasks: Vec<String>,
    pub next: NextFiles,
    pub columns: Option<Vec<String>>,
    pub statistics: Accumulator,
    /// What was removed, relative to the dataset.
    pub removed: Vec<PathBuf>,
}

/// Removes leftovers and reads what is needed to go on. The caller holds the lock.
///
/// The statistics are put right before anything is removed, so that a kill in here is noticed by the next call.
pub(crate) fn recover(dir: &Path, info: &Info) -> Result<Found> {
    let mut table = read_table(dir, info)?;
    let Rows {
        mut leftovers,
        statistics,
        tasks_used,
    } = read_rows(dir, info, &table)?;
    leftovers.append(&mut table.leftovers);
    leftovers.extend(leftover_videos(dir, info, &table.rows)?);

    let mut tasks = if tasks::path(dir).is_file() {
        tasks::read(dir)?
    } else {
        Vec::new()
    };
    // A task that rows refer to stays, whatever `info.json` counts.
    let total_tasks = info.total_tasks.max(tasks_used);
    if tasks.len() < total_tasks {
        return Err(Error::corrupt(
            &tasks::path(dir),
            format!(
                "it holds {} of {} tasks; verify the dataset",
                tasks.len(),
                total_tasks
            ),
        ));
    }
    if tasks.len() > total_tasks {
        tasks.truncate(total_tasks);
        if tasks.is_empty() {
            leftovers.push(tasks::path(dir));
        } else {
            durable::replace(&tasks::path(dir), &tasks::encode(&tasks)?)?;
        }
    }
    if !leftovers.is_empty() && info.total_episodes > 0 {
        let bytes = stats::with_others(dir, &statistics)?;
        durable::replace(&stats::path(dir), &bytes)?;
    } else if info.total_episodes == 0 && stats::path(dir).is_file() {
        leftovers.push(stats::path(dir));
    }
    leftovers.extend(partial_files(dir)?);
    for path in &leftovers {
        durable::remove(path)?;
        durable::sync_parent(path)?;
    }
    let staging = dir.join(STAGING);
    if staging.exists() {
        std::fs::remove_dir_all(&staging).map_err(|e| Error::io("remove", &staging, e))?;
        leftovers.push(staging);
    }
    let relative = |p: PathBuf| p.strip_prefix(dir).map_or(p.clone(), Path::to_path_buf);
    Ok(Found {
        tasks,
        next: next_files(dir, info)?,
        columns: table.columns,
        statistics,
        removed: leftovers.into_iter().map(relative).collect(),
    })
}

/// What [`repair`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repaired {
    /// Leftovers of an interrupted recording that were removed, relative to the dataset.
    pub removed: Vec<PathBuf>,
    /// Features whose statistics were computed again.
    pub statistics: Vec<String>,
}

/// Removes what an interrupted recording left in the dataset in `dir` and computes `meta/stats.json` again from its rows,
/// with exact quantiles. Saved episodes are not touched.
///
/// Statistics of videos that Rapport recorded are exact; of others, evenly spread frames are decoded, as LeRobot does. Those
/// of features that are neither numbers nor video are kept.
///
/// # Errors
/// Those of [`Dataset::open`](crate::Dataset::open); [`Error::Locked`] while the dataset is being recorded;
/// [`Error::Corrupt`] when a saved episode is damaged, which nothing can bring back.
pub fn repair(dir: impl AsRef<Path>) -> Result<Repaired> {
    let dir = dir.as_ref();
    Info::read(dir)?;
    let _lock = durable::lock(dir)?;
    let info = Info::read(dir)?;
    let found = recover(dir, &info)?;
    let mut repaired = Repaired {
        removed: found.removed,
        statistics: Vec::new(),
    };
    if info.total_episodes > 0 {
        let bytes = stats::with_others(dir, &found.statistics)?;
        durable::replace(&stats::path(dir), &bytes)?;
        repaired.statistics = found.statistics.stats().into_keys().collect();
    }
    Ok(repaired)
}

/// Statistics of all saved episodes.
pub(crate) fn statistics(dir: &Path, info: &Info) -> Result<Accumulator> {
    let table = read_table(dir, info)?;
    Ok(read_rows(dir, info, &table)?.statistics)
}

#[derive(Default)]
struct EpisodeTable {
    rows: Vec<EpisodeMeta>,
    columns: Option<Vec<String>>,
    pixels: Option<PixelTotals>,
    leftovers: Vec<PathBuf>,
}

fn read_table(dir: &Path, info: &Info) -> Result<EpisodeTable> {
    let mut table = EpisodeTable::default();
    for path in episodes::files(dir)? {
        let file = episodes::read(&path, info)?;
        let numbers = file.rows.iter().map(|r| r.index);
        if is_leftover(&path, numbers, info.total_episodes)? {
            table.leftovers.push(path);
            continue;
        }
        table.columns.get_or_insert(file.columns);
        table.rows.extend(file.rows);
        table.pixels = file.pixels;
    }
    let in_order = table.rows.iter().enumerate().all(|(i, r)| r.index == i);
    if table.rows.len() != info.total_episodes || !in_order {
        return Err(Error::corrupt(
            &dir.join("meta/episodes"),
            format!(
                "it does not list episodes 0 to {} in order; verify the dataset",
                info.total_episodes.saturating_sub(1)
            ),
        ));
    }
    Ok(table)
}

/// What the data files hold.
struct Rows {
    /// Files that are leftovers.
    leftovers: Vec<PathBuf>,
    /// Statistics of the others.
    statistics: Accumulator,
    /// One more than the largest task number in the others.
    tasks_used: usize,
}

fn read_rows(dir: &Path, info: &Info, table: &EpisodeTable) -> Result<Rows> {
    let mut leftovers = Vec::new();
    let mut all = Columns::new();
    let mut rows = 0;
    for path in durable::chunked_files(&dir.join("data"), "parquet")? {
        let columns = data::read(&path, info, None)?;
        let owner = columns.get("episode_index").ok_or_else(|| {
            Error::corrupt(
                &Info::path(dir),
                "it does not list the column episode_index",
            )
        })?;
        if is_leftover(
            &path,
            owner.iter().map(|v| *v as usize),
            info.total_episodes,
        )? {
            leftovers.push(path);
            continue;
        }
        rows += owner.len();
        for (name, values) in columns {
            all.entry(name).or_default().extend(values);
        }
    }
    if rows != info.total_frames {
        return Err(Error::corrupt(
            &dir.join("data"),
            format!(
                "it holds {rows} frames, and meta/info.json counts {}; verify the dataset",
                info.total_frames
            ),
        ));
    }
    let mut statistics = Accumulator::default();
    for (name, feature) in info.features.numeric() {
        if let Some(values) = all.get(name) {
            statistics.add_numeric(name, feature.dim(), values);
        }
    }
    if !table.rows.is_empty() {
        for (key, pixels) in pixels(dir, info, table)? {
            statistics.add_pixels(&key, &pixels);
        }
    }
    let task = |last: usize, t: &f64| last.max(*t as usize + 1);
    Ok(Rows {
        leftovers,
        statistics,
        tasks_used: all.get("task_index").map_or(0, |t| t.iter().fold(0, task)),
    })
}

/// A save that did not reach its end leaves files of exactly one episode: the one after the last.
fn is_leftover(path: &Path, episodes: impl Iterator<Item = usize>, total: usize) -> Result<bool> {
    let episodes: Vec<usize> = episodes.collect();
    if episodes.is_empty() || episodes.iter().all(|e| *e < total) {
        return Ok(false);
    }
    if episodes.iter().all(|e| *e == total) {
        return Ok(true);
    }
    Err(Error::corrupt(
        path,
        format!(
            "it holds episode {}, and meta/info.json counts {total} episodes; verify the dataset",
            episodes.iter().max().copied().unwrap_or_default()
        ),
    ))
}

fn video_dir(dir: &Path, info: &Info, key: &str) -> Option<PathBuf> {
    let path = dir.join(info.video_file(key, FileIndex::default())?);
    Some(path.parent()?.parent()?.to_owned())
}

fn leftover_videos(dir: &Path, info: &Info, rows: &[EpisodeMeta]) -> Result<Vec<PathBuf>> {
    let mut leftovers = Vec::new();
    for (key, _) in info.features.videos() {
        let used = rows
            .iter()
            .filter_map(|r| r.videos.get(key))
            .map(|v| v.file);
        let next = used
            .max()
            .map_or(FileIndex::default(), |m| m.next(info.chunks_size));
        let path = info.video_file(key, next).map(|p| dir.join(p));
        leftovers.extend(path.filter(|p| p.is_file()));
    }
    Ok(leftovers)
}

/// Files that were being written.
fn partial_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut places = vec![dir.join("meta")];
    for tree in ["data", "meta/episodes"] {
        places.extend(durable::entries(&dir.join(tree))?);
    }
    for camera in durable::entries(&dir.join("videos"))? {
        places.extend(durable::entries(&camera)?);
    }
    for place in places.iter().filter(|p| p.is_dir()) {
        let is_partial = |p: &PathBuf| p.extension().is_some_and(|e| e == durable::PARTIAL);
        found.extend(durable::entries(place)?.into_iter().filter(is_partial));
    }
    Ok(found)
}

fn next_files(dir: &Path, info: &Info) -> Result<NextFiles> {
    let after = |tree: &Path, extension: &str| -> Result<FileIndex> {
        let files = durable::chunked_files(tree, extension)?;
        let last = files.iter().filter_map(|p| FileIndex::from_path(p)).max();
        Ok(last.map_or(FileIndex::default(), |l| l.next(info.chunks_size)))
    };
    let mut videos = BTreeMap::new();
    for (key, _) in info.features.videos() {
        if let Some(tree) = video_dir(dir, info, key) {
            videos.insert(key.to_owned(), after(&tree, "mp4")?);
        }
    }
    Ok(NextFiles {
        data: after(&dir.join("data"), "parquet")?,
        episodes: after(&dir.join("meta/episodes"), "parquet")?,
        videos,
    })
}

/// Pixel histograms of all saved episodes: from the footer of the last episode, or, where another program wrote that, from
/// the videos themselves.
fn pixels(
    dir: &Path,
    info: &Info,
    table: &EpisodeTable,
) -> Result<BTreeMap<String, PixelHistogram>> {
    let keys: Vec<&str> = info.features.videos().map(|(k, _)| k).collect();
    if let Some(known) = &table.pixels {
        let complete = keys.iter().all(|k| known.cameras.contains_key(*k));
        if known.episodes == table.rows.len() && complete {
            return Ok(known.cameras.clone());
        }
    }
    let mut histograms = BTreeMap::new();
    for key in keys {
        let mut histogram = PixelHistogram::default();
        for row in &table.rows {
            let Some(span) = row.videos.get(key) else {
                continue;
            };
            let path = info.video_file(key, span.file).ok_or_else(|| {
                Error::corrupt(&Info::path(dir), "it has cameras but no video_path")
            })?;
            let mut video = VideoReader::open(dir.join(path))?;
            for frame in sampled(row.length) {
                let time = span.from + frame as f64 / f64::from(info.fps);
                histogram.add(&video.frame_at(time)?);
            }
        }
        histograms.insert(key.to_owned(), histogram);
    }
    Ok(histograms)
}

/// Evenly spread frames, as many as LeRobot takes: `len^0.75`, but at least 100 and at most 10 000.
fn sampled(len: usize) -> Vec<usize> {
    let count = (len as f64).powf(0.75).clamp(100.0, 10_000.0) as usize;
    let count = count.min(len);
    (0..count)
        .map(|i| {
            let position = i as f64 * (len - 1) as f64 / (count.max(2) - 1) as f64;
            position.round() as usize
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampled_frames_are_spread_over_the_whole_episode() {
        assert_eq!(sampled(1), [0]);
        assert_eq!(sampled(3), [0, 1, 2]);
        let long = sampled(10_000);
        assert_eq!((long.len(), long[0], long[999]), (1000, 0, 9999));
        assert!(long.windows(2).all(|w| w[0] < w[1]));
    }
}
