//! What is wrong with a model or a task file, and where.

use std::path::{Path, PathBuf};

/// A model or task file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", file.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ModelError {
    /// The file, or what stands for one.
    pub file: PathBuf,
    /// Line in it, from 1, where the parser knows it.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ModelError {
    /// Something wrong with a whole file.
    pub(super) fn new(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: None,
            message: message.into(),
        }
    }

    /// Something wrong in one line, counted from 1.
    pub(super) fn at(file: &Path, line: usize, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::new(file, message)
        }
    }
}

/// The line, from 1, that byte `offset` of `text` is in.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|&&byte| byte == b'\n').count()
}
