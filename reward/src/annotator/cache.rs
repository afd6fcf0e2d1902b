//! [`AnswerCache`]: what an annotator said, in a file with one JSON object per line, so that nothing is asked twice.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::hash::Hash;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::RewardError;

/// Answers by question, in memory and, where a path is given, in an append-only file. A last line that a crash tore is
/// ignored and written over; the first answer to a question stands.
#[derive(Debug)]
pub struct AnswerCache<Q, A> {
    file: Option<Journal>,
    answers: HashMap<Q, A>,
}

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
}

#[derive(Serialize)]
struct LineOut<'a, Q, A> {
    query: &'a Q,
    answer: &'a A,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineIn<Q, A> {
    query: Q,
    answer: A,
}

impl<Q, A> AnswerCache<Q, A>
where
    Q: Clone + Eq + Hash + Serialize + DeserializeOwned,
    A: Clone + Serialize + DeserializeOwned,
{
    /// A cache that forgets when it goes.
    pub fn in_memory() -> Self {
        Self {
            file: None,
            answers: HashMap::new(),
        }
    }

    /// The cache in a file, which need not exist yet. Fails when another process has it open, and when a line other than the
    /// last is not an answer.
    pub fn open(path: &Path) -> Result<Self, RewardError> {
        let fail = |e: std::io::Error| file_error(path, e.to_string());
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(fail)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(file_error(
                    path,
                    "another process is adding answers; close it first".into(),
                ));
            }
            Err(TryLockError::Error(e)) => return Err(fail(e)),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(fail)?;
        let (mut answers, mut whole) = (HashMap::new(), 0);
        for (i, line) in text.split_inclusive(|&b| b == b'\n').enumerate() {
            let ended = line.last() == Some(&b'\n');
            // A line without its end was torn, even where what is left of it can be read.
            if !ended {
                break;
            }
            if !line.trim_ascii().is_empty() {
                let LineIn { query, answer } = serde_json::from_slice(line).map_err(|e| {
                    let cause = format!("line {} is not an answer ({e}); remove it", i + 1);
                    file_error(path, cause)
                })?;
                answers.entry(query).or_insert(answer);
            }
            whole += line.len() as u64;
        }
        if whole < text.len() as u64 {
            file.set_len(whole).map_err(fail)?;
        }
        Ok(Self {
            file: Some(Journal {
                path: path.to_owned(),
                file,
                length: whole,
            }),
            answers,
        })
    }

    /// What was answered.
    pub fn get(&self, query: &Q) -> Option<&A> {
        self.answers.get(query)
    }

    /// Questions answered.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// True when there is no answer.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// All answers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Q, &A)> {
        self.answers.iter()
    }

    /// Keeps answers. When this returns they are on disk; when it fails, neither the file nor the memory has them.
    pub fn extend(&mut self, fresh: &[(Q, A)]) -> Result<(), RewardError> {
        if let Some(journal) = &mut self.file {
            let mut lines = Vec::new();
            for (query, answer) in fresh {
                if !self.answers.contains_key(query) {
                    serde_json::to_writer(&mut lines, &LineOut { query, answer })
                        .map_err(|e| file_error(&journal.path, e.to_string()))?;
                    lines.push(b'\n');
                }
            }
            journal.append(&lines)?;
        }
        for (query, answer) in fresh {
            self.answers
                .entry(query.clone())
                .or_insert_with(|| answer.clone());
        }
        Ok(())
    }
}

impl Journal {
    fn append(&mut self, lines: &[u8]) -> Result<(), RewardError> {
        if lines.is_empty() {
            return Ok(());
        }
        let written = self
            .file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.file.write_all(lines))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += lines.len() as u64;
                Ok(())
            }
            Err(e) => {
                // Take back what was written. If even that fails, the next opening does it.
                let _ = self.file.set_len(self.length);
                Err(file_error(&self.path, e.to_string()))
            }
        }
    }
}

fn file_error(path: &Path, cause: String) -> RewardError {
    RewardError::File {
        path: path.display().to_string(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cache = AnswerCache<String, f64>;

    #[test]
    fn answers_survive_reopening_and_a_torn_line_is_written_over() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("cache/answers.jsonl");
        let mut cache = Cache::open(&path).unwrap();
        cache
            .extend(&[("a".into(), 1.0), ("b\n\"".into(), 0.0)])
            .unwrap();
        // The first answer stands.
        cache.extend(&[("a".into(), 0.0)]).unwrap();
        drop(cache);
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
        for cut in [first + 3, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut cache = Cache::open(&path).unwrap();
            assert_eq!((cache.len(), cache.get(&"a".into())), (1, Some(&1.0)));
            cache.extend(&[("c".into(), 2.0)]).unwrap();
            drop(cache);
            let cache = Cache::open(&path).unwrap();
            assert_eq!((cache.len(), cache.get(&"c".into())), (2, Some(&2.0)));
        }
    }

    #[test]
    fn a_spoiled_line_and_a_second_writer_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("answers.jsonl");
        std::fs::write(&path, "{\"query\":\"a\",\"answer\":1.0}\nnonsense\n").unwrap();
        let message = Cache::open(&path).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
        std::fs::remove_file(&path).unwrap();
        let _first = Cache::open(&path).unwrap();
        let message = Cache::open(&path).unwrap_err().to_string();
        assert!(message.contains("another process"), "{message}");
    }
}
