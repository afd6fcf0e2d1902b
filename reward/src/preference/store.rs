//! [`PreferenceStore`]: answers in a file, one JSON object per line, each on disk before the next is asked.
//!
//! Besides answers a line can be a [`Skipped`] question or a retraction. A retraction names the line that it takes back by how many
//! lines it is before its own, so that files can be put behind each other. Nothing is ever removed from the file; what was taken back
//! is in the file and not in [`PreferenceStore::records`].

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ClipId, Preference};
use crate::model::RewardError;

/// A last line that a crash tore. It was never acknowledged, so that leaving it out loses no answer that counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Number of the line, from 1.
    pub line: usize,
    /// Its length in bytes.
    pub bytes: usize,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "line {} ended in the middle after {} bytes and was left out; the answer it began was never confirmed, give it again",
            self.line, self.bytes
        )
    }
}

/// A question that was shown and not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// The clips that were shown.
    #[serde(rename = "skip")]
    pub clips: Vec<ClipId>,
    /// Who would not say.
    pub user: String,
    /// When, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The situation that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

impl Skipped {
    /// A question skipped now.
    pub fn now(clips: Vec<ClipId>, user: impl Into<String>) -> Result<Self, RewardError> {
        Ok(Self {
            clips,
            user: user.into(),
            time_ms: super::now_ms()?,
            context: None,
        })
    }
}

/// A line that takes an earlier one back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retraction {
    /// How many lines before this one; blank lines do not count.
    retract: usize,
    user: String,
    time_ms: u64,
}

/// What a line can say.
#[derive(Clone, Debug)]
enum Line {
    Answer(Preference),
    Skip(Skipped),
    Retract(Retraction),
}

impl Line {
    fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        // Answers are by far the most frequent, and what is wrong with a line is said as if it were one.
        let answer = match serde_json::from_slice(text) {
            Ok(answer) => return Ok(Self::Answer(answer)),
            Err(error) => error,
        };
        if let Ok(skip) = serde_json::from_slice(text) {
            return Ok(Self::Skip(skip));
        }
        serde_json::from_slice(text)
            .map(Self::Retract)
            .map_err(|_| answer)
    }
}

/// What a retraction took back.
#[derive(Clone, Debug, PartialEq)]
pub enum Retracted {
    /// An answer.
    Answer(Preference),
    /// That a question was skipped.
    Skip(Skipped),
}

/// The lines of a file that stand.
#[derive(Debug, Default)]
struct Standing {
    /// Lines so far, retractions and retracted ones included.
    lines: usize,
    records: Vec<Preference>,
    /// Line of each record.
    numbers: Vec<usize>,
    skips: Vec<(usize, Skipped)>,
}

impl Standing {
    fn push(&mut self, line: Line) -> Result<Option<Retracted>, String> {
        let number = self.lines;
        let mut retracted = None;
        match line {
            Line::Answer(record) => {
                self.records.push(record);
                self.numbers.push(number);
            }
            Line::Skip(skip) => self.skips.push((number, skip)),
            Line::Retract(Retraction { retract, .. }) => {
                let found = number.checked_sub(retract).and_then(|n| self.remove(n));
                retracted = Some(found.ok_or_else(|| {
                    format!(
                        "takes back what is {retract} lines before it, and no answer stands there"
                    )
                })?);
            }
        }
        self.lines += 1;
        Ok(retracted)
    }

    fn remove(&mut self, number: usize) -> Option<Retracted> {
        if let Ok(i) = self.numbers.binary_search(&number) {
            self.numbers.remove(i);
            return Some(Retracted::Answer(self.records.remove(i)));
        }
        let i = self.skips.iter().position(|(n, _)| *n == number)?;
        Some(Retracted::Skip(self.skips.remove(i).1))
    }
}

/// An append-only file of [`Preference`]s. A line is synced before [`PreferenceStore::append`] returns; a last line that a
/// crash tore is ignored and written over.
#[derive(Debug)]
pub struct PreferenceStore {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    standing: Standing,
    torn: Option<Torn>,
}

impl PreferenceStore {
    /// Opens a store for adding to it, and creates it when there is none. Fails when another process has it open, and when a
    /// line other than the last is not a preference.
    pub fn open(path: &Path) -> Result<Self, RewardError> {
        let fail = |e: std::io::Error| file_error(path, &e);
        let is_new = !path.exists();
        if let Some(parent) = parent(path) {
            std::fs::create_dir_all(parent).map_err(fail)?;
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
                return Err(RewardError::File {
                    path: path.display().to_string(),
                    cause: "another process is adding preferences; close it first".into(),
                });
            }
            Err(TryLockError::Error(e)) => return Err(fail(e)),
        }
        if is_new && let Some(parent) = parent(path) {
            File::open(parent)
                .and_then(|d| d.sync_all())
                .map_err(fail)?;
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(fail)?;
        let Parsed {
            standing,
            whole,
            torn,
        } = parse(path, &text)?;
        let mut store = Self {
            path: path.to_path_buf(),
            file,
            length: whole as u64,
            standing,
            torn,
        };
        store.trim().map_err(fail)?;
        if whole > 0 && text[whole - 1] != b'\n' {
            store.write(b"\n").map_err(fail)?;
        }
        Ok(store)
    }

    /// The records of a store that is left alone, without those that were taken back.
    pub fn read(path: &Path) -> Result<Vec<Preference>, RewardError> {
        let text = std::fs::read(path).map_err(|e| file_error(path, &e))?;
        Ok(parse(path, &text)?.standing.records)
    }

    /// The torn last line that was found on opening, if there was one: something to tell the person.
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// Adds a record. When this returns it is on disk; when it fails, the file holds what it held before.
    pub fn append(&mut self, record: Preference) -> Result<(), RewardError> {
        record.validate()?;
        self.add(&record.clone(), Line::Answer(record)).map(drop)
    }

    /// Notes that a question was skipped, as durably as an answer.
    pub fn skip(&mut self, skip: Skipped) -> Result<(), RewardError> {
        self.add(&skip.clone(), Line::Skip(skip)).map(drop)
    }

    /// Takes back the answer or skipped question in line `number` of [`PreferenceStore::numbered`] or [`PreferenceStore::skips`], in the
    /// name of `user`. Fails when it was taken back before.
    pub fn retract(&mut self, number: usize, user: &str) -> Result<Retracted, RewardError> {
        let stands = self.standing.numbers.binary_search(&number).is_ok()
            || self.standing.skips.iter().any(|(n, _)| *n == number);
        if !stands {
            return Err(RewardError::Other(format!(
                "there is no answer in line {} of {} to take back",
                number + 1,
                self.path.display()
            )));
        }
        let retraction = Retraction {
            retract: self.standing.lines - number,
            user: user.into(),
            time_ms: super::now_ms()?,
        };
        let retracted = self.add(&retraction.clone(), Line::Retract(retraction))?;
        retracted.ok_or_else(|| RewardError::Other("a retraction took nothing back".into()))
    }

    fn add(&mut self, what: &impl Serialize, line: Line) -> Result<Option<Retracted>, RewardError> {
        let mut text = serde_json::to_vec(what).map_err(|e| RewardError::File {
            path: self.path.display().to_string(),
            cause: e.to_string(),
        })?;
        text.push(b'\n');
        if let Err(e) = self.write(&text) {
            // Take back what was written of the line. If even that fails, the next opening does it.
            let _ = self.trim();
            return Err(file_error(&self.path, &e));
        }
        self.standing.push(line).map_err(RewardError::Other)
    }

    /// All records that stand, oldest first.
    pub fn records(&self) -> &[Preference] {
        &self.standing.records
    }

    /// All records that stand with the numbers of their lines, oldest first.
    pub fn numbered(&self) -> impl DoubleEndedIterator<Item = (usize, &Preference)> {
        let numbers = self.standing.numbers.iter().copied();
        numbers.zip(&self.standing.records)
    }

    /// All skipped questions that stand with the numbers of their lines, oldest first.
    pub fn skips(&self) -> impl DoubleEndedIterator<Item = (usize, &Skipped)> {
        self.standing.skips.iter().map(|(n, skip)| (*n, skip))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn trim(&mut self) -> std::io::Result<()> {
        if self.file.metadata()?.len() != self.length {
            self.file.set_len(self.length)?;
            self.file.sync_data()?;
        }
        Ok(())
    }
}

/// The directory that a path lies in, where it names one.
fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|p| !p.as_os_str().is_empty())
}

fn file_error(path: &Path, e: &std::io::Error) -> RewardError {
    RewardError::File {
        path: path.display().to_string(),
        cause: e.to_string(),
    }
}

/// What a file holds.
#[derive(Default)]
struct Parsed {
    standing: Standing,
    /// Bytes that all lines take.
    whole: usize,
    torn: Option<Torn>,
}

/// Reads a file. A last line without an end that does not parse is a torn one.
fn parse(path: &Path, text: &[u8]) -> Result<Parsed, RewardError> {
    let mut parsed = Parsed::default();
    for (i, line) in text.split_inclusive(|&b| b == b'\n').enumerate() {
        let ended = line.last() == Some(&b'\n');
        if !line.trim_ascii().is_empty() {
            let refuse = |cause: String| RewardError::File {
                path: path.display().to_string(),
                cause: format!("line {} {cause}; correct or remove it", i + 1),
            };
            match Line::parse(line) {
                Ok(line) => drop(parsed.standing.push(line).map_err(refuse)?),
                Err(_) if !ended => {
                    parsed.torn = Some(Torn {
                        line: i + 1,
                        bytes: line.len(),
                    });
                    break;
                }
                Err(e) => return Err(refuse(format!("is not a preference ({e})"))),
            }
        }
        parsed.whole += line.len();
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preference::{Choice, ClipId, Reaction, SegmentFault, Source};

    fn clip(episode: usize) -> ClipId {
        ClipId {
            dataset: "pushes".into(),
            episode,
            start: 0,
            end: 30,
        }
    }

    fn pair(better: usize, worse: usize) -> Preference {
        Preference {
            choice: Choice::Pair {
                better: clip(better),
                worse: clip(worse),
            },
            user: "ana".into(),
            annotator: "terminal".into(),
            time_ms: 1_700_000_000_000,
            context: None,
            strength: None,
            weight: None,
            source: None,
        }
    }

    #[test]
    fn records_come_back_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/prefs.jsonl");
        let mut store = PreferenceStore::open(&path).unwrap();
        let triplet = Preference {
            choice: Choice::Triplet {
                best: clip(0),
                middle: clip(1),
                worst: clip(2),
            },
            context: Some("near people".into()),
            ..pair(0, 1)
        };
        let rank = Preference {
            choice: Choice::Rank {
                clips: (0..4).map(clip).collect(),
            },
            ..pair(0, 1)
        };
        for record in [pair(1, 2), triplet, rank] {
            store.append(record).unwrap();
        }
        let records = store.records().to_vec();
        drop(store);
        assert_eq!(PreferenceStore::read(&path).unwrap(), records);
        assert_eq!(PreferenceStore::open(&path).unwrap().records(), records);
    }

    #[test]
    fn a_torn_last_line_is_ignored_wherever_it_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prefs.jsonl");
        let mut store = PreferenceStore::open(&path).unwrap();
        store.append(pair(1, 2)).unwrap();
        store.append(pair(3, 4)).unwrap();
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
        for cut in first..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let survivors = PreferenceStore::read(&path).unwrap().len();
            // Only the newline missing: the record itself is whole.
            assert_eq!(survivors, if cut + 1 == whole.len() { 2 } else { 1 });
            let mut store = PreferenceStore::open(&path).unwrap();
            let torn = Torn {
                line: 2,
                bytes: cut - first,
            };
            let expected = (survivors == 1 && cut > first).then_some(torn);
            assert_eq!(store.torn(), expected);
            store.append(pair(5, 6)).unwrap();
            drop(store);
            let records = PreferenceStore::read(&path).unwrap();
            assert_eq!(records.len(), survivors + 1);
            assert_eq!(records.last(), Some(&pair(5, 6)));
        }
    }

    #[test]
    fn every_kind_of_answer_is_kept_and_lines_of_older_versions_still_load() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prefs.jsonl");
        let old = r#"{"choice":{"kind":"pair","better":{"dataset":"pushes","episode":1,"start":0,"end":30},"worse":{"dataset":"pushes","episode":2,"start":0,"end":30}},"user":"ana","annotator":"terminal","time_ms":1700000000000}"#;
        std::fs::write(&path, format!("{old}\n")).unwrap();
        let mut store = PreferenceStore::open(&path).unwrap();
        assert_eq!(store.records(), [pair(1, 2)]);
        let fault = SegmentFault {
            start: 3,
            end: 9,
            fault: "drop".into(),
        };
        let choices = [
            Choice::Score {
                clip: clip(1),
                score: 0.1 + 0.2,
            },
            Choice::Fault {
                clip: clip(1),
                faults: vec![fault],
            },
            Choice::Reaction {
                clip: clip(1),
                reaction: Reaction::Takeover,
            },
            Choice::Equal {
                clips: vec![clip(1), clip(2)],
            },
        ];
        for choice in choices {
            let record = Preference {
                choice,
                strength: Some(0.3),
                weight: Some(0.5),
                source: Some(Source::Reaction),
                ..pair(0, 1)
            };
            store.append(record).unwrap();
        }
        let records = store.records().to_vec();
        drop(store);
        assert_eq!(PreferenceStore::read(&path).unwrap(), records);
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .starts_with(&format!("{old}\n{{"))
        );
    }

    #[test]
    fn numbers_out_of_their_range_are_refused() {
        let bad = |choice: Choice| Preference {
            choice,
            ..pair(0, 1)
        };
        let fault = |start, end| {
            let fault = SegmentFault {
                start,
                end,
                fault: "drop".into(),
            };
            bad(Choice::Fault {
                clip: clip(0),
                faults: vec![fault],
            })
        };
        assert!(fault(0, 30).validate().is_ok());
        let score = Choice::Score {
            clip: clip(0),
            score: f64::NAN,
        };
        let all = [
            fault(3, 3),
            fault(3, 31),
            bad(score),
            Preference {
                strength: Some(1.5),
                ..pair(0, 1)
            },
            Preference {
                weight: Some(f64::NAN),
                ..pair(0, 1)
            },
            Preference {
                weight: Some(-1.0),
                ..pair(0, 1)
            },
        ];
        for record in all {
            assert!(record.validate().is_err(), "{record:?}");
        }
    }

    #[test]
    fn a_bad_line_in_the_middle_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prefs.jsonl");
        let line = serde_json::to_string(&pair(1, 2)).unwrap();
        std::fs::write(&path, format!("{line}\nnonsense\n{line}\n")).unwrap();
        let message = PreferenceStore::open(&path).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }

    #[test]
    fn a_second_writer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prefs.jsonl");
        let _first = PreferenceStore::open(&path).unwrap();
        let message = PreferenceStore::open(&path).unwrap_err().to_string();
        assert!(message.contains("another process"), "{message}");
    }

    fn skipped(episode: usize) -> Skipped {
        Skipped {
            clips: vec![clip(episode), clip(episode + 1)],
            user: "ana".into(),
            time_ms: 1_700_000_000_000,
            context: None,
        }
    }

    #[test]
    fn what_was_taken_back_is_in_the_file_and_not_among_the_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prefs.jsonl");
        let mut store = PreferenceStore::open(&path).unwrap();
        for episode in 0..3 {
            store.append(pair(episode, episode + 1)).unwrap();
        }
        store.skip(skipped(7)).unwrap();
        store.append(pair(5, 6)).unwrap();
        let middle = store.numbered().nth(1).unwrap().0;
        assert_eq!(
            store.retract(middle, "ana").unwrap(),
            Retracted::Answer(pair(1, 2))
        );
        assert!(store.retract(middle, "ana").is_err(), "only once");
        assert!(store.retract(99, "ana").is_err());
        let skip = store.skips().next().unwrap().0;
        assert_eq!(
            store.retract(skip, "ana").unwrap(),
            Retracted::Skip(skipped(7))
        );
        store.append(pair(1, 2)).unwrap();
        let stands = [pair(0, 1), pair(2, 3), pair(5, 6), pair(1, 2)];
        assert_eq!(store.records(), stands);
        assert_eq!(store.skips().count(), 0);
        drop(store);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 8, "nothing is removed: {text}");
        assert_eq!(PreferenceStore::read(&path).unwrap(), stands);
        // Two files behind each other say what both say.
        std::fs::write(&path, text.clone() + &text).unwrap();
        let both = PreferenceStore::open(&path).unwrap();
        assert_eq!(both.records(), [stands.clone(), stands].concat());
    }

    #[test]
    fn a_retraction_of_nothing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prefs.jsonl");
        let line = serde_json::to_string(&pair(1, 2)).unwrap();
        for back in [0, 2, 9] {
            let retraction = format!("{{\"retract\":{back},\"user\":\"ana\",\"time_ms\":1}}");
            std::fs::write(&path, format!("{line}\n{retraction}\n")).unwrap();
            let message = PreferenceStore::open(&path).unwrap_err().to_string();
            assert!(message.contains("line 2"), "{message}");
        }
    }

    #[test]
    fn senseless_records_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = PreferenceStore::open(&dir.path().join("prefs.jsonl")).unwrap();
        assert!(store.append(pair(1, 1)).is_err());
        let mut empty = pair(1, 2);
        if let Choice::Pair { better, .. } = &mut empty.choice {
            better.end = better.start;
        }
        assert!(store.append(empty).is_err());
        assert!(store.records().is_empty());
    }
}
