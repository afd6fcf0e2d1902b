//! `meta/tasks.parquet`: the task sentences, in the layout that pandas writes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use serde_json::json;

use crate::error::{Error, Result};
use crate::parquet_io::{self, Selection};

/// Column that holds the text: the pandas index, which has no name. LeRobot before 0.6 and Rerun read only this one.
pub(crate) const TEXT_COLUMN: &str = "__index_level_0__";
/// Name of the text column in files written by LeRobot 0.6.
pub(crate) const TEXT_COLUMN_06: &str = "task";

/// Where the tasks of the dataset in `dir` lie.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("meta/tasks.parquet")
}

/// Content of the file for `tasks` in index order.
pub(crate) fn encode(tasks: &[String]) -> Result<Vec<u8>> {
    // pyarrow prefers the metadata of the embedded Arrow schema to that of the footer, so the description for pandas has
    // to be in the former: without it LeRobot silently reads the numbers 0, 1, … as the task texts.
    let pandas = json!({
        "index_columns": [TEXT_COLUMN],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": null},
            {"name": null, "field_name": TEXT_COLUMN, "pandas_type": "unicode", "numpy_type": "object", "metadata": null},
        ],
        "creator": {"library": "rapport", "version": env!("CARGO_PKG_VERSION")},
        "pandas_version": "2.3.3",
    });
    let schema = Schema::new(vec![
        Field::new("task_index", DataType::Int64, true),
        Field::new(TEXT_COLUMN, DataType::Utf8, true),
    ])
    .with_metadata(HashMap::from([("pandas".into(), pandas.to_string())]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..tasks.len() as i64)),
        Arc::new(StringArray::from_iter_values(tasks)),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema), columns)
        .map_err(|e| Error::Invalid(format!("the table of tasks could not be built: {e}")))?;
    parquet_io::encode(&batch, &[])
}

/// Task texts in the order of the rows; row `i` must have `task_index` `i`.
pub(crate) fn read(dir: &Path) -> Result<Vec<String>> {
    let path = path(dir);
    let table = parquet_io::read(&path, &Selection::default())?;
    let column = [TEXT_COLUMN, TEXT_COLUMN_06]
        .into_iter()
        .find(|c| table.has(c))
        .ok_or_else(|| {
            Error::corrupt(
                &path,
                "it has no column of task texts (task or __index_level_0__)",
            )
        })?;
    let mut tasks = Vec::with_capacity(table.rows());
    for piece in table.pieces(column) {
        tasks.extend(parquet_io::strings(piece).ok_or_else(|| {
            Error::corrupt(&path, format!("column {column} does not hold texts"))
        })?);
    }
    let numbers = parquet_io::indices(&table, &path, "task_index")?;
    // Readers look tasks up by position.
    if let Some(row) = (0..numbers.len()).find(|&i| numbers[i] != i) {
        return Err(Error::corrupt(
            &path,
            format!("row {row} has task_index {}", numbers[row]),
        ));
    }
    Ok(tasks)
}

/// Whether pandas would take the texts as the index of the table, as LeRobot needs.
pub(crate) fn pandas_reads_texts(path: &Path) -> Result<bool> {
    let table = parquet_io::read(path, &Selection::default())?;
    let embedded = table.key_values.contains_key("ARROW:schema");
    let pandas = if embedded {
        table.schema.metadata().get("pandas")
    } else {
        table.key_values.get("pandas")
    };
    let Some(pandas) = pandas.and_then(|p| serde_json::from_str::<serde_json::Value>(p).ok())
    else {
        return Ok(false);
    };
    let is_text = |v: &serde_json::Value| {
        v.as_str()
            .is_some_and(|s| s == TEXT_COLUMN || s == TEXT_COLUMN_06)
    };
    let listed = |key: &str| pandas.get(key).and_then(|v| v.as_array()).cloned();
    Ok(
        listed("index_columns").is_some_and(|l| l.iter().any(is_text))
            && listed("columns")
                .is_some_and(|l| l.iter().any(|c| c.get("field_name").is_some_and(is_text))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_dataset(bytes: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("meta")).unwrap();
        std::fs::write(path(dir.path()), bytes).unwrap();
        dir
    }

    #[test]
    fn texts_come_back_and_pandas_would_see_them() {
        let tasks = vec!["pick up the cube".to_owned(), "größer ☂".to_owned()];
        let dir = in_dataset(&encode(&tasks).unwrap());
        assert_eq!(read(dir.path()).unwrap(), tasks);
        assert!(pandas_reads_texts(&path(dir.path())).unwrap());
    }

    #[test]
    fn the_column_name_of_lerobot_0_6_is_read_and_missing_pandas_metadata_noticed() {
        let schema = Schema::new(vec![
            Field::new("task_index", DataType::Int64, true),
            Field::new(TEXT_COLUMN_06, DataType::Utf8, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![0])),
            Arc::new(StringArray::from(vec!["stack"])),
        ];
        let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
        let dir = in_dataset(&parquet_io::encode(&batch, &[]).unwrap());
        assert_eq!(read(dir.path()).unwrap(), ["stack"]);
        assert!(!pandas_reads_texts(&path(dir.path())).unwrap());
    }

    #[test]
    fn a_gap_in_the_task_numbers_is_an_error() {
        let schema = Schema::new(vec![
            Field::new("task_index", DataType::Int64, true),
            Field::new(TEXT_COLUMN, DataType::Utf8, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![0, 2])),
            Arc::new(StringArray::from(vec!["a", "b"])),
        ];
        let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
        let dir = in_dataset(&parquet_io::encode(&batch, &[]).unwrap());
        let e = read(dir.path()).unwrap_err();
        assert!(e.to_string().contains("task_index 2"), "{e}");
    }
}
