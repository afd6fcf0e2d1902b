//! Compiled models on disk, by what they were made of: `cache/models/HASH/model.mjb` beside the assets. The folder may be
//! deleted at any time.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use mujoco_rs::prelude::*;
use sha2::{Digest as _, Sha256};

use super::error::ModelError;
use super::source::{self, Sources};
use crate::assets;

/// Raised when the importer makes something else of the same files.
const IMPORTER: u32 = 1;

const DIGEST: usize = 32;

/// A place for one model.
#[derive(Debug)]
pub(super) struct Entry {
    folder: PathBuf,
}

impl Entry {
    /// For a model of these files, imported in the way that `how` names.
    ///
    /// Errors: a file that cannot be read.
    pub(super) fn of(sources: &Sources, how: &str) -> Result<Self, ModelError> {
        Self::within(&assets::home().join("cache/models"), sources, how)
    }

    fn within(cache: &Path, sources: &Sources, how: &str) -> Result<Self, ModelError> {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(&IMPORTER.to_le_bytes());
        add(mujoco_rs::mujoco_version().to_string().as_bytes());
        add(how.as_bytes());
        // A folder that has moved is the same model.
        let start = sources
            .texts
            .first()
            .map(|text| source::folder(&text.path))
            .unwrap_or_default();
        let name = |path: &Path| {
            path.strip_prefix(&start)
                .unwrap_or(path)
                .as_os_str()
                .as_encoded_bytes()
                .to_vec()
        };
        for text in &sources.texts {
            add(&name(&text.path));
            add(text.text.as_bytes());
        }
        for asset in &sources.assets {
            add(&name(asset));
            let bytes = fs::read(asset)
                .map_err(|error| ModelError::new(asset, format!("cannot be read: {error}")))?;
            add(&bytes);
        }
        let name: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let folder = cache.join(name);
        Ok(Self { folder })
    }

    fn file(&self) -> PathBuf {
        self.folder.join("model.mjb")
    }

    /// The model, if it is there and whole.
    pub(super) fn load(&self) -> Option<MjModel> {
        let bytes = fs::read(self.file()).ok()?;
        let (digest, model) = bytes.split_at_checked(DIGEST)?;
        // MuJoCo believes what a compiled model says.
        (Sha256::digest(model).as_slice() == digest).then_some(())?;
        MjModel::from_buffer(model).ok()
    }

    /// Keeps `model`: the folder appears whole or not at all. A cache that cannot be written is no reason to have no model.
    pub(super) fn store(&self, model: &MjModel) {
        // Nothing more can be done where this fails; the next import compiles again.
        let _ = self.try_store(model);
    }

    fn try_store(&self, model: &MjModel) -> std::io::Result<()> {
        let cache = self.folder.parent().ok_or(std::io::ErrorKind::NotFound)?;
        fs::create_dir_all(cache)?;
        let mut bytes = vec![0; model.size()];
        model
            .save_to_buffer(&mut bytes)
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        let partial = tempfile::Builder::new()
            .prefix(".partial-")
            .tempdir_in(cache)?;
        let mut file = fs::File::create(partial.path().join("model.mjb"))?;
        file.write_all(&Sha256::digest(&bytes))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        if self.folder.exists() && self.load().is_none() {
            fs::remove_dir_all(&self.folder)?;
        }
        // Fails where another process was first: as good.
        fs::rename(partial.path(), &self.folder)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str =
        "<mujoco><worldbody><body><freejoint/><geom size='0.1'/></body></worldbody></mujoco>";

    #[test]
    fn a_kept_model_comes_back_and_a_damaged_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ball.xml");
        fs::write(&path, MODEL).unwrap();
        let sources = source::mjcf(&path).unwrap();
        let cache = dir.path().join("cache");
        let entry = Entry::within(&cache, &sources, "mjcf").unwrap();
        assert!(entry.load().is_none());
        let model = MjModel::from_xml_string(MODEL).unwrap();
        entry.store(&model);
        entry.store(&model);
        assert_eq!(entry.load().unwrap().nq(), 7);
        assert_eq!(
            fs::read_dir(&cache).unwrap().count(),
            1,
            "nothing half-written is left"
        );

        let mut bytes = fs::read(entry.file()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(entry.file(), &bytes).unwrap();
        assert!(entry.load().is_none());
        entry.store(&model);
        assert!(entry.load().is_some());
        fs::write(entry.file(), &bytes[..10]).unwrap();
        assert!(entry.load().is_none());
    }

    #[test]
    fn another_file_or_way_is_another_entry() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ball.xml");
        fs::write(&path, MODEL).unwrap();
        let sources = source::mjcf(&path).unwrap();
        let folder =
            |sources: &Sources, how| Entry::within(dir.path(), sources, how).unwrap().folder;
        let one = folder(&sources, "mjcf");
        assert_eq!(one, folder(&sources, "mjcf"));
        assert_ne!(one, folder(&sources, "other"));
        let mut changed = sources.clone();
        changed.texts[0].text.push(' ');
        assert_ne!(one, folder(&changed, "mjcf"));
    }
}
