//! Parquet files to and from plain vectors, tolerant of every type in which LeRobot's tools store a number.

use std::collections::HashMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;

use crate::error::{Error, Result};

/// A parquet file in memory.
pub(crate) struct Table {
    /// Schema as arrow sees it, with its metadata.
    pub schema: SchemaRef,
    /// Rows, in pieces.
    pub batches: Vec<RecordBatch>,
    /// Key-value pairs of the footer.
    pub key_values: HashMap<String, String>,
}

/// Which rows and columns to read.
#[derive(Default)]
pub(crate) struct Selection<'a> {
    /// Root columns; all if none.
    pub columns: Option<&'a [&'a str]>,
    /// Skips row groups in which this integer column cannot have this value.
    pub containing: Option<(&'a str, i64)>,
}

impl Table {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether the file has this column.
    pub fn has(&self, name: &str) -> bool {
        self.schema.column_with_name(name).is_some()
    }

    /// The pieces of a column.
    pub fn pieces<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ArrayRef> {
        self.batches
            .iter()
            .filter_map(move |b| b.column_by_name(name))
    }
}

/// Reads a parquet file.
pub(crate) fn read(path: &Path, selection: &Selection) -> Result<Table> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    // A damaged page can make the decoder of the parquet crate panic instead of returning an error.
    catch_unwind(AssertUnwindSafe(|| read_open(file, selection)))
        .map_err(|_| Error::corrupt(path, "a page of this parquet file cannot be decoded"))?
        .map_err(|reason| {
            Error::corrupt(
                path,
                format!("it is not a complete parquet file ({reason})"),
            )
        })
}

fn read_open(file: File, selection: &Selection) -> std::result::Result<Table, String> {
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| e.to_string())?;
    let schema = builder.schema().clone();
    let key_values = builder
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .into_iter()
        .flatten()
        .filter_map(|kv| Some((kv.key.clone(), kv.value.clone()?)))
        .collect();
    if let Some((column, value)) = selection.containing {
        let groups = groups_with(builder.metadata(), column, value);
        builder = builder.with_row_groups(groups);
    }
    if let Some(columns) = selection.columns {
        let roots: Vec<usize> = columns
            .iter()
            .filter_map(|c| schema.index_of(c).ok())
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_projection(mask);
    }
    let reader = builder
        .with_batch_size(8192)
        .build()
        .map_err(|e| e.to_string())?;
    let batches = reader
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    Ok(Table {
        schema,
        batches,
        key_values,
    })
}

fn groups_with(metadata: &ParquetMetaData, column: &str, value: i64) -> Vec<usize> {
    let possible = |group: &parquet::file::metadata::RowGroupMetaData| {
        let found = group
            .columns()
            .iter()
            .find(|c| c.column_path().string() == column);
        match found.and_then(|c| c.statistics()) {
            Some(Statistics::Int64(s)) => match (s.min_opt(), s.max_opt()) {
                (Some(&min), Some(&max)) => (min..=max).contains(&value),
                _ => true,
            },
            _ => true,
        }
    };
    let groups = metadata.row_groups().iter().enumerate();
    groups
        .filter(|(_, g)| possible(g))
        .map(|(i, _)| i)
        .collect()
}

/// A parquet file with one row group, snappy-compressed as LeRobot writes it.
pub(crate) fn encode(batch: &RecordBatch, footer: &[(&str, String)]) -> Result<Vec<u8>> {
    let key_values = footer
        .iter()
        .map(|(k, v)| KeyValue::new((*k).to_owned(), v.clone()))
        .collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(key_values))
        .build();
    let mut bytes = Vec::new();
    let write = || {
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
        writer.write(batch)?;
        writer.close()
    };
    write().map_err(|e| Error::Invalid(format!("a table could not be encoded as parquet: {e}")))?;
    Ok(bytes)
}

/// All values of a numeric column, lists flattened, nulls as NaN; none if it is not numeric.
pub(crate) fn numbers(array: &dyn Array) -> Option<Vec<f64>> {
    fn primitive<T: ArrowPrimitiveType>(
        array: &dyn Array,
        convert: impl Fn(T::Native) -> f64,
    ) -> Option<Vec<f64>> {
        let array = array.as_primitive_opt::<T>()?;
        Some(array.iter().map(|v| v.map_or(f64::NAN, &convert)).collect())
    }
    match array.data_type() {
        DataType::Float64 => primitive::<Float64Type>(array, |v| v),
        DataType::Float32 => primitive::<Float32Type>(array, f64::from),
        DataType::Float16 => primitive::<Float16Type>(array, f64::from),
        DataType::Int64 => primitive::<Int64Type>(array, |v| v as f64),
        DataType::Int32 => primitive::<Int32Type>(array, f64::from),
        DataType::Int16 => primitive::<Int16Type>(array, f64::from),
        DataType::Int8 => primitive::<Int8Type>(array, f64::from),
        DataType::UInt64 => primitive::<UInt64Type>(array, |v| v as f64),
        DataType::UInt32 => primitive::<UInt32Type>(array, f64::from),
        DataType::UInt16 => primitive::<UInt16Type>(array, f64::from),
        DataType::UInt8 => primitive::<UInt8Type>(array, f64::from),
        DataType::Boolean => Some(
            array
                .as_boolean_opt()?
                .iter()
                .map(|v| v.map_or(f64::NAN, |b| f64::from(u8::from(b))))
                .collect(),
        ),
        DataType::FixedSizeList(..) => numbers(array.as_fixed_size_list_opt()?.values()),
        DataType::List(_) => {
            let list = array.as_list_opt::<i32>()?;
            let offsets = list.value_offsets();
            let (from, to) = (*offsets.first()? as usize, *offsets.last()? as usize);
            numbers(&list.values().slice(from, to - from))
        }
        DataType::LargeList(_) => {
            let list = array.as_list_opt::<i64>()?;
            let offsets = list.value_offsets();
            let (from, to) = (*offsets.first()? as usize, *offsets.last()? as usize);
            numbers(&list.values().slice(from, to - from))
        }
        _ => None,
    }
}

/// A numeric column of a whole table, `[rows, dim]`.
pub(crate) fn column(table: &Table, path: &Path, name: &str, dim: usize) -> Result<Vec<f64>> {
    if !table.has(name) {
        return Err(Error::corrupt(path, format!("it has no column {name}")));
    }
    let mut values = Vec::with_capacity(table.rows() * dim);
    for piece in table.pieces(name) {
        values.extend(
            numbers(piece).ok_or_else(|| {
                Error::corrupt(path, format!("column {name} does not hold numbers"))
            })?,
        );
    }
    if values.len() != table.rows() * dim {
        return Err(Error::corrupt(
            path,
            format!(
                "column {name} holds {} values in {} rows, and not {dim} a row",
                values.len(),
                table.rows()
            ),
        ));
    }
    Ok(values)
}

/// A column of non-negative integers.
pub(crate) fn indices(table: &Table, path: &Path, name: &str) -> Result<Vec<usize>> {
    column(table, path, name, 1)?
        .into_iter()
        .map(|v| {
            if v >= 0.0 && v.fract() == 0.0 {
                Ok(v as usize)
            } else {
                Err(Error::corrupt(
                    path,
                    format!("column {name} holds {v}, which is no index"),
                ))
            }
        })
        .collect()
}

/// All strings of an array of any string type, nulls as empty; none if it holds no strings.
pub(crate) fn strings(array: &dyn Array) -> Option<Vec<String>> {
    fn owned<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Vec<String> {
        values.map(|v| v.unwrap_or_default().to_owned()).collect()
    }
    match array.data_type() {
        DataType::Utf8 => Some(owned(array.as_string_opt::<i32>()?.iter())),
        DataType::LargeUtf8 => Some(owned(array.as_string_opt::<i64>()?.iter())),
        DataType::Utf8View => Some(owned(array.as_string_view_opt()?.iter())),
        _ => None,
    }
}

/// Rows of a list-of-strings column; none if it is not one.
pub(crate) fn string_lists(array: &dyn Array) -> Option<Vec<Vec<String>>> {
    let rows: Vec<Option<ArrayRef>> = match array.data_type() {
        DataType::List(_) => array.as_list_opt::<i32>()?.iter().collect(),
        DataType::LargeList(_) => array.as_list_opt::<i64>()?.iter().collect(),
        _ => return None,
    };
    rows.into_iter()
        .map(|row| row.map_or(Some(Vec::new()), |r| strings(&r)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, LargeListBuilder};

    #[test]
    fn sliced_lists_give_only_their_own_values() {
        let mut fixed = FixedSizeListBuilder::new(Float32Builder::new(), 2);
        let mut large = LargeListBuilder::new(Float32Builder::new());
        for i in 0..5 {
            for v in [i as f32, i as f32 + 0.5] {
                fixed.values().append_value(v);
                large.values().append_value(v);
            }
            fixed.append(true);
            large.append(true);
        }
        let want = [2.0, 2.5, 3.0, 3.5];
        assert_eq!(numbers(&fixed.finish().slice(2, 2)).unwrap(), want);
        assert_eq!(numbers(&large.finish().slice(2, 2)).unwrap(), want);
    }
}
