//! From files to a compiled model that can be trusted.

use std::path::Path;
use std::sync::Arc;

use mujoco_rs::prelude::*;

use super::cache::Entry;
use super::error::{ModelError, line_of};
use super::source::{self, Sources, Text};
use super::{limits, meshes, urdf};
use crate::quiet::quiet_mujoco;

/// What a model file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// MuJoCo's own.
    Mjcf,
    /// ROS's Unified Robot Description Format. MuJoCo reads it; what it cannot hold is added: a position servo on every joint
    /// with limits, a camera called `overview`, and a light.
    Urdf,
}

/// Degrees of freedom of a model.
const MOST_FREEDOM: i64 = 3000;

/// The least memory for contacts and constraints, bytes; MuJoCo ends the process when it has too little. Pages that are not
/// used cost nothing.
const LEAST_MEMORY: i64 = 64 << 20;

/// Meshes and pictures that take time to compile, bytes.
const WORTH_CACHING: u64 = 1 << 20;

/// Compiles the model at `path`, or takes it from the cache.
///
/// Compared with what MuJoCo makes of the file, pictures have about 500 triangles of each mesh (collisions keep the original
/// meshes and hulls, and the motion is bit for bit the same), a state that has come apart is not reset in silence, and there
/// are at least 64 MiB for contacts.
///
/// Errors: the file and, where it is known, the line of what is wrong.
pub fn load(path: &Path, format: Format) -> Result<Arc<MjModel>, ModelError> {
    quiet_mujoco();
    let sources = match format {
        Format::Mjcf => source::mjcf(path)?,
        Format::Urdf => urdf::read(path)?,
    };
    let compile = || match format {
        Format::Mjcf => MjModel::from_xml(path)
            .map_err(|error| explain(&sources, &error.to_string()))
            .and_then(|model| tame(model, path)),
        Format::Urdf => urdf::compile(&sources).and_then(|model| tame(model, path)),
    };
    let finish = |mut model: MjModel| {
        meshes::lighten(&mut model, meshes::FACES);
        model
    };
    // What compiles at once needs no cache.
    let size: u64 = sources
        .assets
        .iter()
        .flat_map(std::fs::metadata)
        .map(|about| about.len())
        .sum();
    if size < WORTH_CACHING {
        return compile().map(finish).map(Arc::new);
    }
    let entry = Entry::of(&sources, &format!("{format:?}"))?;
    if let Some(model) = entry.load() {
        return Ok(Arc::new(model));
    }
    let model = finish(compile()?);
    entry.store(&model);
    Ok(Arc::new(model))
}

/// The model at `path` just as it is, without cache, for comparison.
///
/// Errors: as [`load`].
pub fn load_original(path: &Path, format: Format) -> Result<Arc<MjModel>, ModelError> {
    quiet_mujoco();
    let model = match format {
        Format::Mjcf => {
            let sources = source::mjcf(path)?;
            MjModel::from_xml(path).map_err(|error| explain(&sources, &error.to_string()))?
        }
        Format::Urdf => urdf::compile(&urdf::read(path)?)?,
    };
    tame(model, path).map(Arc::new)
}

/// Refuses what cannot be stepped, and sees to it that what can says so when it comes apart.
fn tame(mut model: MjModel, path: &Path) -> Result<MjModel, ModelError> {
    let refuse = |what: &str| Err(ModelError::new(path, what));
    if model.nv() > MOST_FREEDOM {
        let message = format!(
            "has {} degrees of freedom, at most {MOST_FREEDOM} are allowed",
            model.nv()
        );
        return refuse(&message);
    }
    if model.narena() as f64 > 2.0 * limits::MOST_MEMORY {
        return refuse("needs more than 2 GB for contacts: give <size memory=\"100M\"/>");
    }
    let timestep = model.opt().timestep;
    if !(1e-5..=0.1).contains(&timestep) {
        let message = format!("the timestep is {timestep} s, it must be within 0.00001..=0.1");
        return refuse(&message);
    }
    if !model.qpos0().iter().all(|q| q.is_finite()) {
        return refuse("a joint's position is not finite at the start");
    }
    let dense = 16 * 8 * model.nv() * model.nv();
    // SAFETY: how much `mj_makeData` allocates; nothing has been allocated by it yet.
    unsafe {
        let raw = model.ffi_mut();
        raw.narena = raw.narena.max(LEAST_MEMORY + dense);
    }
    model.opt_mut().disableflags |= MjtDisableBit::mjDSBL_AUTORESET as i32;
    Ok(model)
}

/// What MuJoCo says, with the file and the line that it means.
pub(super) fn explain(sources: &Sources, said: &str) -> ModelError {
    let parts: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    let message = parts.join("; ");
    let line = message.rfind("line ").and_then(|at| {
        let digits = message[at + 5..].chars().take_while(char::is_ascii_digit);
        digits
            .collect::<String>()
            .parse::<usize>()
            .ok()
            .filter(|&line| line > 0)
    });
    let words: Vec<&str> = message.split('\'').skip(1).step_by(2).collect();
    let place = match line {
        Some(line) => with_words(&sources.texts, line, &words).map(|text| (text, Some(line))),
        None => element_with_words(&sources.texts, &words),
    };
    let place = place.or_else(|| Some((sources.texts.first()?, line)));
    let Some((file, line)) = place else {
        return ModelError::new(Path::new("model"), message);
    };
    ModelError {
        file: file.path.clone(),
        line,
        message: format!("MuJoCo does not accept it: {message}"),
    }
}

/// MuJoCo gives a line, but not of which file: the first that has one of the words it quotes in that line.
fn with_words<'a>(texts: &'a [Text], line: usize, words: &[&str]) -> Option<&'a Text> {
    texts.iter().find(|text| {
        let content = text.text.lines().nth(line - 1).unwrap_or_default();
        words.iter().any(|word| content.contains(word))
    })
}

/// It gives no line in included files: the first element that begins with all the words it quotes.
fn element_with_words<'a>(texts: &'a [Text], words: &[&str]) -> Option<(&'a Text, Option<usize>)> {
    if words.is_empty() {
        return None;
    }
    texts.iter().find_map(|text| {
        let bare = text.without_comments();
        let begins_so = |start: usize| {
            let end = bare[start..]
                .find('>')
                .map_or(bare.len(), |end| start + end);
            words.iter().all(|word| bare[start..end].contains(word))
        };
        let found = bare
            .match_indices('<')
            .map(|(start, _)| start)
            .find(|&start| begins_so(start))?;
        Some((text, Some(line_of(&bare, found))))
    })
}
