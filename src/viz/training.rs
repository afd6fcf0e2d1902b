//! A training run's numbers as a `.rrd` file that grows while it trains.

use std::path::Path;

use anyhow::Context as _;
use rerun::blueprint::components::PanelState;
use rerun::blueprint::{
    Blueprint, BlueprintPanel, ContainerLike, Horizontal, SelectionPanel, TimePanel,
    TimeSeriesView, Vertical,
};
use rerun::{RecordingStream, RecordingStreamBuilder};
use serde_json::Value;

/// What is plotted together, row by row; what a run does not have stays empty.
const PLOTS: [(&str, &[&str]); 6] = [
    (
        "return",
        &[
            "/true_return",
            "/learned_return",
            "/evaluation/true_return",
            "/evaluation/learned_return",
        ],
    ),
    ("success", &["/success", "/evaluation/success_rate"]),
    (
        "loss",
        &[
            "/update/critic_loss",
            "/update/value_loss",
            "/update/training_loss",
            "/update/validation_loss",
            "/validation_loss",
            "/update/loss",
        ],
    ),
    (
        "value",
        &[
            "/update/value",
            "/update/actor_loss",
            "/update/policy_objective",
        ],
    ),
    (
        "chance",
        &[
            "/update/entropy",
            "/update/temperature",
            "/update/divergence",
            "/update/clipped",
        ],
    ),
    (
        "gradients",
        &[
            "/update/gradient_norm",
            "/update/actor_gradient_norm",
            "/update/critic_gradient_norm",
            "/update/adversary_gradient",
        ],
    ),
];

/// What the numbers of a line are plotted over: the first of these that it has.
const AXES: [&str; 5] = ["steps", "updates", "step", "epoch", "round"];

/// The curves of one run.
pub struct TrainingCurves {
    stream: RecordingStream,
}

impl TrainingCurves {
    /// Starts `path`.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let stream = RecordingStreamBuilder::new("rapport")
            .recording_id("training")
            .with_blueprint(blueprint())
            .save(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { stream })
    }

    /// Takes in a line of `metrics.jsonl`: each number under its path, over the line's count.
    pub fn log(&self, line: &Value) -> anyhow::Result<()> {
        let count = |of: &Value| AXES.iter().find_map(|axis| of[*axis].as_i64());
        if let Some(at) = count(line).or_else(|| count(&line["evaluation"])) {
            self.stream.set_time_sequence("steps", at);
        }
        self.log_under("", line)
    }

    fn log_under(&self, path: &str, value: &Value) -> anyhow::Result<()> {
        let number = match value {
            Value::Object(parts) => {
                for (name, part) in parts {
                    self.log_under(&format!("{path}/{name}"), part)?;
                }
                return Ok(());
            }
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            other => other.as_f64(),
        };
        if let Some(number) = number {
            self.stream.log(path, &rerun::Scalars::single(number))?;
        }
        Ok(())
    }
}

fn blueprint() -> Blueprint {
    let rows = PLOTS.chunks(3).map(|row| {
        let plots = row.iter().map(|(name, contents)| {
            TimeSeriesView::new(*name)
                .with_contents(contents.iter().copied())
                .into()
        });
        Horizontal::new(plots.collect::<Vec<ContainerLike>>()).into()
    });
    Blueprint::new(Vertical::new(rows.collect::<Vec<ContainerLike>>()))
        .with_blueprint_panel(BlueprintPanel::from_state(PanelState::Collapsed))
        .with_selection_panel(SelectionPanel::from_state(PanelState::Collapsed))
        .with_time_panel(TimePanel::new().with_state(PanelState::Collapsed))
        .with_auto_views(false)
}
