//! Policies on disk: a directory with `policy.toml` and safetensors files.
//!
//! Each tensor file carries a piece of its SHA-256 in its name and is written, synced and renamed before `policy.toml`
//! is; files that no `policy.toml` names any more are deleted last. So the directory is a complete checkpoint at every
//! moment, whenever the power goes. `policy.toml` and the file of the part `policy` are all that deployment needs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::act::Act;
use crate::bc::Bc;
use crate::diffusion::Diffusion;
use crate::drq::DrqPolicy;
use crate::iql::Iql;
use crate::policy::{Policy, PolicyError};
use crate::ppo::Ppo;
use crate::sac::Sac;
use crate::td3::DeterministicPolicy;

/// Version of the directory's layout.
const FORMAT: u32 = 1;

/// Name of the file that makes a directory a checkpoint.
const MANIFEST: &str = "policy.toml";

/// What a policy sees and does, in the words of whoever runs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// Width of an observation.
    pub observation_dim: usize,
    /// Width of an action.
    pub action_dim: usize,
    /// Names of the observation's components, `[observation_dim]`, or none.
    #[serde(default)]
    pub observation_names: Vec<String>,
    /// What `-1..=1` means to the robot: kept and given back, never looked into. JSON, as text in the file.
    #[serde(default, with = "json_text")]
    pub action_space: serde_json::Value,
}

impl PolicySpec {
    /// Widths only.
    pub fn new(observation_dim: usize, action_dim: usize) -> Self {
        Self {
            observation_dim,
            action_dim,
            observation_names: Vec::new(),
            action_space: serde_json::Value::Null,
        }
    }

    /// Says what is wrong with this spec, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let names = self.observation_names.len();
        if self.observation_dim == 0 || self.action_dim == 0 {
            return Err(PolicyError::Other(
                "a policy needs at least one observation and one action".into(),
            ));
        }
        if names != 0 && names != self.observation_dim {
            return Err(PolicyError::Other(format!(
                "{names} observation names for {} observations",
                self.observation_dim
            )));
        }
        Ok(())
    }

    /// Refuses an observation of another width or with a value that is not finite, which is named.
    pub(crate) fn check_observation(
        &self,
        observation: &[f32],
        update: u64,
    ) -> Result<(), PolicyError> {
        if observation.len() != self.observation_dim {
            return Err(PolicyError::Other(format!(
                "the observation has {} numbers, the policy has {}",
                observation.len(),
                self.observation_dim
            )));
        }
        let Some(at) = observation.iter().position(|x| !x.is_finite()) else {
            return Ok(());
        };
        let name = self
            .observation_names
            .get(at)
            .map(|name| format!(" ({name})"))
            .unwrap_or_default();
        Err(PolicyError::NotFinite {
            tensor: format!("observation[{at}]{name}"),
            update,
        })
    }
}

mod json_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        value: &serde_json::Value,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        d: D,
    ) -> Result<serde_json::Value, D::Error> {
        serde_json::from_str(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// One tensor file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// File name in the directory.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// `policy.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout, 1.
    pub format: u32,
    /// Kind of policy: `act`, `bc`, `sac`.
    pub kind: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// The seed everything random was drawn from.
    pub seed: u64,
    /// Gradient steps behind it.
    pub step: u64,
    /// What it sees and does.
    pub spec: PolicySpec,
    /// The complete configuration of its learner.
    pub config: toml::Table,
    /// Tensor files by part: `policy`, and for going on `learner`, `replay`, `demonstrations`.
    pub parts: BTreeMap<String, Part>,
}

fn file_error(path: &Path, cause: impl Into<String>) -> PolicyError {
    PolicyError::File {
        path: path.display().to_string(),
        cause: cause.into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Manifest {
    pub(crate) fn new<C: Serialize>(
        kind: &str,
        spec: &PolicySpec,
        config: &C,
        seed: u64,
        step: u64,
    ) -> Result<Self, PolicyError> {
        let config = toml::Table::try_from(config).map_err(|error| {
            PolicyError::Other(format!("the configuration cannot be written: {error}"))
        })?;
        Ok(Self {
            format: FORMAT,
            kind: kind.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            seed,
            step,
            spec: spec.clone(),
            config,
            parts: BTreeMap::new(),
        })
    }

    /// Reads `policy.toml` of a checkpoint directory.
    pub fn read(dir: &Path) -> Result<Self, PolicyError> {
        let path = dir.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => file_error(
                &path,
                "is not there; name a directory that a learner has saved",
            ),
            _ => file_error(&path, format!("cannot be read ({error})")),
        })?;
        let manifest: Self = toml::from_str(&text).map_err(|error| {
            let line = error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_string();
            file_error(
                &path,
                format!(
                    "cannot be understood ({line}: {}); use another checkpoint",
                    error.message()
                ),
            )
        })?;
        if manifest.format != FORMAT {
            let cause = format!(
                "has format {}, this version reads {FORMAT}; use the version that wrote it ({})",
                manifest.format, manifest.version
            );
            return Err(file_error(&path, cause));
        }
        manifest
            .spec
            .validate()
            .map_err(|error| file_error(&path, error.to_string()))?;
        Ok(manifest)
    }

    /// Like [`Manifest::read`], for one who can use policies of this kind only.
    pub(crate) fn read_kind(dir: &Path, kind: &str) -> Result<Self, PolicyError> {
        let manifest = Self::read(dir)?;
        if manifest.kind == kind {
            return Ok(manifest);
        }
        let cause = format!("holds a policy of kind {}, not {kind}", manifest.kind);
        Err(file_error(dir, cause))
    }

    /// The learner's configuration, as its own type.
    pub fn config<C: for<'d> Deserialize<'d>>(&self, dir: &Path) -> Result<C, PolicyError> {
        self.config
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| {
                file_error(
                    &dir.join(MANIFEST),
                    format!("configuration cannot be understood ({})", error.message()),
                )
            })
    }

    /// Path and checked bytes of a part.
    pub(crate) fn part(&self, dir: &Path, name: &str) -> Result<(PathBuf, Vec<u8>), PolicyError> {
        let Some(part) = self.parts.get(name) else {
            let cause =
                format!("names no part {name}; it was saved for deployment only, not for going on");
            return Err(file_error(&dir.join(MANIFEST), cause));
        };
        // Only a plain file name: a manifest from elsewhere must not reach outside its directory.
        if Path::new(&part.file).file_name() != Some(part.file.as_ref()) {
            return Err(file_error(
                &dir.join(MANIFEST),
                format!("part {name} is not a plain file name"),
            ));
        }
        let path = dir.join(&part.file);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => file_error(
                &path,
                "is missing; copy it beside policy.toml or use another checkpoint",
            ),
            _ => file_error(&path, format!("cannot be read ({error})")),
        })?;
        if bytes.len() as u64 != part.bytes {
            let cause = format!(
                "has {} bytes instead of {}; the copy is incomplete, use another checkpoint",
                bytes.len(),
                part.bytes
            );
            return Err(file_error(&path, cause));
        }
        if hex(&Sha256::digest(&bytes)) != part.sha256 {
            return Err(file_error(
                &path,
                "is damaged (its SHA-256 has changed); use another checkpoint",
            ));
        }
        Ok((path, bytes))
    }

    /// Writes the checkpoint: parts, then `policy.toml`, then out with what is no longer named.
    pub(crate) fn write(
        mut self,
        dir: &Path,
        parts: impl IntoIterator<Item = (&'static str, Vec<u8>)>,
    ) -> Result<(), PolicyError> {
        let failed = |error: std::io::Error| {
            file_error(
                dir,
                format!("cannot be written ({error}); free space or choose another directory"),
            )
        };
        fs::create_dir_all(dir).map_err(failed)?;
        for (name, bytes) in parts {
            let sha256 = hex(&Sha256::digest(&bytes));
            let file = format!("{name}-{}.safetensors", &sha256[..12]);
            write_atomic(dir, &file, &bytes).map_err(failed)?;
            let part = Part {
                file,
                bytes: bytes.len() as u64,
                sha256,
            };
            self.parts.insert(name.into(), part);
        }
        let text = toml::to_string(&self).map_err(|error| {
            PolicyError::Other(format!("policy.toml cannot be written: {error}"))
        })?;
        write_atomic(dir, MANIFEST, text.as_bytes()).map_err(failed)?;
        self.sweep(dir).map_err(failed)
    }

    /// Deletes tensor files of earlier checkpoints and temporary files of interrupted ones.
    fn sweep(&self, dir: &Path) -> std::io::Result<()> {
        const PARTS: [&str; 4] = ["policy", "learner", "replay", "demonstrations"];
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = PARTS.iter().any(|part| {
                let rest = name
                    .trim_start_matches('.')
                    .strip_prefix(part)
                    .and_then(|rest| rest.strip_prefix('-'));
                rest.is_some_and(|rest| {
                    rest.ends_with(".safetensors") || rest.ends_with(".safetensors.tmp")
                })
            });
            if ours && !self.parts.values().any(|part| part.file == name) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The file is the old one or the new one, never a piece.
fn write_atomic(dir: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = dir.join(format!(".{name}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}

/// A policy for acting, from a directory that any learner of this crate has saved.
pub fn load_policy(dir: &Path) -> Result<Box<dyn Policy>, PolicyError> {
    let manifest = Manifest::read(dir)?;
    match manifest.kind.as_str() {
        Sac::KIND => Ok(Box::new(Sac::load_policy(&manifest, dir)?)),
        Ppo::KIND => Ok(Box::new(Ppo::load_policy(&manifest, dir)?)),
        Act::KIND => Ok(Box::new(Act::load(&manifest, dir)?)),
        Bc::KIND => Ok(Box::new(Bc::load(&manifest, dir)?)),
        Diffusion::KIND => Ok(Box::new(Diffusion::load(&manifest, dir)?)),
        DrqPolicy::KIND => Ok(Box::new(DrqPolicy::load(&manifest, dir)?)),
        DeterministicPolicy::KIND => Ok(Box::new(DeterministicPolicy::load(&manifest, dir)?)),
        Iql::KIND => Ok(Box::new(Iql::load_policy(&manifest, dir)?)),
        kind => Err(file_error(
            &dir.join(MANIFEST),
            format!(
                "holds a policy of kind {kind}, known are act, bc, diffusion, iql, ppo, sac and td3; use a newer version"
            ),
        )),
    }
}
