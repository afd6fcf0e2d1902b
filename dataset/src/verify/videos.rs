//! Checks of `videos/`: that every frame has its picture at its time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Checked, Depth, Report};
use crate::episodes::{EpisodeMeta, VideoSpan};
use crate::info::FeatureInfo;
use crate::video::{self, Scan, TOLERANCE, VideoReader};

pub(super) fn check(report: &mut Report, checked: &Checked, depth: Depth) {
    for (key, feature) in checked.info.features.videos() {
        let mut files: BTreeMap<PathBuf, Vec<(&EpisodeMeta, VideoSpan)>> = BTreeMap::new();
        for episode in checked.episodes {
            let Some(span) = episode.videos.get(key) else {
                continue;
            };
            if let Some(path) = checked.info.video_file(key, span.file) {
                let path = checked.dir.join(path);
                files.entry(path).or_default().push((episode, *span));
            }
        }
        for (path, episodes) in files {
            check_file(report, checked, feature, &path, &episodes, depth);
        }
    }
}

fn check_file(
    report: &mut Report,
    checked: &Checked,
    feature: &FeatureInfo,
    path: &Path,
    episodes: &[(&EpisodeMeta, VideoSpan)],
    depth: Depth,
) {
    let scan = match video::scan(path) {
        Ok(scan) => scan,
        Err(e) => return report.failed(path, e),
    };
    report.files += 1;
    let fps = f64::from(checked.info.fps);
    if (scan.fps - fps).abs() > 1e-3 * fps {
        report.error(
            path,
            format!("it has {:.3} frames per second instead of {fps}", scan.fps),
        );
    }
    let stated = (feature.shape.get(1), feature.shape.first());
    if stated != (Some(&(scan.size.0 as usize)), Some(&(scan.size.1 as usize))) {
        report.error(
            path,
            format!(
                "its frames have {} × {} pixels, and meta/info.json gives height, width, channels as {:?}",
                scan.size.0, scan.size.1, feature.shape
            ),
        );
    }
    if let Some(codec) = feature.codec().filter(|c| *c != scan.codec) {
        report.warning(
            path,
            format!(
                "it is {} video, and meta/info.json says {codec}",
                scan.codec
            ),
        );
    }
    let frames: usize = episodes.iter().map(|(e, _)| e.length).sum();
    if scan.times.len() != frames {
        report.error(
            path,
            format!(
                "it has {} frames, and its episodes have {frames}",
                scan.times.len()
            ),
        );
    }
    for (episode, span) in episodes {
        check_span(report, path, &scan, episode, *span, fps);
    }
    if depth == Depth::Frames {
        check_decoding(report, path, scan.times.len());
    }
}

fn check_span(
    report: &mut Report,
    path: &Path,
    scan: &Scan,
    episode: &EpisodeMeta,
    span: VideoSpan,
    fps: f64,
) {
    let number = episode.index;
    let first = scan.times.partition_point(|t| *t < span.from - TOLERANCE);
    for k in 0..episode.length {
        let due = span.from + k as f64 / fps;
        match scan.times.get(first + k) {
            Some(time) if (time - due).abs() <= TOLERANCE => {}
            Some(time) => {
                report.error(
                    path,
                    format!(
                        "frame {k} of episode {number} is due at {due:.6} s, and the video shows its next at {time:.6} s"
                    ),
                );
                break;
            }
            None => {
                report.error(
                    path,
                    format!(
                        "it ends before frame {k} of episode {number}, which has {}",
                        episode.length
                    ),
                );
                break;
            }
        }
    }
    if scan.keyframes.get(first) == Some(&false) {
        report.warning(
            path,
            format!("episode {number} does not begin with a keyframe, so viewers that cut the video there cannot show it"),
        );
    }
    let length = episode.length as f64 / fps;
    if (span.to - span.from - length).abs() > 0.5 / fps {
        report.warning(
            path,
            format!(
                "episode {number} spans {:.3} s to {:.3} s of it, and its {} frames last {length:.3} s",
                span.from, span.to, episode.length
            ),
        );
    }
}

fn check_decoding(report: &mut Report, path: &Path, expected: usize) {
    let mut decoded = 0;
    let mut reader = match VideoReader::open(path) {
        Ok(reader) => reader,
        Err(e) => return report.failed(path, e),
    };
    loop {
        match reader.next_frame() {
            Ok(Some(_)) => decoded += 1,
            Ok(None) => break,
            Err(e) => return report.failed(path, e),
        }
    }
    if decoded != expected {
        report.error(
            path,
            format!("{decoded} of its {expected} frames can be decoded"),
        );
    }
}
