//! What a dataset knows about its episodes, as an examination wants it.

use rapport::dataset::Episode;
use rapport::perception::Features;
use rapport::reward::eval::{Sample, motion};

use crate::clips::Library;
use crate::schema;

/// Most joint positions and object coordinates that are probed for.
const MOST_DIMENSIONS: usize = 16;

/// Every episode with what the dataset knows of it: the truth (`truth.progress`, or else `next.reward`), whether it ended in
/// success, the phase, and speed, smoothness, joints and objects.
pub fn samples(library: &Library) -> anyhow::Result<Vec<Sample>> {
    let names = Names::of(library);
    (0..library.features().len())
        .map(|episode| {
            let clip = library.clip(episode)?;
            let columns = library.columns(episode)?;
            let steps = clip.len();
            let fitting = |v: Option<Vec<f64>>| v.filter(|v| v.len() == steps);
            let mut sample = Sample::new(clip);
            sample.truth = fitting(column(&columns, schema::PROGRESS))
                .or_else(|| fitting(column(&columns, schema::REWARD)));
            sample.success =
                column(&columns, schema::SUCCESS).and_then(|s| s.last().map(|v| *v > 0.5));
            sample.phase = phase(&columns).filter(|p| p.len() == steps);
            if let Some(state) = sample.clip.columns.get(schema::STATE) {
                let of_state = motion(state, sample.clip.fps);
                sample
                    .dimensions
                    .extend(of_state.into_iter().filter(|(_, v)| v.len() == steps));
            }
            for (name, column, component) in &names.0 {
                let values = sample.clip.columns.get(*column).map(|f| of(f, *component));
                if let Some(values) = fitting(values) {
                    sample.dimensions.insert(name.clone(), values);
                }
            }
            Ok(sample)
        })
        .collect()
}

/// Names of joints and object coordinates, each with its column and component.
struct Names(Vec<(String, &'static str, usize)>);

impl Names {
    fn of(library: &Library) -> Self {
        let features = &library.dataset().info().features.0;
        let mut found = Vec::new();
        for column in [schema::STATE, schema::ENVIRONMENT] {
            let Some((_, info)) = features.iter().find(|(name, _)| name == column) else {
                continue;
            };
            let names = info.names.as_array();
            for component in 0..info.shape.first().copied().unwrap_or(0) {
                let name = names
                    .and_then(|n| n.get(component))
                    .and_then(|n| n.as_str())
                    .map_or_else(
                        || format!("{column}.{component}"),
                        |n| n.trim_end_matches(".pos").to_owned(),
                    );
                found.push((name, column, component));
            }
        }
        found.truncate(MOST_DIMENSIONS);
        Self(found)
    }
}

/// The first component of a column.
pub fn column(episode: &Episode, name: &str) -> Option<Vec<f64>> {
    let column = episode.columns.get(name)?;
    (column.dim == 1).then(|| column.values.iter().map(|&v| f64::from(v)).collect())
}

/// The phase of the task at every step.
pub fn phase(episode: &Episode) -> Option<Vec<usize>> {
    let phase = column(episode, schema::PHASE)?;
    phase
        .iter()
        .all(|p| *p >= 0.0)
        .then(|| phase.iter().map(|p| *p as usize).collect())
}

fn of(features: &Features, component: usize) -> Vec<f64> {
    features
        .rows()
        .map(|row| f64::from(row.get(component).copied().unwrap_or(0.0)))
        .collect()
}
