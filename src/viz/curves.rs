//! Curves of many episodes as a `.rrd` file.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rerun::RecordingStreamBuilder;
use rerun::blueprint::components::PanelState;
use rerun::blueprint::{
    Blueprint, BlueprintPanel, ContainerLike, Horizontal, SelectionPanel, TimePanel,
    TimeSeriesView, Vertical,
};

/// Plots in a row, and rows shown; the rest of the episodes is in the file all the same.
const SHAPE: (usize, usize) = (3, 3);

/// The curves of one episode.
pub struct Episode {
    /// Its name, a path of its own.
    pub name: String,
    /// Seconds between values.
    pub step: f64,
    /// Named curves.
    pub lines: Vec<(String, Vec<f64>)>,
}

/// Writes the curves, each under `episode/curve`, over `time`.
pub fn write(path: &Path, episodes: &[Episode]) -> anyhow::Result<()> {
    let stream = RecordingStreamBuilder::new("rapport")
        .recording_id("reward curves")
        .with_blueprint(blueprint(episodes))
        .save(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    for episode in episodes {
        for (name, values) in &episode.lines {
            let path = format!("{}/{name}", episode.name);
            for (t, value) in values.iter().enumerate() {
                stream.set_duration_secs("time", t as f64 * episode.step);
                stream.log(path.clone(), &rerun::Scalars::single(*value))?;
            }
        }
    }
    stream.flush_with_timeout(Duration::from_secs(10))?;
    Ok(())
}

fn blueprint(episodes: &[Episode]) -> Blueprint {
    let rows = episodes
        .chunks(SHAPE.0)
        .take(SHAPE.1)
        .map(|row| {
            let plots: Vec<ContainerLike> = row
                .iter()
                .map(|e| {
                    TimeSeriesView::new(e.name.as_str())
                        .with_origin(e.name.as_str())
                        .into()
                })
                .collect();
            Horizontal::new(plots).into()
        })
        .collect::<Vec<ContainerLike>>();
    Blueprint::new(Vertical::new(rows))
        .with_blueprint_panel(BlueprintPanel::from_state(PanelState::Collapsed))
        .with_selection_panel(SelectionPanel::from_state(PanelState::Collapsed))
        .with_time_panel(TimePanel::new().with_state(PanelState::Collapsed))
        .with_auto_views(false)
}
