//! A reward on disk: a directory with `reward.toml` and one safetensors file.
//!
//! `reward.toml` says what kind of reward it is, on which encoder's features it was learned, with what settings and seed, and
//! by which version. The tensors' file carries the start of its own hash in its name and `reward.toml`, written last, names it:
//! a directory holds the old reward or the new one, never a mixture.

mod parts;
mod tensor;

pub use parts::{Parts, StoredReward};
pub(crate) use parts::{nested, restore, table, to_toml};
pub(crate) use tensor::prefixed;
pub use tensor::{Tensor, Tensors};

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rapport_perception::EncoderSpec;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{Clip, Context, RewardError, Signal, check_encoder};

/// Layout of a reward directory that this version writes and reads.
pub const FORMAT: u32 = 1;
const HEADER: &str = "reward.toml";

/// Contents of `reward.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    kind: String,
    seed: u64,
    tensors: String,
    sha256: String,
    encoder: EncoderSpec,
    versions: toml::Table,
    config: toml::Table,
}

/// A directory that holds, or will hold, a reward.
#[derive(Clone, Debug)]
pub struct RewardDir {
    path: PathBuf,
}

/// A reward that was read from a directory.
pub struct LoadedReward {
    /// The reward.
    pub model: Box<dyn StoredReward>,
    /// The encoder whose features it takes.
    pub encoder: EncoderSpec,
    /// What kind of reward it is.
    pub kind: String,
    /// Its settings.
    pub config: toml::Table,
    /// The seed it was learned with.
    pub seed: u64,
    /// Versions of the software that wrote it.
    pub versions: toml::Table,
}

impl LoadedReward {
    /// Refuses features of another encoder, in a sentence that names both.
    pub fn check_encoder(&self, encoder: &EncoderSpec) -> Result<(), RewardError> {
        check_encoder(encoder, &self.encoder)
    }

    /// Scores a clip whose features come from `encoder`, which must be the one that the reward was learned on.
    pub fn score(
        &self,
        encoder: &EncoderSpec,
        clip: &Clip,
        context: &Context,
    ) -> Result<Signal, RewardError> {
        self.check_encoder(encoder)?;
        self.model.score(clip, context)
    }
}

impl RewardDir {
    /// The directory at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a reward learned on `encoder`'s features with `seed`, replacing one that is there.
    pub fn save(
        &self,
        model: &dyn StoredReward,
        encoder: &EncoderSpec,
        seed: u64,
    ) -> Result<(), RewardError> {
        let tensors = tensor::write(&model.tensors()?)?;
        let sha256 = hex(&Sha256::digest(&tensors));
        let mut versions = toml::Table::new();
        versions.insert("rapport".into(), env!("CARGO_PKG_VERSION").into());
        let header = Header {
            format: FORMAT,
            kind: model.kind().into(),
            seed,
            tensors: format!("reward-{}.safetensors", &sha256[..12]),
            sha256,
            encoder: encoder.clone(),
            versions,
            config: model.config()?,
        };
        let text = toml::to_string(&header).map_err(|e| self.error(HEADER, &e))?;
        let before = self.header().ok();

        std::fs::create_dir_all(&self.path).map_err(|e| self.error("", &e))?;
        self.replace(&header.tensors, &tensors)?;
        self.replace(HEADER, text.as_bytes())?;
        if let Some(before) = before
            && before.tensors != header.tensors
            && is_plain_name(&before.tensors)
        {
            // The new reward is complete; an old file that stays behind does no harm.
            let _ = std::fs::remove_file(self.path.join(before.tensors));
        }
        Ok(())
    }

    /// Reads the reward. Fails, with a sentence that says what to do, when something is missing, damaged, of another format or
    /// of an unknown kind.
    pub fn load(&self) -> Result<LoadedReward, RewardError> {
        let header = self.header()?;
        if !is_plain_name(&header.tensors) {
            return Err(self.error(HEADER, &"`tensors` must be a file beside it"));
        }
        let bytes = std::fs::read(self.path.join(&header.tensors))
            .map_err(|e| self.error(&header.tensors, &e))?;
        if hex(&Sha256::digest(&bytes)) != header.sha256 {
            return Err(self.error(
                &header.tensors,
                &"the file is damaged (its hash is not the one in reward.toml); learn the reward again",
            ));
        }
        let tensors = tensor::read(&bytes).map_err(|e| self.error(&header.tensors, &e))?;
        let model = restore(Parts {
            kind: header.kind.clone(),
            config: header.config.clone(),
            tensors,
            encoder: header.encoder.clone(),
        })
        .map_err(|e| self.error("", &e))?;
        Ok(LoadedReward {
            model,
            encoder: header.encoder,
            kind: header.kind,
            config: header.config,
            seed: header.seed,
            versions: header.versions,
        })
    }

    fn header(&self) -> Result<Header, RewardError> {
        let text = std::fs::read_to_string(self.path.join(HEADER)).map_err(|e| {
            if e.kind() == std::io::ErrorKind::NotFound {
                self.error(
                    HEADER,
                    &"there is no reward here; learn one with `rapport reward`",
                )
            } else {
                self.error(HEADER, &e)
            }
        })?;
        let table: toml::Table = text.parse().map_err(|e| self.error(HEADER, &e))?;
        match table.get("format").and_then(toml::Value::as_integer) {
            Some(format) if format == i64::from(FORMAT) => {}
            found => {
                let found = found.map_or("no number".to_owned(), |f| f.to_string());
                let cause = format!(
                    "its format is {found}, this version reads {FORMAT}; learn the reward again or use the version that wrote it"
                );
                return Err(self.error(HEADER, &cause));
            }
        }
        table.try_into().map_err(|e| self.error(HEADER, &e))
    }

    /// Writes beside, syncs, renames, syncs the directory.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), RewardError> {
        let fresh = self.path.join(format!(".{name}.{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&fresh)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, self.path.join(name))?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|e| {
            let _ = std::fs::remove_file(&fresh);
            self.error(name, &e)
        })
    }

    fn error(&self, name: &str, cause: &dyn std::fmt::Display) -> RewardError {
        let path = if name.is_empty() {
            self.path.clone()
        } else {
            self.path.join(name)
        };
        RewardError::File {
            path: path.display().to_string(),
            cause: cause.to_string(),
        }
    }
}

/// A file name without a way out of its directory.
fn is_plain_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|n| n == name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
