//! Reading a folder of logged runs.

use std::path::Path;
use std::sync::Arc;

use mujoco_rs::prelude::*;
use mujoco_rs::wrappers::mj_data::MjData;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::write::{StateLogConfig, compile, episode_file};
use super::{DESCRIPTION, Layout, Log, LogError, Meaning, Referee, Table, Verdict};

/// Reads the runs in a folder, in the order of their numbers; all of one model.
///
/// Errors: [`LogError`] names the file and what is wrong with it.
pub fn read(dir: &Path) -> Result<Vec<Log>, LogError> {
    let path = dir.join(DESCRIPTION);
    if !path.is_file() {
        return Err(LogError::invalid(
            dir,
            format!("it is no folder of logged runs: it has no {DESCRIPTION}"),
        ));
    }
    let text = std::fs::read(&path).map_err(|error| LogError::io("read", &path, error))?;
    let config: StateLogConfig = serde_json::from_slice(&text)
        .map_err(|error| LogError::invalid(&path, format!("it is no description: {error}")))?;
    let parts = config
        .check()
        .map_err(|why| LogError::invalid(&path, why))?;
    let scene = dir.join(&config.scene);
    if !scene.is_file() {
        return Err(LogError::invalid(
            &scene,
            "it is missing; the log needs the model it was made with",
        ));
    }
    let model = Arc::new(compile(&scene).map_err(|why| LogError::invalid(&scene, why))?);
    let layout = Layout::of(&model, config.robot.as_deref()).map_err(|name| {
        LogError::invalid(
            &path,
            format!("the scene has no hinge or slide called {name}"),
        )
    })?;
    let action: Vec<(String, Meaning)> = config
        .action
        .iter()
        .map(|component| (component.name.clone(), component.meaning))
        .collect();
    let mut logs = Vec::new();
    for number in 0.. {
        let file = dir.join(episode_file(number));
        if !file.exists() {
            break;
        }
        let run = run(&file, model.state_size(parts), action.len())
            .map_err(|why| LogError::invalid(&file, why))?;
        logs.push(Log {
            name: format!("run {number}"),
            instruction: config.instruction.clone(),
            robot_type: config.robot_type.clone(),
            rate_hz: config.rate_hz,
            model: model.clone(),
            parts,
            states: run.states,
            actions: run.actions,
            action: action.clone(),
            layout: layout.clone(),
            columns: run.columns,
            referee: run.outcomes.map(|outcomes| Box::new(outcomes) as _),
        });
    }
    if logs.is_empty() {
        return Err(LogError::invalid(
            dir,
            format!("it has no run; the first would be {}", episode_file(0)),
        ));
    }
    Ok(logs)
}

struct Run {
    states: Table,
    actions: Table,
    outcomes: Option<Outcomes>,
    columns: Vec<(String, Table)>,
}

/// What was logged with each action; state `i + 1` is what action `i` led to.
struct Outcomes(Vec<Verdict>);

impl Referee for Outcomes {
    fn judge(&self, row: usize, _data: &MjData<Arc<MjModel>>) -> Verdict {
        row.checked_sub(1)
            .and_then(|action| self.0.get(action))
            .copied()
            .unwrap_or_default()
    }
}

fn run(file: &Path, state_len: usize, action_len: usize) -> Result<Run, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("it cannot be read: {error}"))?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| format!("it is damaged or no safetensors file ({error})"))?;
    let given = |name: &str| tensors.tensor(name).ok();
    let needed = |name: &str, width: usize| {
        let view = given(name).ok_or_else(|| format!("it has no tensor {name}"))?;
        let found = table(name, &view)?;
        if found.width() == width {
            return Ok(found);
        }
        Err(format!(
            "a row of {name} has {} numbers instead of {width}",
            found.width()
        ))
    };
    let states = needed("state", state_len)?;
    let actions = needed("action", action_len)?;
    let steps = actions.len();
    if states.len() != steps + 1 {
        return Err(format!(
            "it has {} states and {steps} actions; a run has one state more than actions",
            states.len()
        ));
    }
    let of_steps = |name: &str, view: &TensorView| {
        let column = table(name, view)?;
        if column.len() == steps {
            return Ok(column);
        }
        Err(format!(
            "{name} has {} rows, and there are {steps} actions",
            column.len()
        ))
    };
    let outcomes = match (given("reward"), given("success")) {
        (Some(reward), Some(success)) => {
            let reward = of_steps("reward", &reward)?;
            let success = of_steps("success", &success)?;
            Some(Outcomes(
                (0..steps)
                    .map(|i| Verdict {
                        reward: reward.row(i)[0],
                        success: success.row(i)[0] != 0.0,
                    })
                    .collect(),
            ))
        }
        (None, None) => None,
        _ => return Err("it has only one of reward and success; give both or neither".into()),
    };
    let mut names = tensors.names();
    names.sort_unstable();
    let columns = names
        .into_iter()
        .filter(|name| !["state", "action", "reward", "success"].contains(name))
        .filter_map(|name| Some((name, given(name)?)))
        .map(|(name, view)| Ok((name.to_owned(), of_steps(name, &view)?)))
        .collect::<Result<_, String>>()?;
    Ok(Run {
        states,
        actions,
        outcomes,
        columns,
    })
}

/// A tensor of one or two dimensions as numbers in rows.
fn table(name: &str, view: &TensorView) -> Result<Table, String> {
    let width = match *view.shape() {
        [_] => 1,
        [_, width] => width,
        _ => return Err(format!("{name} has the shape {:?}", view.shape())),
    };
    let data = view.data();
    let values: Vec<f64> = match view.dtype() {
        Dtype::F64 => numbers(data, f64::from_le_bytes),
        Dtype::F32 => numbers(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
        Dtype::I64 => numbers(data, |bytes| i64::from_le_bytes(bytes) as f64),
        Dtype::U8 | Dtype::BOOL => data.iter().map(|&byte| f64::from(byte)).collect(),
        other => {
            return Err(format!(
                "{name} is of type {other:?}; write f64, f32, i64, u8 or bool"
            ));
        }
    };
    if let Some(i) = values.iter().position(|value| !value.is_finite()) {
        return Err(format!(
            "number {} of row {} of {name} is {}",
            i % width.max(1),
            i / width.max(1),
            values[i]
        ));
    }
    Table::new(width, values)
        .filter(|table| !table.is_empty())
        .ok_or_else(|| format!("{name} is empty"))
}

fn numbers<const N: usize>(data: &[u8], number: fn([u8; N]) -> f64) -> Vec<f64> {
    let (whole, _) = data.as_chunks();
    whole.iter().map(|bytes| number(*bytes)).collect()
}
