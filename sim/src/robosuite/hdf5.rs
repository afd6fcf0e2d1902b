//! A `demo.hdf5` of robosuite: a group `data` that says which environment, in it a group for each run with `states`,
//! `actions` and the name of its model.

use std::path::Path;

use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Hdf5File, OpenOptions};

use super::RobosuiteError;
use crate::log::Table;

/// A whole run has less than this, bytes; a file that says otherwise is damaged.
const LARGEST: usize = 256 << 20;

/// What a file holds.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Name of the environment, `Lift`.
    pub environment: String,
    /// The runs, by number.
    pub runs: Vec<Run>,
}

/// One run.
#[derive(Debug)]
pub(super) struct Run {
    /// Name of its group, `demo_1`.
    pub name: String,
    /// File name of its model.
    pub model: String,
    /// States, `[n, 1 + nq + nv]`.
    pub states: Table,
    /// Actions, `[n, action_dim]`.
    pub actions: Table,
}

/// Reads a file.
///
/// Errors: [`RobosuiteError::Demonstration`] says what is missing or damaged.
pub(super) fn read(path: &Path) -> Result<Recorded, RobosuiteError> {
    let wrong = |why: String| RobosuiteError::Demonstration {
        path: path.to_owned(),
        why,
    };
    let bytes = std::fs::read(path).map_err(|error| RobosuiteError::Io {
        path: path.to_owned(),
        error,
    })?;
    let options = OpenOptions::default()
        .with_max_read_bytes(LARGEST)
        .with_max_chunk_bytes(LARGEST);
    let file = Hdf5File::from_vec_with_options(bytes, options)
        .map_err(|error| wrong(format!("the file is damaged or no HDF5 ({error})")))?;
    contents(&file).map_err(wrong)
}

fn contents(file: &Hdf5File) -> Result<Recorded, String> {
    let data = file
        .group("/data")
        .map_err(|error| format!("it has no group data ({error})"))?;
    let environment = text(&data, "env")?;
    let (mut names, _) = data
        .member_names()
        .map_err(|error| format!("the group data is damaged ({error})"))?;
    // demo_2 comes before demo_10.
    names.sort_by_key(|name| (number(name), name.clone()));
    if names.is_empty() {
        return Err("it has no run".into());
    }
    let runs = names
        .into_iter()
        .map(|name| run(&data, &name).map_err(|why| format!("{name}: {why}")))
        .collect::<Result<_, _>>()?;
    Ok(Recorded { environment, runs })
}

fn run(data: &Group, name: &str) -> Result<Run, String> {
    let group = data
        .group(name)
        .map_err(|error| format!("the group is damaged ({error})"))?;
    let model = text(&group, "model_file")?;
    if model.is_empty() || model.contains(['/', '\\', '\0']) || model == ".." {
        return Err(format!("model_file is {model:?}, which is no file name"));
    }
    let table = |name: &str| {
        let dataset = group
            .dataset(name)
            .map_err(|error| format!("it has no {name} ({error})"))?;
        table(&dataset).map_err(|why| format!("{name}: {why}"))
    };
    Ok(Run {
        name: name.into(),
        model,
        states: table("states")?,
        actions: table("actions")?,
    })
}

/// A matrix of floats; what cannot be a number of a run is refused here.
fn table(dataset: &Dataset) -> Result<Table, String> {
    let &[rows, columns] = dataset.shape() else {
        return Err(format!(
            "it has the shape {:?}, not rows and columns",
            dataset.shape()
        ));
    };
    let array = dataset
        .read_array::<f64>()
        .map_err(|error| format!("it cannot be read ({error})"))?;
    let values: Vec<f64> = array.iter().copied().collect();
    if let Some(i) = values.iter().position(|value| !value.is_finite()) {
        return Err(format!(
            "number {} of row {} is {}",
            i as u64 % columns.max(1),
            i as u64 / columns.max(1),
            values[i]
        ));
    }
    usize::try_from(columns)
        .ok()
        .and_then(|columns| Table::new(columns, values))
        .filter(|table| !table.is_empty())
        .ok_or_else(|| format!("it has {rows} rows of {columns} numbers"))
}

/// A string, of fixed or variable length.
fn text(group: &Group, name: &str) -> Result<String, String> {
    let read = || {
        // Not `read_string`: where the heap of variable strings is damaged, that gives the bytes of the reference to it.
        let heap = group.file_data()?;
        group
            .attribute(name)?
            .read_vlen_string(&heap, group.offset_size())
    };
    read().map_err(|error| format!("the attribute {name} is missing or damaged ({error})"))
}

/// The number at the end of a name, 0 without one.
fn number(name: &str) -> u64 {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or(0)
}
