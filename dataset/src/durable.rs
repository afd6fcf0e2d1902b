//! Writing files so that a crash or a power cut leaves either the old content or the new one.

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Suffix of a file that is still being written. It lies outside every pattern by which readers find files.
pub(crate) const PARTIAL: &str = "partial";

/// `path` with [`PARTIAL`] appended.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(PARTIAL);
    name.into()
}

/// Writes `bytes` to the partial name of `path` and waits until they are on the disk. A failed write leaves nothing.
pub(crate) fn stage(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = partial(path);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| {
        // Best effort: what matters is the first error, and a partial file harms nobody.
        let _ = fs::remove_file(&partial);
        Error::io("write", path, e)
    })
}

/// Gives a staged file its final name; the directory must be synced afterwards.
pub(crate) fn publish(path: &Path) -> Result<()> {
    rename(&partial(path), path)
}

/// Stages, publishes and syncs: replaces `path` in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    stage(path, bytes)?;
    publish(path)?;
    sync_parent(path)
}

/// Moves a file within one filesystem.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io("create", to, e))
}

/// Waits until the content of a written file is on the disk.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|f| f.sync_all())
        .map_err(|e| Error::io("write", path, e))
}

/// Waits until the entries of a directory are on the disk.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|f| f.sync_all())
        .map_err(|e| Error::io("sync directory", dir, e))
}

/// Syncs the directory that holds `path`.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_dir(dir),
        _ => sync_dir(Path::new(".")),
    }
}

/// Creates a directory with its parents and makes the new entries durable.
pub(crate) fn create_dir(dir: &Path) -> Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_dir(parent)?;
    }
    match fs::create_dir(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io("create directory", dir, e))
        }
        _ => sync_parent(dir),
    }
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|e| Error::io("remove", path, e))
}

/// Takes the lock of a dataset for as long as the file is held. The system lets go of it when the process dies.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    let file = File::open(dir).map_err(|e| Error::io("open", dir, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: dir.into() }),
        // Some network filesystems have no locks; recording there works, unguarded.
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", dir, e)),
    }
}

/// Files matching `<dir>/*/*.<extension>` in sorted order, as LeRobot finds them. A missing `dir` has none.
pub(crate) fn chunked_files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for chunk in entries(dir)?.into_iter().filter(|p| p.is_dir()) {
        files.extend(entries(&chunk)?.into_iter().filter(|p| {
            p.extension().is_some_and(|e| e == extension) && !is_hidden(p) && p.is_file()
        }));
    }
    files.retain(|f| f.parent().is_some_and(|p| !is_hidden(p)));
    files.sort();
    Ok(files)
}

/// Sorted entries of a directory; none if it does not exist.
pub(crate) fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| Error::io("list", dir, e))?,
    };
    let mut paths = read
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|e| Error::io("list", dir, e))?;
    paths.sort();
    Ok(paths)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|n| n.to_string_lossy().starts_with('.'))
}
