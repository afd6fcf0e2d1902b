//! `rapport view`: opens a recording, a dataset or a run in the Rerun viewer.

use std::path::{Path, PathBuf};

use super::Usage;
use crate::ui::Ui;

/// Open a recording (.rrd), a dataset folder or a run folder in the Rerun viewer.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .rrd file, a LeRobot dataset, or a folder with .rrd files.
    path: PathBuf,
    /// Window size.
    #[arg(long, default_value = "1280x800", value_name = "WxH")]
    size: String,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let files = openable(&args.path)?;
    let viewer = viewer()?;
    let mut command = std::process::Command::new(&viewer);
    command.args(&files).args(["--window-size", &args.size]);
    ui.say(format!(
        "opening {} in {}",
        args.path.display(),
        viewer.display()
    ));
    let status = command.status()?;
    anyhow::ensure!(status.success(), "the viewer ended with {status}");
    Ok(())
}

/// What the viewer can open at `path`.
fn openable(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.exists() {
        return Err(Usage(format!(
            "{} does not exist; give a .rrd file, a dataset or a run folder",
            path.display()
        ))
        .into());
    }
    if path.is_file() || path.join("meta/info.json").exists() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files: Vec<_> = std::fs::read_dir(path)?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "rrd"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Usage(format!(
            "{} holds no .rrd file and is not a dataset",
            path.display()
        ))
        .into());
    }
    Ok(files)
}

/// The viewer program: `$RAPPORT_VIEWER`, the data directory's, or `rerun` on the path.
fn viewer() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("RAPPORT_VIEWER") {
        return Ok(path.into());
    }
    let installed = rapport::perception::data_dir().join("viewer/rerun");
    if installed.exists() {
        return Ok(installed);
    }
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|p| std::env::split_paths(&p).collect::<Vec<_>>())
        .map(|d| d.join("rerun"));
    on_path.into_iter().find(|p| p.is_file()).ok_or_else(|| {
        anyhow::anyhow!("no Rerun viewer here; run `./x setup` (it fetches rerun-sdk 0.36.3)")
    })
}
