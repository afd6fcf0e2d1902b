//! [`Error`]: everything that can go wrong with a dataset or a video, one sentence each.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path does not exist.
    #[error("{} does not exist; check the path", path.display())]
    NotFound {
        /// The missing file or directory.
        path: PathBuf,
    },
    /// The directory exists but is no dataset.
    #[error("{} is not a LeRobot dataset, because it has no meta/info.json; give the directory that holds meta/ and data/", path.display())]
    NotADataset {
        /// The directory.
        path: PathBuf,
    },
    /// The dataset is older than v3.0.
    #[error("{} is a LeRobotDataset {version}, which must be converted to v3.0 first, for example with LeRobot's convert_dataset_v21_to_v30 script", path.display())]
    OldVersion {
        /// The dataset's directory.
        path: PathBuf,
        /// Version found in meta/info.json.
        version: String,
    },
    /// The dataset is newer than v3.x.
    #[error("{} is a LeRobotDataset {version}, and this program reads v3; update it", path.display())]
    NewVersion {
        /// The dataset's directory.
        path: PathBuf,
        /// Version found in meta/info.json.
        version: String,
    },
    /// No space left on the device, or quota used up.
    #[error("the disk is full: {} could not be written; free some space and record the episode again, episodes saved before are intact", path.display())]
    DiskFull {
        /// The file that could not be written.
        path: PathBuf,
    },
    /// Another process is writing to the same dataset.
    #[error("{} is being recorded by another process; wait for it to finish", path.display())]
    Locked {
        /// The dataset's directory.
        path: PathBuf,
    },
    /// The operating system refused an operation.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The operation, a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason given by the operating system.
        source: io::Error,
    },
    /// A file exists but does not hold what it should.
    #[error("{} is damaged or not what it should be: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A value that is NaN or infinite was to be recorded.
    #[error(
        "feature {feature}, component {component}, of frame {frame} is {value}; only finite values can be recorded, so check its source"
    )]
    NonFinite {
        /// Feature name.
        feature: String,
        /// Index of the component within the feature.
        component: usize,
        /// Index of the frame within the episode.
        frame: usize,
        /// The value.
        value: f32,
    },
    /// The caller asked for something that cannot be done.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// Turns an operating-system error into a sentence about `path`.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::NotFound if doing == "read" => Self::NotFound { path },
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }

    /// A file that does not hold what it should.
    pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
