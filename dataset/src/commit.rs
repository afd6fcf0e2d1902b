//! [`Commit`]: a set of files that get their names together, the deciding one last.

use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::{Error, Result};

/// Files that are complete on the disk and wait for their names, in the order in which they get them.
#[derive(Default)]
pub(crate) struct Commit {
    moves: Vec<(PathBuf, PathBuf)>,
    last: Option<PathBuf>,
    published: bool,
}

impl Commit {
    /// Adds a complete, synced file that is to be moved to `to`, which must not exist.
    pub fn move_in(&mut self, from: &Path, to: PathBuf) -> Result<()> {
        prepare_new(&to)?;
        self.moves.push((from.to_owned(), to));
        Ok(())
    }

    /// Adds a file that must not exist yet.
    pub fn create(&mut self, to: PathBuf, bytes: &[u8]) -> Result<()> {
        prepare_new(&to)?;
        self.replace(to, bytes)
    }

    /// Adds a file that takes the place of one of the same name.
    pub fn replace(&mut self, to: PathBuf, bytes: &[u8]) -> Result<()> {
        durable::stage(&to, bytes)?;
        self.moves.push((durable::partial(&to), to));
        Ok(())
    }

    /// Sets the file that decides: it gets its name after the others have theirs durably.
    pub fn last(&mut self, to: PathBuf, bytes: &[u8]) -> Result<()> {
        durable::stage(&to, bytes)?;
        self.last = Some(to);
        Ok(())
    }

    /// Gives the files their names. Nothing is written, so a full disk does not matter any more.
    pub fn publish(mut self) -> Result<()> {
        self.published = true;
        for (from, to) in &self.moves {
            durable::rename(from, to)?;
        }
        let mut dirs: Vec<&Path> = self
            .moves
            .iter()
            .filter_map(|(_, to)| to.parent())
            .collect();
        dirs.sort();
        dirs.dedup();
        dirs.into_iter().try_for_each(durable::sync_dir)?;
        if let Some(last) = &self.last {
            durable::publish(last)?;
            durable::sync_parent(last)?;
        }
        Ok(())
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        // Staging failed half-way. Files that cannot be removed here are removed when the dataset is opened to append.
        for (from, _) in &self.moves {
            let _ = std::fs::remove_file(from);
        }
        if let Some(last) = &self.last {
            let _ = std::fs::remove_file(durable::partial(last));
        }
    }
}

fn prepare_new(to: &Path) -> Result<()> {
    if to.exists() {
        return Err(Error::corrupt(
            to,
            "it exists although no episode uses it; verify the dataset and move the file away",
        ));
    }
    to.parent().map_or(Ok(()), durable::create_dir)
}
