//! Where the files of a robosuite package are: in an unpacked folder, or in a wheel that is unpacked for the time being.

use std::fs::File;
use std::io::{Read as _, copy};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zip::ZipArchive;

use super::RobosuiteError;
use crate::assets::{MissingAsset, ROBOSUITE};

/// Where in a wheel the models and data are.
const ASSETS: &str = "robosuite/models/assets";

/// What of [`ASSETS`] the demonstrations need: about 66 of the 230 MB.
const NEEDED: [&str; 6] = [
    "demonstrations/",
    "textures/",
    "objects/meshes/",
    "robots/panda/meshes/",
    "robots/common_meshes/",
    "grippers/meshes/panda_gripper/",
];

/// Kinds of files that MuJoCo or this program reads.
const KINDS: [&str; 4] = ["hdf5", "xml", "stl", "png"];

/// No file of the package is larger than this, bytes; a wheel that says otherwise is not one.
const LARGEST: u64 = 64 << 20;

/// An opened package.
#[derive(Debug)]
pub(super) struct Archive {
    assets: PathBuf,
    /// Goes when the archive does.
    _unpacked: Option<TempDir>,
}

impl Archive {
    /// Finds the assets in a folder, or unpacks them from a wheel.
    pub(super) fn open(path: &Path) -> Result<Self, RobosuiteError> {
        if !path.exists() {
            return Err(MissingAsset {
                path: path.to_owned(),
                package: ROBOSUITE,
            }
            .into());
        }
        if path.is_file() {
            return Self::unpack(path);
        }
        Self::find(path, path, None)
    }

    /// The folder of models, meshes, textures and demonstrations.
    pub(super) fn assets(&self) -> &Path {
        &self.assets
    }

    /// Finds the assets in `folder`, which may be the assets themselves, the package, or what the package is in.
    fn find(
        folder: &Path,
        given: &Path,
        unpacked: Option<TempDir>,
    ) -> Result<Self, RobosuiteError> {
        ["", "models/assets", ASSETS]
            .map(|inside| folder.join(inside))
            .into_iter()
            .find(|assets| assets.join("demonstrations").is_dir())
            .map(|assets| Self {
                assets,
                _unpacked: unpacked,
            })
            .ok_or_else(|| RobosuiteError::NoDemonstrations {
                path: given.to_owned(),
                package: ROBOSUITE,
            })
    }

    fn unpack(wheel: &Path) -> Result<Self, RobosuiteError> {
        let wrong = |why: String| RobosuiteError::Wheel {
            path: wheel.to_owned(),
            why,
        };
        let file = File::open(wheel).map_err(|error| RobosuiteError::Io {
            path: wheel.to_owned(),
            error,
        })?;
        let mut archive = ZipArchive::new(file)
            .map_err(|error| wrong(format!("it is no wheel, or it is truncated ({error})")))?;
        let folder = tempfile::Builder::new()
            .prefix("rapport-robosuite-")
            .tempdir()
            .map_err(|error| wrong(format!("there is no room for temporary files ({error})")))?;
        for index in 0..archive.len() {
            let entry = archive
                .by_index(index)
                .map_err(|error| wrong(format!("entry {index} is damaged ({error})")))?;
            // Absolute names and names that climb out of the folder have no enclosed name.
            let Some(name) = entry.enclosed_name().filter(|name| is_needed(name)) else {
                continue;
            };
            let target = folder.path().join(&name);
            let write = || -> std::io::Result<bool> {
                if let Some(parent) = target.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                let mut limited = entry.take(LARGEST + 1);
                Ok(copy(&mut limited, &mut File::create(&target)?)? <= LARGEST)
            };
            match write() {
                Ok(true) => {}
                Ok(false) => return Err(wrong(format!("{} is too large", name.display()))),
                Err(error) => return Err(wrong(format!("{}: {error}", name.display()))),
            }
        }
        let root = folder.path().to_owned();
        Self::find(&root, wheel, Some(folder))
    }
}

/// Whether a file of the wheel is one that the demonstrations need.
fn is_needed(name: &Path) -> bool {
    let kind = name.extension().and_then(|kind| kind.to_str());
    let Ok(inside) = name.strip_prefix(ASSETS) else {
        return false;
    };
    kind.is_some_and(|kind| KINDS.contains(&kind))
        && NEEDED.iter().any(|folder| inside.starts_with(folder))
}
