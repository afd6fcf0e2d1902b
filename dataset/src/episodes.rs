//! `meta/episodes/`: one row an episode: where its frames and videos are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{Field, Schema};
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::{Error, Result};
use crate::info::{FileIndex, Info};
use crate::parquet_io::{self, Selection, Table};
use crate::stats::{FeatureStats, PixelHistogram, Stats};

/// Part of a video file that belongs to an episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VideoSpan {
    /// Number of the video file.
    pub file: FileIndex,
    /// Time of the episode's first frame in that file, seconds.
    pub from: f64,
    /// End of the episode's last frame in that file, seconds.
    pub to: f64,
}

/// Where an episode is.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeMeta {
    /// Number of the episode.
    pub index: usize,
    /// Its tasks, in words.
    pub tasks: Vec<String>,
    /// Number of frames.
    pub length: usize,
    /// Number of its first frame in the dataset.
    pub first_frame: usize,
    /// Number of the data file.
    pub data: FileIndex,
    /// Videos by feature name.
    pub videos: BTreeMap<String, VideoSpan>,
}

/// Histograms of all episodes up to and including the one of the file, kept in its footer, where readers that do not know
/// it do not look. With it the quantiles of the whole dataset's pixels stay exact without decoding a video again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PixelTotals {
    /// Episodes counted.
    pub episodes: usize,
    /// Histograms by camera feature.
    pub cameras: BTreeMap<String, PixelHistogram>,
}

const PIXELS_KEY: &str = "rapport.pixel_histograms";

/// One file of the episode table.
pub(crate) struct EpisodeFile {
    /// Its rows.
    pub rows: Vec<EpisodeMeta>,
    /// Its columns.
    pub columns: Vec<String>,
    /// Pixel histograms in its footer.
    pub pixels: Option<PixelTotals>,
}

/// A file with the row of one episode. `only` restricts the columns to those that the dataset already has.
pub(crate) fn encode(
    meta: &EpisodeMeta,
    stats: &Stats,
    at: FileIndex,
    only: Option<&[String]>,
    pixels: &PixelTotals,
) -> Result<Vec<u8>> {
    let int = |v: usize| Arc::new(Int64Array::from(vec![v as i64])) as ArrayRef;
    let float = |v: f64| Arc::new(Float64Array::from(vec![v])) as ArrayRef;
    let mut tasks = ListBuilder::new(StringBuilder::new());
    for task in &meta.tasks {
        tasks.values().append_value(task);
    }
    tasks.append(true);
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("episode_index".into(), int(meta.index)),
        ("tasks".into(), Arc::new(tasks.finish())),
        ("length".into(), int(meta.length)),
        ("data/chunk_index".into(), int(meta.data.chunk)),
        ("data/file_index".into(), int(meta.data.file)),
        ("dataset_from_index".into(), int(meta.first_frame)),
        (
            "dataset_to_index".into(),
            int(meta.first_frame + meta.length),
        ),
    ];
    for (key, span) in &meta.videos {
        columns.extend([
            (format!("videos/{key}/chunk_index"), int(span.file.chunk)),
            (format!("videos/{key}/file_index"), int(span.file.file)),
            (format!("videos/{key}/from_timestamp"), float(span.from)),
            (format!("videos/{key}/to_timestamp"), float(span.to)),
        ]);
    }
    for (name, feature) in stats {
        push_stats(&mut columns, name, feature, meta.videos.contains_key(name));
    }
    columns.extend([
        ("meta/episodes/chunk_index".into(), int(at.chunk)),
        ("meta/episodes/file_index".into(), int(at.file)),
    ]);
    if let Some(only) = only {
        // `datasets` refuses a file with a column that the first file lacks.
        columns.retain(|(name, _)| only.contains(name));
    }
    let fields: Vec<Field> = columns
        .iter()
        .map(|(n, a)| Field::new(n, a.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, a)| a).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|e| Error::Invalid(format!("the episode's row could not be built: {e}")))?;
    let footer = serde_json::to_string(pixels)
        .map_err(|e| Error::Invalid(format!("the pixel histograms could not be encoded: {e}")))?;
    parquet_io::encode(&batch, &[(PIXELS_KEY, footer)])
}

fn push_stats(
    columns: &mut Vec<(String, ArrayRef)>,
    feature: &str,
    stats: &FeatureStats,
    image: bool,
) {
    for (name, values) in stats.named() {
        let array: ArrayRef = if image {
            // Channels first: one row of shape [3, 1, 1].
            let mut rows =
                ListBuilder::new(ListBuilder::new(ListBuilder::new(Float64Builder::new())));
            for v in values {
                rows.values().values().values().append_value(*v);
                rows.values().values().append(true);
                rows.values().append(true);
            }
            rows.append(true);
            Arc::new(rows.finish())
        } else {
            let mut rows = ListBuilder::new(Float64Builder::new());
            rows.values().append_slice(values);
            rows.append(true);
            Arc::new(rows.finish())
        };
        columns.push((format!("stats/{feature}/{name}"), array));
    }
    let mut count = ListBuilder::new(Int64Builder::new());
    count.values().append_value(stats.count as i64);
    count.append(true);
    columns.push((format!("stats/{feature}/count"), Arc::new(count.finish())));
}

/// Paths of the episode tables in reading order.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    durable::chunked_files(&dir.join("meta/episodes"), "parquet")
}

/// Reads one file of the table.
pub(crate) fn read(path: &Path, info: &Info) -> Result<EpisodeFile> {
    // The statistics columns are many and not needed here.
    let mut wanted: Vec<String> = [
        "episode_index",
        "tasks",
        "length",
        "data/chunk_index",
        "data/file_index",
        "dataset_from_index",
        "dataset_to_index",
    ]
    .map(String::from)
    .into();
    let keys: Vec<&str> = info.features.videos().map(|(k, _)| k).collect();
    for key in &keys {
        for field in [
            "chunk_index",
            "file_index",
            "from_timestamp",
            "to_timestamp",
        ] {
            wanted.push(format!("videos/{key}/{field}"));
        }
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let table = parquet_io::read(
        path,
        &Selection {
            columns: Some(&wanted),
            containing: None,
        },
    )?;
    let pixels = table
        .key_values
        .get(PIXELS_KEY)
        .and_then(|text| serde_json::from_str(text).ok());
    let columns = table.schema.fields().iter();
    let columns = columns.map(|f| f.name().clone()).collect();
    Ok(EpisodeFile {
        rows: rows(&table, path, &keys)?,
        columns,
        pixels,
    })
}

fn rows(table: &Table, path: &Path, keys: &[&str]) -> Result<Vec<EpisodeMeta>> {
    let int = |name: &str| parquet_io::indices(table, path, name);
    let file = |prefix: &str| -> Result<Vec<FileIndex>> {
        let chunks = int(&format!("{prefix}/chunk_index"))?;
        let files = int(&format!("{prefix}/file_index"))?;
        let pairs = chunks.into_iter().zip(files);
        Ok(pairs
            .map(|(chunk, file)| FileIndex { chunk, file })
            .collect())
    };
    let index = int("episode_index")?;
    let from = int("dataset_from_index")?;
    let to = int("dataset_to_index")?;
    let data = file("data")?;
    let length = if table.has("length") {
        int("length")?
    } else {
        (0..index.len())
            .map(|i| to[i].saturating_sub(from[i]))
            .collect()
    };
    let mut tasks = Vec::new();
    for piece in table.pieces("tasks") {
        tasks.extend(parquet_io::string_lists(piece).unwrap_or_default());
    }
    tasks.resize(index.len(), Vec::new());
    let mut rows: Vec<EpisodeMeta> = tasks
        .into_iter()
        .enumerate()
        .map(|(i, tasks)| EpisodeMeta {
            index: index[i],
            tasks,
            length: length[i],
            first_frame: from[i],
            data: data[i],
            videos: BTreeMap::new(),
        })
        .collect();
    if let Some(i) = (0..rows.len()).find(|&i| to[i] != from[i] + length[i]) {
        return Err(Error::corrupt(
            path,
            format!(
                "episode {} has length {} but frames {} to {}",
                index[i], length[i], from[i], to[i]
            ),
        ));
    }
    for key in keys {
        let files = file(&format!("videos/{key}"))?;
        let from = parquet_io::column(table, path, &format!("videos/{key}/from_timestamp"), 1)?;
        let to = parquet_io::column(table, path, &format!("videos/{key}/to_timestamp"), 1)?;
        for (i, row) in rows.iter_mut().enumerate() {
            let span = VideoSpan {
                file: files[i],
                from: from[i],
                to: to[i],
            };
            row.videos.insert((*key).to_owned(), span);
        }
    }
    Ok(rows)
}
