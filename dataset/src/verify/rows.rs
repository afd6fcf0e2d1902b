//! Checks of `data/`: that the rows are the frames the tables speak of.

use std::path::{Path, PathBuf};

use super::{Checked, Ranges, Report};
use crate::data::{self, Columns};
use crate::durable;
use crate::parquet_io::{self, Selection};

/// Findings of one kind in one file after which the rest is only counted.
const SHOWN: usize = 3;

pub(super) fn check(report: &mut Report, checked: &Checked) -> Ranges {
    let mut ranges = Ranges::new();
    let tree = checked.dir.join("data");
    let paths = match durable::chunked_files(&tree, "parquet") {
        Ok(paths) => paths,
        Err(e) => {
            report.failed(&tree, e);
            return ranges;
        }
    };
    for missing in missing_files(checked, &paths) {
        report.error(missing, "it does not exist, although episodes refer to it");
    }
    let mut rows = 0;
    for path in paths {
        rows += check_file(report, checked, &path, rows, &mut ranges).unwrap_or(0);
    }
    if rows != checked.info.total_frames {
        report.error(
            &tree,
            format!(
                "its files hold {rows} rows, and meta/info.json counts {} frames",
                checked.info.total_frames
            ),
        );
    }
    ranges
}

fn missing_files(checked: &Checked, found: &[PathBuf]) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = checked
        .episodes
        .iter()
        .map(|e| checked.dir.join(checked.info.data_file(e.data)))
        .filter(|p| !found.contains(p))
        .collect();
    missing.dedup();
    missing
}

/// Checks a data file whose first row is row `start` of the dataset; gives the number of its rows that count.
fn check_file(
    report: &mut Report,
    checked: &Checked,
    path: &Path,
    start: usize,
    ranges: &mut Ranges,
) -> Option<usize> {
    let info = checked.info;
    let names = parquet_io::read(
        path,
        &Selection {
            columns: Some(&[]),
            containing: None,
        },
    )
    .map(|table| {
        let fields = table.schema.fields().iter();
        fields.map(|f| f.name().clone()).collect::<Vec<_>>()
    });
    let columns = match names.and_then(|n| Ok((n, data::read(path, info, None)?))) {
        Ok((names, columns)) => {
            for name in names.iter().filter(|n| info.features.get(n).is_none()) {
                report.error(
                    path,
                    format!("it has a column {name} that meta/info.json does not list, so LeRobot cannot load it"),
                );
            }
            columns
        }
        Err(e) => {
            report.failed(path, e);
            return None;
        }
    };
    report.files += 1;
    let owner = columns.get("episode_index")?;
    let rows = owner.len();
    if rows > 0 && owner.iter().all(|e| *e == info.total_episodes as f64) {
        report.warning(
            path,
            format!(
                "it is of episode {}, which meta/info.json does not count; an interrupted recording leaves this, and opening the dataset to append removes it",
                info.total_episodes
            ),
        );
        return Some(0);
    }
    check_numbers(report, checked, path, start, &columns);
    check_values(report, checked, path, &columns, ranges);
    Some(rows)
}

/// Collects findings of one kind, and shows the first few.
struct Kind {
    shown: Vec<String>,
    more: usize,
}

impl Kind {
    fn new() -> Self {
        Self {
            shown: Vec::new(),
            more: 0,
        }
    }

    fn add(&mut self, message: impl FnOnce() -> String) {
        if self.shown.len() < SHOWN {
            self.shown.push(message());
        } else {
            self.more += 1;
        }
    }

    fn into(self, report: &mut Report, path: &Path) {
        let last = self.shown.len().saturating_sub(1);
        for (i, message) in self.shown.into_iter().enumerate() {
            if i == last && self.more > 0 {
                report.error(path, format!("{message} (and {} more like it)", self.more));
            } else {
                report.error(path, message);
            }
        }
    }
}

/// Row numbers, episode numbers, times and tasks.
fn check_numbers(
    report: &mut Report,
    checked: &Checked,
    path: &Path,
    start: usize,
    columns: &Columns,
) {
    let all = [
        "episode_index",
        "frame_index",
        "index",
        "timestamp",
        "task_index",
    ];
    let [
        Some(owner),
        Some(frame),
        Some(index),
        Some(time),
        Some(task),
    ] = all.map(|n| columns.get(n))
    else {
        // Reported with info.json.
        return;
    };
    let (mut misplaced, mut mistimed) = (Kind::new(), Kind::new());
    for row in 0..owner.len() {
        let global = start + row;
        let after = |e: &crate::EpisodeMeta| e.first_frame + e.length;
        let episode = checked.episodes.partition_point(|e| after(e) <= global);
        let expected = checked
            .episodes
            .get(episode)
            .map(|e| global - e.first_frame.min(global));
        let found = (index[row], owner[row], frame[row]);
        let wanted = expected.map(|t| (global as f64, episode as f64, t as f64));
        if let Some(wanted) = wanted.filter(|w| *w != found) {
            misplaced.add(|| {
                format!(
                    "row {row} has index {}, episode {} and frame {}, and should have {}, {} and {}",
                    found.0, found.1, found.2, wanted.0, wanted.1, wanted.2
                )
            });
        }
        let due = frame[row] / f64::from(checked.info.fps);
        if (time[row] - due).abs() > crate::video::TOLERANCE {
            mistimed.add(|| {
                format!(
                    "row {row} has time {} s, and its frame {} is due at {due:.6} s",
                    time[row], frame[row]
                )
            });
        }
        if task[row] < 0.0 || task[row] >= checked.tasks as f64 {
            misplaced.add(|| {
                format!(
                    "row {row} has task {}, and there are {}",
                    task[row], checked.tasks
                )
            });
        }
    }
    misplaced.into(report, path);
    mistimed.into(report, path);
}

/// NaN and infinity; the range of the others.
fn check_values(
    report: &mut Report,
    checked: &Checked,
    path: &Path,
    columns: &Columns,
    ranges: &mut Ranges,
) {
    for (name, feature) in checked.info.features.numeric() {
        let Some(values) = columns.get(name) else {
            continue;
        };
        let dim = feature.dim().max(1);
        let range = ranges
            .entry(name.to_owned())
            .or_insert_with(|| vec![(f64::INFINITY, f64::NEG_INFINITY); dim]);
        let mut kind = Kind::new();
        for (i, &value) in values.iter().enumerate() {
            let (row, component) = (i / dim, i % dim);
            if value.is_finite() {
                let (low, high) = &mut range[component];
                *low = low.min(value);
                *high = high.max(value);
                continue;
            }
            let at = |n: &str| {
                columns
                    .get(n)
                    .and_then(|c| c.get(row))
                    .copied()
                    .unwrap_or(f64::NAN)
            };
            kind.add(|| {
                format!(
                    "{name}, component {component}, of frame {} of episode {} is {value}",
                    at("frame_index"),
                    at("episode_index")
                )
            });
        }
        kind.into(report, path);
    }
}
