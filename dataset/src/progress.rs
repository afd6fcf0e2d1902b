//! Progress of every frame of a dataset, in the file that LeRobot's training reads to weigh steps by (RA-BC): `index`,
//! `episode_index`, `frame_index` as 64-bit integers, `progress_sparse` in single precision.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch};

use crate::durable;
use crate::error::{Error, Result};
use crate::parquet_io::{self, Selection};

/// The name that LeRobot looks for in a dataset's directory.
pub const PROGRESS_FILE: &str = "sarm_progress.parquet";

/// Writes the progress of every episode's frames, `[episodes][frames]`, in the dataset's order and without a gap, so that rows are
/// numbered as its frames are. Replaces the file in one step.
pub fn write_progress(path: &Path, episodes: &[Vec<f64>]) -> Result<()> {
    if episodes.iter().flatten().any(|p| !p.is_finite()) {
        return Err(Error::Invalid(
            "a progress is not finite; LeRobot's training cannot weigh steps by it".into(),
        ));
    }
    let (mut episode_index, mut frame_index) = (Vec::new(), Vec::new());
    for (i, episode) in episodes.iter().enumerate() {
        episode_index.extend(std::iter::repeat_n(i as i64, episode.len()));
        frame_index.extend(0..episode.len() as i64);
    }
    let index: Vec<i64> = (0..episode_index.len() as i64).collect();
    let progress: Vec<f32> = episodes.iter().flatten().map(|&p| p as f32).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("index", Arc::new(Int64Array::from(index))),
        ("episode_index", Arc::new(Int64Array::from(episode_index))),
        ("frame_index", Arc::new(Int64Array::from(frame_index))),
        ("progress_sparse", Arc::new(Float32Array::from(progress))),
    ];
    let batch = RecordBatch::try_from_iter(columns)
        .map_err(|e| Error::Invalid(format!("progress could not be made a table: {e}")))?;
    durable::replace(path, &parquet_io::encode(&batch, &[])?)
}

/// Reads the progress of every episode's frames, `[episodes][frames]`, ours or LeRobot's; frames that LeRobot left without are
/// NaN. Fails when frames are missing in between.
pub fn read_progress(path: &Path) -> Result<Vec<Vec<f64>>> {
    let table = parquet_io::read(path, &Selection::default())?;
    let index = parquet_io::indices(&table, path, "index")?;
    let episode = parquet_io::indices(&table, path, "episode_index")?;
    let progress = parquet_io::column(&table, path, "progress_sparse", 1)?;
    let mut rows: Vec<usize> = (0..index.len()).collect();
    rows.sort_by_key(|&row| index[row]);
    let mut episodes: Vec<Vec<f64>> = Vec::new();
    for (at, &row) in rows.iter().enumerate() {
        if index[row] != at || episode[row] > episodes.len() || episode[row] + 1 < episodes.len() {
            return Err(Error::corrupt(
                path,
                format!("frame {at} of the dataset is missing or out of order"),
            ));
        }
        if episode[row] == episodes.len() {
            episodes.push(Vec::new());
        }
        episodes[episode[row]].push(progress[row]);
    }
    Ok(episodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_comes_back_by_episode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PROGRESS_FILE);
        let episodes = vec![vec![0.0, 0.5, 1.0], vec![0.25, 0.75]];
        write_progress(&path, &episodes).unwrap();
        assert_eq!(read_progress(&path).unwrap(), episodes);
        assert!(write_progress(&path, &[vec![f64::NAN]]).is_err());
        assert_eq!(read_progress(&path).unwrap(), episodes);
    }

    /// A file with its rows in another order, as LeRobot's own may be, and one with a hole.
    #[test]
    fn rows_are_put_in_order_and_holes_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress.parquet");
        let write = |index: Vec<i64>, episode: Vec<i64>, progress: Vec<f32>| {
            let columns: [(&str, ArrayRef); 3] = [
                ("index", Arc::new(Int64Array::from(index))),
                ("episode_index", Arc::new(Int64Array::from(episode))),
                ("progress_sparse", Arc::new(Float32Array::from(progress))),
            ];
            let batch = RecordBatch::try_from_iter(columns).unwrap();
            std::fs::write(&path, parquet_io::encode(&batch, &[]).unwrap()).unwrap();
        };
        write(vec![2, 0, 1], vec![1, 0, 0], vec![0.5, 0.25, 1.0]);
        assert_eq!(read_progress(&path).unwrap(), [vec![0.25, 1.0], vec![0.5]]);
        write(vec![0, 2], vec![0, 0], vec![0.0, 1.0]);
        let message = read_progress(&path).unwrap_err().to_string();
        assert!(message.contains("frame 1"), "{message}");
    }
}
