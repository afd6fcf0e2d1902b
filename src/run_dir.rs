//! A run's folder: the complete resolved configuration, the seed, the versions, and one line of metrics per episode.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::viz::TrainingCurves;

/// Makes the folder and writes `run.toml`: everything that is needed to repeat the run.
pub fn create<T: Serialize>(
    dir: &Path,
    command: &str,
    seed: u64,
    config: &T,
) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Run<'a, T> {
        command: &'a str,
        seed: u64,
        rapport: &'a str,
        mujoco: String,
        config: &'a T,
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let run = Run {
        command,
        seed,
        rapport: env!("CARGO_PKG_VERSION"),
        mujoco: rapport::sim::mujoco_version(),
        config,
    };
    write_atomically(
        &dir.join("run.toml"),
        toml::to_string_pretty(&run)?.as_bytes(),
    )
}

/// Writes a file so that it is there completely or not at all.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = PathBuf::from(format!("{}.partial", path.display()));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        let folder = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// `metrics.jsonl`, one JSON object a line, appended; and the same numbers as `curves.rrd`, which can be opened at any time.
pub struct MetricsLog {
    file: BufWriter<File>,
    path: PathBuf,
    /// None where they could not be written: a run goes on without them.
    curves: Option<TrainingCurves>,
}

impl MetricsLog {
    /// Opens the log of a run, keeping what is there.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("metrics.jsonl");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let curves = match curves(&dir.join("curves.rrd"), &path) {
            Ok(curves) => Some(curves),
            Err(error) => {
                tracing::warn!("no curves for the viewer: {error:#}");
                None
            }
        };
        Ok(Self {
            file: BufWriter::new(file),
            path,
            curves,
        })
    }

    /// Appends one line.
    pub fn write<T: Serialize>(&mut self, metrics: &T) -> anyhow::Result<()> {
        let metrics = serde_json::to_value(metrics)?;
        writeln!(self.file, "{metrics}")
            .and_then(|()| self.file.flush())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        if let Some(Err(error)) = self.curves.as_ref().map(|curves| curves.log(&metrics)) {
            tracing::warn!("no more curves for the viewer: {error:#}");
            self.curves = None;
        }
        Ok(())
    }
}

/// A file of curves that begins with the lines that are in the log already.
fn curves(path: &Path, log: &Path) -> anyhow::Result<TrainingCurves> {
    let curves = TrainingCurves::create(path)?;
    for line in std::fs::read_to_string(log)?.lines() {
        // A line that was cut off by a crash is no reason to do without the others.
        if let Ok(line) = serde_json::from_str(line) {
            curves.log(&line)?;
        }
    }
    Ok(curves)
}
