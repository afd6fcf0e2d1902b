//! Other people's robots: MJCF and URDF files, imported, checked and made into environments by a task that is data.
//!
//! | name of the environment | what it is |
//! |---|---|
//! | `mjcf:FILE`, `urdf:FILE` | any model, with the task in [`EnvConfig::task_file`](crate::EnvConfig::task_file), a [`TaskFile`] |
//! | [`NAMES`] | published models with a task that comes with Rapport |

mod cache;
mod chain;
mod environment;
mod error;
mod import;
mod limits;
mod measure;
pub(crate) mod meshes;
mod plan;
mod simplify;
mod source;
mod start;
mod task;
mod task_check;
#[cfg(test)]
mod tests;
mod urdf;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use chain::ArmChain;
pub use error::ModelError;
pub use import::{Format, load, load_original};
pub use task::{Action, ActionKind, Clause, Goal, Observe, Point, Start, TaskFile};

use crate::assets::{self, Package};
use crate::env::{EnvConfig, EnvError};
use crate::environment::Maker;
use environment::ModelEnv;
use plan::Plan;
use source::Text;

/// A published model with a task of ours.
#[derive(Clone, Copy)]
struct Named {
    name: &'static str,
    package: Package,
    file: &'static str,
    task: &'static str,
}

const NAMED: [Named; 3] = [
    Named {
        name: NAMES[0],
        package: assets::SO101,
        file: "pick_scene.xml",
        task: include_str!("scenes/so101-published.toml"),
    },
    Named {
        name: NAMES[1],
        package: assets::PANDA,
        file: "scene.xml",
        task: include_str!("scenes/panda.toml"),
    },
    Named {
        name: NAMES[2],
        package: assets::ALOHA,
        file: "bimanual_viperx_transfer_cube.xml",
        task: include_str!("scenes/aloha.toml"),
    },
];

/// The published models by the names of their environments: the SO-101 that picks up a block, the Franka Panda that does the
/// same by torque, and two ViperX arms that hand a cube over.
pub const NAMES: [&str; 3] = ["so101-published", "panda", "aloha"];

/// Makes environments of the model that `name` means; None for a name that means none.
///
/// Errors: [`EnvError::Model`] with file and line; [`EnvError::Asset`] says which command fetches the model.
pub(crate) fn maker(name: &str, config: &EnvConfig) -> Result<Option<Maker>, EnvError> {
    let named = NAMED.iter().find(|named| named.name == name);
    let (path, format) = match (name.split_once(':'), named) {
        (Some(("mjcf", path)), _) => (PathBuf::from(path), Format::Mjcf),
        (Some(("urdf", path)), _) => (PathBuf::from(path), Format::Urdf),
        (_, Some(named)) => (named.package.file(named.file)?, Format::Mjcf),
        _ => return Ok(None),
    };
    let (task, text) = match (&config.task_file, named) {
        (Some(file), _) => TaskFile::read(file)?,
        (None, Some(named)) => own_task(named)?,
        (None, None) => plan::plain(&path),
    };
    let model = load(&path, format)?;
    let plan = Arc::new(Plan::new(name, model, (&task, &text), config)?);
    let config = config.clone();
    Ok(Some(Maker::from_fn(move || {
        Ok(Box::new(ModelEnv::new(plan.clone(), &config)?))
    })))
}

fn own_task(named: &Named) -> Result<(TaskFile, Text), ModelError> {
    let text = Text {
        path: Path::new(named.name).with_extension("toml"),
        text: named.task.into(),
    };
    Ok((TaskFile::parse(&text)?, text))
}

/// The file of a published model, one of [`NAMES`].
///
/// Errors: [`EnvError::Asset`] says which command fetches it.
pub fn published(name: &str) -> Result<PathBuf, EnvError> {
    let named = NAMED.iter().find(|named| named.name == name);
    let named = named.ok_or_else(|| {
        let known = NAMES.join(", ");
        EnvError::Config(format!(
            "there is no published model \"{name}\"; there are {known}"
        ))
    })?;
    Ok(named.package.file(named.file)?)
}
