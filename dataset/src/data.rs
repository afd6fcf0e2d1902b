//! `data/`: the rows of episodes, one column a feature.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch,
};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::info::{FeatureInfo, Info};
use crate::parquet_io::{self, Selection};

/// Where an episode lies among the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Number of the episode.
    pub episode: usize,
    /// Number of its first frame in the dataset.
    pub first_frame: usize,
    /// Number of its task.
    pub task: usize,
}

/// Numeric columns, `[time, dim]` each, the default ones included.
pub(crate) type Columns = BTreeMap<String, Vec<f64>>;

/// Adds the columns that the dataset maintains itself to those that were recorded.
pub(crate) fn with_defaults(mut columns: Columns, len: usize, fps: u32, at: Place) -> Columns {
    let mut add = |name: &str, value: &dyn Fn(usize) -> f64| {
        columns.insert(name.into(), (0..len).map(value).collect());
    };
    // Rounded to the 32 bits in which it is stored, so that the statistics are those of the file.
    add("timestamp", &|t| {
        f64::from((t as f64 / f64::from(fps)) as f32)
    });
    add("frame_index", &|t| t as f64);
    add("episode_index", &|_| at.episode as f64);
    add("index", &|t| (at.first_frame + t) as f64);
    add("task_index", &|_| at.task as f64);
    columns
}

/// A data file with the rows of one episode. `columns` must hold every non-video feature of `info`.
pub(crate) fn encode(info: &Info, columns: &Columns) -> Result<Vec<u8>> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    let mut described = Map::new();
    for (name, feature) in info.features.iter().filter(|(_, f)| !f.is_video()) {
        let values = columns
            .get(name)
            .ok_or_else(|| Error::Invalid(format!("feature {name} was not recorded")))?;
        let scalars: ArrayRef = match feature.dtype.as_str() {
            "bool" => Arc::new(BooleanArray::from_iter(
                values.iter().map(|v| Some(*v != 0.0)),
            )),
            "int64" => Arc::new(Int64Array::from_iter_values(
                values.iter().map(|v| *v as i64),
            )),
            _ => Arc::new(Float32Array::from_iter_values(
                values.iter().map(|v| *v as f32),
            )),
        };
        let array = if feature.dim() == 1 {
            scalars
        } else {
            let item = Arc::new(Field::new("item", scalars.data_type().clone(), true));
            let list = FixedSizeListArray::try_new(item, feature.dim() as i32, scalars, None);
            Arc::new(list.map_err(|e| Error::Invalid(format!("feature {name}: {e}")))?)
        };
        fields.push(Field::new(name, array.data_type().clone(), true));
        described.insert(name.into(), hub_type(feature));
        arrays.push(array);
    }
    // Read by the dataset page of the Hugging Face Hub; LeRobot passes the types itself.
    let hub = json!({"info": {"features": described}}).to_string();
    let schema = Schema::new(fields).with_metadata(HashMap::from([("huggingface".into(), hub)]));
    let batch = RecordBatch::try_new(Arc::new(schema), arrays)
        .map_err(|e| Error::Invalid(format!("the rows of the episode do not fit together: {e}")))?;
    parquet_io::encode(&batch, &[])
}

fn hub_type(feature: &FeatureInfo) -> Value {
    let value = json!({"dtype": feature.dtype, "_type": "Value"});
    if feature.dim() == 1 {
        value
    } else {
        json!({"feature": value, "length": feature.dim(), "_type": "List"})
    }
}

/// Reads the numeric features of a data file: of one episode, or of all rows.
///
/// # Errors
/// [`Error::Corrupt`] when a column of `info` is missing or has another width.
pub(crate) fn read(path: &Path, info: &Info, episode: Option<usize>) -> Result<Columns> {
    let wanted: Vec<&str> = info.features.numeric().map(|(n, _)| n).collect();
    let table = parquet_io::read(
        path,
        &Selection {
            columns: Some(&wanted),
            containing: episode.map(|e| ("episode_index", e as i64)),
        },
    )?;
    let mut columns = Columns::new();
    for (name, feature) in info.features.numeric() {
        let values = parquet_io::column(&table, path, name, feature.dim())?;
        columns.insert(name.into(), values);
    }
    if let Some(episode) = episode {
        let owner = columns.get("episode_index").cloned().unwrap_or_default();
        let rows: Vec<usize> = (0..owner.len())
            .filter(|&r| owner[r] == episode as f64)
            .collect();
        for (name, feature) in info.features.numeric() {
            let dim = feature.dim();
            if let Some(values) = columns.get_mut(name) {
                *values = rows
                    .iter()
                    .flat_map(|r| values[r * dim..(r + 1) * dim].iter().copied())
                    .collect();
            }
        }
    }
    Ok(columns)
}

/// Encoded pictures (PNG, JPEG) of an `image` feature of one episode.
pub(crate) fn read_pictures(path: &Path, name: &str, episode: usize) -> Result<Vec<Vec<u8>>> {
    let table = parquet_io::read(
        path,
        &Selection {
            columns: Some(&[name, "episode_index"]),
            containing: Some(("episode_index", episode as i64)),
        },
    )?;
    let mut pictures = Vec::new();
    for batch in &table.batches {
        let owner = batch
            .column_by_name("episode_index")
            .and_then(|c| parquet_io::numbers(c))
            .ok_or_else(|| Error::corrupt(path, "it has no column episode_index"))?;
        let column = batch
            .column_by_name(name)
            .ok_or_else(|| Error::corrupt(path, format!("it has no column {name}")))?;
        let bytes = match column.as_struct_opt() {
            Some(s) => s.column_by_name("bytes"),
            None => Some(column),
        };
        for row in (0..owner.len()).filter(|&r| owner[r] == episode as f64) {
            let value = bytes
                .filter(|b| b.is_valid(row))
                .and_then(|b| binary(b, row))
                .ok_or_else(|| {
                    Error::corrupt(path, format!("column {name} holds no picture in row {row}"))
                })?;
            pictures.push(value);
        }
    }
    Ok(pictures)
}

fn binary(array: &ArrayRef, row: usize) -> Option<Vec<u8>> {
    match array.data_type() {
        DataType::Binary => Some(array.as_binary_opt::<i32>()?.value(row).to_vec()),
        DataType::LargeBinary => Some(array.as_binary_opt::<i64>()?.value(row).to_vec()),
        _ => None,
    }
}
