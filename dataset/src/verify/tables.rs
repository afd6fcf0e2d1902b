//! Checks of `meta/`: what the dataset says about itself.

use std::path::Path;

use super::Report;
use crate::durable;
use crate::episodes::{self, EpisodeMeta};
use crate::info::{DEFAULT_FEATURES, Info, is_default};
use crate::tasks;

pub(super) fn check_info(report: &mut Report, dir: &Path, info: &Info) {
    let path = Info::path(dir);
    if info.codebase_version != "v3.0" {
        report.warning(
            &path,
            format!(
                "its version is {}, and this program knows v3.0",
                info.codebase_version
            ),
        );
    }
    for (name, dtype) in DEFAULT_FEATURES {
        match info.features.get(name) {
            None => report.error(
                &path,
                format!("it does not list the feature {name}, which every dataset has"),
            ),
            Some(f) if f.dtype != dtype => report.warning(
                &path,
                format!("feature {name} is {} instead of {dtype}", f.dtype),
            ),
            Some(_) => {}
        }
    }
    for (name, feature) in info.features.iter() {
        let image = matches!(feature.dtype.as_str(), "video" | "image");
        if name.contains('/') {
            report.error(&path, format!("feature {name} has a slash in its name"));
        }
        if feature.shape.is_empty() || feature.shape.contains(&0) {
            report.error(&path, format!("feature {name} has no shape"));
        }
        if image && (feature.shape.len() != 3 || !matches!(feature.shape.last(), Some(1 | 3))) {
            report.error(
                &path,
                format!(
                    "camera {name} has shape {:?} instead of height, width, channels",
                    feature.shape
                ),
            );
        }
        // LeRobot asserts image statistics for every name with "image" in it.
        if !image && name.contains("image") && !is_default(name) {
            report.warning(
                &path,
                format!("feature {name} is no camera, and LeRobot will take it for one"),
            );
        }
    }
    if info.features.videos().next().is_some() && info.video_path.is_none() {
        report.error(&path, "it has cameras but no video_path");
    }
    if let Some(split) = info.splits.get("train") {
        let all = format!("0:{}", info.total_episodes);
        if info.splits.len() == 1 && *split != all {
            report.warning(
                &path,
                format!("the only split is {split}, which is not all episodes ({all})"),
            );
        }
    }
}

pub(super) fn check_tasks(report: &mut Report, dir: &Path, info: &Info) -> Vec<String> {
    let path = tasks::path(dir);
    if info.total_tasks == 0 && !path.exists() {
        return Vec::new();
    }
    let tasks = match tasks::read(dir) {
        Ok(tasks) => tasks,
        Err(e) => {
            report.failed(&path, e);
            return Vec::new();
        }
    };
    report.files += 1;
    match tasks::pandas_reads_texts(&path) {
        Ok(true) => {}
        Ok(false) => report.warning(
            &path,
            "it has no description for pandas, so LeRobot reads numbers instead of the task texts",
        ),
        Err(e) => report.failed(&path, e),
    }
    if tasks.len() < info.total_tasks {
        report.error(
            &path,
            format!(
                "it holds {} tasks, and meta/info.json counts {}",
                tasks.len(),
                info.total_tasks
            ),
        );
    }
    if tasks.len() > info.total_tasks {
        report.warning(
            &path,
            format!(
                "it holds {} tasks, and meta/info.json counts {}; an interrupted recording leaves this, and opening the dataset to append repairs it",
                tasks.len(),
                info.total_tasks
            ),
        );
    }
    for (i, task) in tasks.iter().enumerate() {
        if tasks[..i].contains(task) {
            report.warning(&path, format!("task \"{task}\" occurs twice"));
        }
    }
    tasks
}

/// Checks the episode table and gives its rows that `info.json` counts.
pub(super) fn check_episodes(
    report: &mut Report,
    dir: &Path,
    info: &Info,
    tasks: &[String],
) -> Vec<EpisodeMeta> {
    let table = dir.join("meta/episodes");
    let paths = match episodes::files(dir) {
        Ok(paths) => paths,
        Err(e) => {
            report.failed(&table, e);
            return Vec::new();
        }
    };
    let mut rows: Vec<EpisodeMeta> = Vec::new();
    let mut columns: Option<Vec<String>> = None;
    for path in paths {
        let file = match episodes::read(&path, info) {
            Ok(file) => file,
            Err(e) => {
                report.failed(&path, e);
                continue;
            }
        };
        report.files += 1;
        let first = columns.get_or_insert_with(|| file.columns.clone());
        if let Some(extra) = file.columns.iter().find(|c| !first.contains(c)) {
            report.error(
                &path,
                format!("it has a column {extra} that the first file lacks, so LeRobot cannot load the table"),
            );
        }
        for row in file.rows {
            if row.index == info.total_episodes && rows.len() == info.total_episodes {
                report.warning(
                    &path,
                    format!(
                        "it is of episode {}, which meta/info.json does not count; an interrupted recording leaves this, and opening the dataset to append removes it",
                        row.index
                    ),
                );
                continue;
            }
            check_row(report, &path, &row, &rows, tasks);
            rows.push(row);
        }
    }
    if rows.len() != info.total_episodes {
        report.error(
            &table,
            format!(
                "it lists {} episodes, and meta/info.json counts {}",
                rows.len(),
                info.total_episodes
            ),
        );
    }
    let frames: usize = rows.iter().map(|r| r.length).sum();
    if frames != info.total_frames {
        report.error(
            &table,
            format!(
                "its episodes have {frames} frames, and meta/info.json counts {}",
                info.total_frames
            ),
        );
    }
    check_unused(report, dir, info, &rows);
    rows
}

fn check_row(
    report: &mut Report,
    path: &Path,
    row: &EpisodeMeta,
    before: &[EpisodeMeta],
    tasks: &[String],
) {
    if row.index != before.len() {
        report.error(
            path,
            format!(
                "row {} of the table is of episode {}, so readers take the wrong video for it",
                before.len(),
                row.index
            ),
        );
    }
    let start = before.last().map_or(0, |b| b.first_frame + b.length);
    if row.first_frame != start {
        report.error(
            path,
            format!(
                "episode {} begins at frame {} of the dataset, and the one before ends at {start}",
                row.index, row.first_frame
            ),
        );
    }
    if row.length == 0 {
        report.error(path, format!("episode {} has no frames", row.index));
    }
    if let Some(task) = row.tasks.iter().find(|t| !tasks.contains(t)) {
        report.error(
            path,
            format!(
                "episode {} has the task \"{task}\", which is not in meta/tasks.parquet",
                row.index
            ),
        );
    }
}

/// mp4 files that no episode refers to.
fn check_unused(report: &mut Report, dir: &Path, info: &Info, rows: &[EpisodeMeta]) {
    for (key, _) in info.features.videos() {
        let used: Vec<_> = rows
            .iter()
            .filter_map(|r| info.video_file(key, r.videos.get(key)?.file))
            .map(|p| dir.join(p))
            .collect();
        let tree = dir.join("videos").join(key);
        match durable::chunked_files(&tree, "mp4") {
            Ok(files) => {
                for file in files.iter().filter(|f| !used.contains(f)) {
                    report.warning(
                        file,
                        "no episode refers to it; an interrupted recording leaves this",
                    );
                }
            }
            Err(e) => report.failed(&tree, e),
        }
    }
}
