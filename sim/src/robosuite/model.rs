//! The model of a demonstration: an MJCF file of MuJoCo 2.0 that names its meshes and textures by where they were on the
//! recording person's disk.
//!
//! What is changed before it is compiled, and nothing else:
//! - `file` of meshes and textures: what follows `models/assets/` is looked up in the package at hand.
//! - `robots/panda/meshes/pedestal.stl`, which 1.0.1 moved to `robots/common_meshes/`.
//! - `nconmax` and `njmax` of `<size>`, deprecated: MuJoCo 3 sizes its memory itself, and 5000 of each would take 1.3 GB.
//! - `group` of collision geoms other than the floor, and of all sites, so that they are not drawn: robosuite draws neither.
//!   Physics does not know groups.

use std::path::{Component, Path, PathBuf};

use mujoco_rs::prelude::*;
use mujoco_rs::wrappers::mj_editing::MjSpec;

use super::RobosuiteError;
use crate::quiet::quiet_mujoco;

/// Files that are not where the models say.
const MOVED: [(&str, &str); 1] = [(
    "robots/panda/meshes/pedestal.stl",
    "robots/common_meshes/pedestal.stl",
)];

/// A group of geoms or sites that no renderer draws.
const HIDDEN: i32 = 5;

/// Compiles the model at `path`, with meshes and textures from `assets`.
///
/// Errors: [`RobosuiteError::Model`] with MuJoCo's own words, or the file that is not there.
pub(super) fn compile(path: &Path, assets: &Path) -> Result<MjModel, RobosuiteError> {
    let wrong = |why: String| RobosuiteError::Model {
        path: path.to_owned(),
        why,
    };
    quiet_mujoco();
    let text = std::fs::read_to_string(path).map_err(|error| RobosuiteError::Io {
        path: path.to_owned(),
        error,
    })?;
    if text.contains('\0') {
        return Err(wrong("it is no text".into()));
    }
    let mut spec = MjSpec::from_xml_string(&text).map_err(|error| wrong(error.to_string()))?;
    for mesh in spec.mesh_iter_mut() {
        if !mesh.file().is_empty() {
            let file = located(mesh.file(), assets).map_err(wrong)?;
            mesh.set_file(&file);
        }
    }
    for texture in spec.texture_iter_mut() {
        if !texture.file().is_empty() {
            let file = located(texture.file(), assets).map_err(wrong)?;
            texture.set_file(&file);
        }
    }
    for geom in spec.geom_iter_mut() {
        if geom.group() == 0 && geom.type_() != MjtGeomBase::mjGEOM_PLANE {
            geom.set_group(HIDDEN);
        }
    }
    for site in spec.site_iter_mut() {
        site.set_group(HIDDEN);
    }
    // SAFETY: -1 is MuJoCo's own default for both and means that it decides.
    unsafe {
        let raw = spec.ffi_mut();
        raw.nconmax = -1;
        raw.njmax = -1;
    }
    spec.compile().map_err(|error| wrong(error.to_string()))
}

/// Where a file of the recording person's disk is here.
fn located(file: &str, assets: &Path) -> Result<String, String> {
    const MARK: &str = "models/assets/";
    let inside = file
        .rfind(MARK)
        .map(|at| resolved(Path::new(&file[at + MARK.len()..])))
        .ok_or_else(|| format!("it needs {file}, which is not in the package"))?;
    let moved = MOVED
        .iter()
        .find(|(from, _)| inside == Path::new(from))
        .map(|(_, to)| assets.join(to));
    let path = [Some(assets.join(&inside)), moved]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{} is missing in {}", inside.display(), assets.display()))?;
    let path = std::path::absolute(&path).map_err(|error| error.to_string())?;
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("{} is no text that MuJoCo could read", path.display()))
}

/// A path without `..`; what climbs out of its folder stays at the top.
fn resolved(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => out.push(part),
            Component::ParentDir => {
                out.pop();
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_disk_is_found_in_the_package_and_never_outside() {
        let folder = tempfile::tempdir().unwrap();
        let assets = folder.path().join("assets");
        for file in ["textures/wood.png", "robots/common_meshes/pedestal.stl"] {
            let path = assets.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        let find = |file: &str| located(file, &assets);
        let wood = assets.join("textures/wood.png");
        assert_eq!(
            find("/home/a/robosuite/models/assets/arenas/../textures/wood.png").unwrap(),
            wood.to_str().unwrap()
        );
        assert!(
            find("/home/a/robosuite/models/assets/robots/panda/meshes/pedestal.stl")
                .unwrap()
                .ends_with("common_meshes/pedestal.stl")
        );
        let error = find("/x/models/assets/textures/iron.png").unwrap_err();
        assert!(error.contains("textures/iron.png is missing"), "{error}");
        find("/x/models/assets/../secret").unwrap_err();
        find("/etc/passwd").unwrap_err();
    }
}
