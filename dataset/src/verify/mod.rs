//! [`verify`]: does a dataset hold what it says, so that every reader sees the same?

mod rows;
mod tables;
mod videos;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::episodes::EpisodeMeta;
use crate::error::Error;
use crate::info::Info;
use crate::stats;
use crate::writer::STAGING;

/// How thoroughly the videos are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Every packet of every video is read, none is decoded.
    #[default]
    Packets,
    /// Every frame of every video is decoded too.
    Frames,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The dataset loads, but something should be looked at.
    Warning,
    /// A reader would fail or see wrong data.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the dataset.
    pub file: PathBuf,
    /// What is wrong with it, in a sentence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}: {}", self.file.display(), self.message)
    }
}

/// Result of [`verify`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The dataset's directory.
    pub dataset: PathBuf,
    /// Episodes that `meta/info.json` counts.
    pub episodes: usize,
    /// Frames that `meta/info.json` counts.
    pub frames: usize,
    /// Files that were opened and read.
    pub files: usize,
    /// Everything that is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// True when there is no error; there may be warnings.
    pub fn is_ok(&self) -> bool {
        self.errors().next().is_none()
    }

    /// Findings that make readers fail or see wrong data.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.of(Severity::Error)
    }

    /// Findings that do not.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.of(Severity::Warning)
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        let findings = self.findings.iter();
        findings.filter(move |f| f.severity == severity)
    }

    fn add(&mut self, severity: Severity, file: impl AsRef<Path>, message: impl Into<String>) {
        let file = file.as_ref();
        let file = file.strip_prefix(&self.dataset).unwrap_or(file).to_owned();
        self.findings.push(Finding {
            severity,
            file,
            message: message.into(),
        });
    }

    fn error(&mut self, file: impl AsRef<Path>, message: impl Into<String>) {
        self.add(Severity::Error, file, message);
    }

    fn warning(&mut self, file: impl AsRef<Path>, message: impl Into<String>) {
        self.add(Severity::Warning, file, message);
    }

    /// Records that reading `file` failed.
    fn failed(&mut self, file: &Path, error: Error) {
        match error {
            Error::NotFound { path } => self.error(path, "it does not exist"),
            Error::Corrupt { path, reason } => self.error(path, reason),
            other => self.error(file, other.to_string()),
        }
    }
}

/// Checks the dataset in `dir`: that every file opens, that tables, rows and videos agree with each other and with
/// `meta/info.json`, and that LeRobot would read the same. Nothing is changed.
///
/// This is [`verify_to`] with [`Depth::Packets`].
pub fn verify(dir: impl AsRef<Path>) -> Report {
    verify_to(dir, Depth::default())
}

/// [`verify`] to a chosen depth.
pub fn verify_to(dir: impl AsRef<Path>, depth: Depth) -> Report {
    let dir = dir.as_ref();
    let mut report = Report {
        dataset: dir.to_owned(),
        ..Default::default()
    };
    let info = match Info::read(dir) {
        Ok(info) => info,
        Err(Error::NotADataset { .. }) => {
            report.error(
                Info::path(dir),
                "it does not exist, so this is not a LeRobot dataset",
            );
            return report;
        }
        Err(e) => {
            report.failed(&Info::path(dir), e);
            return report;
        }
    };
    report.files += 1;
    report.episodes = info.total_episodes;
    report.frames = info.total_frames;
    tables::check_info(&mut report, dir, &info);
    let tasks = tables::check_tasks(&mut report, dir, &info);
    let episodes = tables::check_episodes(&mut report, dir, &info, &tasks);
    let checked = Checked {
        dir,
        info: &info,
        tasks: tasks.len(),
        episodes: &episodes,
    };
    let ranges = rows::check(&mut report, &checked);
    check_stats(&mut report, &checked, &ranges);
    videos::check(&mut report, &checked, depth);
    check_leftovers(&mut report, dir);
    report
}

/// What the tables say, for the checks of rows and videos.
struct Checked<'a> {
    dir: &'a Path,
    info: &'a Info,
    tasks: usize,
    episodes: &'a [EpisodeMeta],
}

/// Smallest and largest value of each component of a numeric feature.
type Ranges = BTreeMap<String, Vec<(f64, f64)>>;

fn check_stats(report: &mut Report, checked: &Checked, ranges: &Ranges) {
    let path = stats::path(checked.dir);
    let stats = match stats::read(checked.dir) {
        Ok(Some(stats)) => stats,
        Ok(None) if checked.info.total_episodes == 0 => return,
        Ok(None) => {
            report.warning(
                &path,
                "it does not exist; policies that normalise their inputs cannot be trained",
            );
            return;
        }
        Err(e) => return report.failed(&path, e),
    };
    report.files += 1;
    for (name, feature) in checked.info.features.iter() {
        let dim = match feature.dtype.as_str() {
            "video" | "image" => feature.shape.last().copied().unwrap_or(3),
            _ if feature.is_numeric() => feature.dim(),
            _ => continue,
        };
        let Some(found) = stats.get(name) else {
            report.warning(&path, format!("it has no statistics of {name}"));
            continue;
        };
        for (statistic, values) in found.named() {
            if values.len() != dim || values.iter().any(|v| !v.is_finite()) {
                report.warning(
                    &path,
                    format!(
                        "{statistic} of {name} does not have {dim} finite values; compute the statistics again"
                    ),
                );
            }
        }
        let Some(range) = ranges.get(name) else {
            continue;
        };
        let bounds = found.min.iter().zip(&found.max);
        // Statistics may have been computed with less precision.
        let slack = |v: f64| 1e-5 * v.abs().max(1e-3);
        let outside = range
            .iter()
            .zip(bounds)
            .position(|((low, high), (min, max))| {
                *low < min - slack(*min) || *high > max + slack(*max)
            });
        if let Some(component) = outside {
            report.warning(
                &path,
                format!(
                    "component {component} of {name} lies between {} and {}, beyond the bounds given for it; compute the statistics again",
                    range[component].0, range[component].1
                ),
            );
        }
    }
}

/// Files that no reader should meet.
fn check_leftovers(report: &mut Report, dir: &Path) {
    if dir.join(STAGING).exists() {
        report.warning(
            STAGING,
            "it holds an episode that is being recorded or whose recording was interrupted; opening the dataset to append removes it",
        );
    }
    let mut open = vec![dir.join("meta"), dir.join("data"), dir.join("videos")];
    while let Some(place) = open.pop() {
        let entries = match durable::entries(&place) {
            Ok(entries) => entries,
            Err(e) => {
                report.failed(&place, e);
                continue;
            }
        };
        for path in entries {
            let relative = path.strip_prefix(dir).unwrap_or(&path);
            let depth = relative.components().count();
            let tree = relative.components().next().map(|c| c.as_os_str());
            let is_parquet = path.extension().is_some_and(|e| e == "parquet");
            let expected = match tree.and_then(|t| t.to_str()) {
                Some("data") => depth == 3,
                Some("meta") => {
                    relative == Path::new("meta/tasks.parquet")
                        || (depth == 4 && relative.starts_with("meta/episodes"))
                        || relative.starts_with("meta/subtasks.parquet")
                }
                _ => false,
            };
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == durable::PARTIAL) {
                report.warning(
                    relative,
                    "it was not completed; opening the dataset to append removes it",
                );
            } else if is_parquet && !expected {
                report.warning(relative, "no reader looks for a parquet file in this place");
            }
        }
    }
}
