//! [`InputMap`] and [`Batch`]: from clips to rows of a network, and from its outputs to gaps between clips.

use std::collections::HashMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use super::config::{Aggregate, InputScaling, Inputs};
use crate::model::{Clip, RewardError};
use crate::network::rows;

/// Makes a row of numbers of each frame of a clip: `(x - mean) · scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputMap {
    /// What is taken.
    pub inputs: Inputs,
    /// Width of each part: the features' where they are taken, then each column's.
    pub widths: Vec<usize>,
    /// Taken off, `[inputs]`.
    #[serde(skip)]
    pub mean: Vec<f32>,
    /// Then multiplied, `[inputs]`.
    #[serde(skip)]
    pub scale: Vec<f32>,
}

impl InputMap {
    /// Learns widths, means and scales from clips.
    pub fn fit(
        clips: &[Clip],
        inputs: &Inputs,
        scaling: InputScaling,
    ) -> Result<Self, RewardError> {
        let first = clips
            .first()
            .ok_or_else(|| RewardError::Other("there is no clip; give at least one".into()))?;
        let mut widths = Vec::new();
        if inputs.takes_features() {
            widths.push(first.features.dim());
        }
        for name in inputs.columns() {
            widths.push(column(first, name)?.dim());
        }
        let width = widths.iter().sum();
        let mut map = Self {
            inputs: inputs.clone(),
            widths,
            mean: vec![0.0; width],
            scale: vec![1.0; width],
        };
        if width == 0 {
            return Err(RewardError::Other(
                "the clips have no features; encode them first".into(),
            ));
        }
        let (mut count, mut mean, mut squares) = (0.0, vec![0.0f64; width], vec![0.0f64; width]);
        for (i, clip) in clips.iter().enumerate() {
            let values = map
                .apply(clip)
                .map_err(|e| RewardError::Other(format!("clip {i}: {e}")))?;
            for row in values.chunks_exact(width) {
                count += 1.0;
                for ((m, s), &x) in mean.iter_mut().zip(&mut squares).zip(row) {
                    let off = f64::from(x) - *m;
                    *m += off / count;
                    *s += off * (f64::from(x) - *m);
                }
            }
        }
        if scaling == InputScaling::Standardise {
            map.mean = mean.iter().map(|&m| m as f32).collect();
            map.scale = mean
                .iter()
                .zip(&squares)
                .map(|(m, s)| {
                    let deviation = (s / count).sqrt();
                    let moves = deviation > 1e-6 * m.abs().max(1e-6);
                    if moves { (1.0 / deviation) as f32 } else { 0.0 }
                })
                .collect();
        }
        Ok(map)
    }

    /// Refuses inputs that are not as wide as the encoder's features, where those are among them.
    pub fn check(&self, encoder: &EncoderSpec) -> Result<(), RewardError> {
        if self.inputs.takes_features() && self.widths[0] != encoder.dim {
            return Err(RewardError::Width {
                found: self.widths[0],
                expected: encoder.dim,
                encoder: encoder.name.clone(),
            });
        }
        Ok(())
    }

    /// The rows of every clip. Failures name the clip.
    pub fn apply_all(&self, clips: &[Clip]) -> Result<Vec<Vec<f32>>, RewardError> {
        clips
            .iter()
            .enumerate()
            .map(|(i, clip)| {
                self.apply(clip).map_err(|e| match e {
                    RewardError::NotFinite { what, step } => RewardError::NotFinite {
                        what: format!("{what} of clip {i}"),
                        step,
                    },
                    other => RewardError::Other(format!("clip {i}: {other}")),
                })
            })
            .collect()
    }

    /// Width of a row.
    pub fn width(&self) -> usize {
        self.widths.iter().sum()
    }

    /// The rows of a clip, `[time * width]`. Fails on a clip without frames, on other widths, on a missing column, on columns
    /// of another length and on values that are not finite.
    pub fn apply(&self, clip: &Clip) -> Result<Vec<f32>, RewardError> {
        let mut parts = Vec::new();
        let mut widths = self.widths.iter();
        if self.inputs.takes_features() {
            parts.push(("the features", &clip.features));
        }
        for name in self.inputs.columns() {
            parts.push((name.as_str(), column(clip, name)?));
        }
        let length = parts.first().map_or(0, |(_, part)| part.len());
        if length == 0 {
            return Err(RewardError::Other(
                "the clip has no frames; give one with at least one".into(),
            ));
        }
        for (name, part) in &parts {
            let expected = widths.next().copied().unwrap_or(0);
            if part.dim() != expected {
                return Err(RewardError::Other(format!(
                    "{name}: {} numbers a frame where the reward was learned on {expected}; give the same",
                    part.dim()
                )));
            }
            if part.len() != length {
                return Err(RewardError::Other(format!(
                    "{name}: {} frames where others have {length}; give as many",
                    part.len()
                )));
            }
            if let Some(bad) = part.as_slice().iter().position(|v| !v.is_finite()) {
                return Err(RewardError::NotFinite {
                    what: format!("a value of {name}"),
                    step: bad / expected.max(1),
                });
            }
        }
        let mut values = Vec::with_capacity(length * self.width());
        for t in 0..length {
            for (_, part) in &parts {
                values.extend_from_slice(part.row(t));
            }
        }
        for row in values.chunks_exact_mut(self.width()) {
            for ((x, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *x = (*x - mean) * scale;
            }
        }
        Ok(values)
    }
}

fn column<'a>(clip: &'a Clip, name: &str) -> Result<&'a Features, RewardError> {
    clip.columns.get(name).ok_or_else(|| {
        let known: Vec<&str> = clip.columns.keys().map(String::as_str).collect();
        RewardError::Other(format!(
            "the clip has no column `{name}`; it has {}",
            if known.is_empty() {
                "none".into()
            } else {
                known.join(", ")
            }
        ))
    })
}

/// Mean of rows, `[width]`.
pub(super) fn mean_row(rows: &[f32], width: usize) -> Vec<f32> {
    let count = (rows.len() / width.max(1)).max(1) as f32;
    let mut mean = vec![0.0; width];
    for row in rows.chunks_exact(width.max(1)) {
        for (m, x) in mean.iter_mut().zip(row) {
            *m += x / count;
        }
    }
    mean
}

/// A clip, and what it is scored under: indices into a table of clips' rows and into one of condition vectors.
pub(super) type Side = (usize, usize);

/// Rows of a batch of pairs, and the matrix that makes gaps of the rewards of its frames.
pub(super) struct Batch {
    /// `[rows, inputs + condition]`.
    pub rows: Tensor<2>,
    /// Which condition each row stands under, `[rows]`.
    pub conditions: Tensor<1, Int>,
    /// `[pairs, rows]`: 1 (or 1 over the length) at the frames of the first clip, the same negated at those of the second.
    pub pool: Tensor<2>,
}

impl Batch {
    /// `clips` holds the rows of every clip, `width` numbers a frame; `conditions` the vectors appended to them.
    pub fn new(
        sides: impl IntoIterator<Item = (Side, Side)>,
        clips: &[Vec<f32>],
        width: usize,
        conditions: &[Vec<f32>],
        aggregate: Aggregate,
        device: &Device,
    ) -> Self {
        let mut values = Vec::new();
        let mut under: Vec<i64> = Vec::new();
        let mut total = 0;
        let mut placed: HashMap<Side, (usize, usize)> = HashMap::new();
        let mut place = |side: Side| {
            *placed.entry(side).or_insert_with(|| {
                let start = total;
                for row in clips[side.0].chunks_exact(width) {
                    values.extend_from_slice(row);
                    values.extend_from_slice(&conditions[side.1]);
                    under.push(side.1 as i64);
                    total += 1;
                }
                (start, total)
            })
        };
        let spans: Vec<_> = sides
            .into_iter()
            .map(|(first, second)| (place(first), place(second)))
            .collect();
        let mut pool = vec![0.0; spans.len() * total];
        for (row, (first, second)) in pool.chunks_exact_mut(total.max(1)).zip(&spans) {
            for (sign, (start, end)) in [(1.0, first), (-1.0, second)] {
                let share = match aggregate {
                    Aggregate::Sum => sign,
                    Aggregate::Mean => sign / (end - start) as f32,
                };
                row[*start..*end].iter_mut().for_each(|w| *w += share);
            }
        }
        let columns = values.len() / total.max(1);
        Self {
            rows: rows(&values, columns, device),
            conditions: Tensor::from_data(TensorData::new(under, [total]), device),
            pool: Tensor::from_data(TensorData::new(pool, [spans.len(), total]), device),
        }
    }

    /// Gaps `[pairs]` of rewards `[rows, 1]`.
    pub fn gaps(&self, rewards: Tensor<2>) -> Tensor<1> {
        let pairs = self.pool.dims()[0];
        self.pool.clone().matmul(rewards).reshape([pairs])
    }
}
