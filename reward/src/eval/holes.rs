//! Holes: a search through the space of features for what the reward likes best, whether or not a camera could ever see it.
//!
//! The search moves along the principal components of the recorded frames. What is true of a made-up frame is estimated from the
//! recorded frames nearest to it; how far away those are says how much to believe of it.

use nalgebra::{DMatrix, SymmetricEigen};
use rapport_perception::Features;

use super::climb::{ClimbConfig, Found, Rung, climb};
use super::sample::{mean, score};
use crate::model::{Clip, RewardError, RewardModel};

/// Directions searched.
const DIRECTIONS: usize = 8;
/// Recorded frames that say what is true of a made-up one.
const NEIGHBOURS: usize = 5;

/// Climbs the reward in the space of features. `frames` `[frames, dim]` are recorded, `truth` is what is true of each, `clips` the
/// clip it is from. The strangeness of a candidate is its distance to the nearest recorded frame, in units of the median distance
/// between a recorded frame and the nearest of another clip. None with fewer than 20 frames or two clips, and when the frames are
/// all alike.
pub fn climb_features(
    model: &dyn RewardModel,
    frames: &Features,
    truth: &[f64],
    clips: &[usize],
    config: &ClimbConfig,
    seed: u64,
) -> Result<Option<Vec<Rung>>, RewardError> {
    let count = frames.len();
    if count < 20 || truth.len() != count || clips.len() != count {
        return Ok(None);
    }
    let Some(unit) = usual_distance(frames, clips).filter(|d| *d > 0.0) else {
        return Ok(None);
    };
    let Some((centre, directions)) = directions(frames) else {
        return Ok(None);
    };
    let rungs = climb(directions.len(), config, seed, |z| {
        let mut frame = centre.clone();
        for (amount, direction) in z.iter().zip(&directions) {
            for (f, d) in frame.iter_mut().zip(direction) {
                *f += amount * d;
            }
        }
        let row: Vec<f32> = frame.iter().map(|&v| v as f32).collect();
        let mut near: Vec<(f64, f64)> = frames
            .rows()
            .zip(truth)
            .map(|(r, t)| (distance(r, &row), *t))
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        let clip = Clip::from_features(Features::new(frames.dim(), row), 1.0);
        Ok(Found {
            proxy: score(model, &clip)?.per_step[0],
            truth: mean(&near[..NEIGHBOURS].iter().map(|n| n.1).collect::<Vec<_>>()),
            strangeness: near[0].0 / unit,
        })
    })?;
    Ok(Some(rungs))
}

/// The mean frame, and the strongest principal components, each as long as one standard deviation of the frames along it.
fn directions(frames: &Features) -> Option<(Vec<f64>, Vec<Vec<f64>>)> {
    let (count, dim) = (frames.len(), frames.dim());
    let mut x =
        DMatrix::from_row_iterator(count, dim, frames.as_slice().iter().map(|&v| f64::from(v)));
    let centre: Vec<f64> = x.column_iter().map(|c| c.mean()).collect();
    for (mut column, m) in x.column_iter_mut().zip(&centre) {
        column.add_scalar_mut(-m);
    }
    let eigen = SymmetricEigen::new(&x * x.transpose() / count as f64);
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let largest = eigen.eigenvalues[order[0]];
    let found: Vec<Vec<f64>> = order
        .into_iter()
        .take(DIRECTIONS)
        .filter(|&i| eigen.eigenvalues[i] > 1e-9 * largest && largest > 0.0)
        .map(|i| {
            // Xᵀu / √n has the length of one standard deviation along the component.
            let direction = x.tr_mul(&eigen.eigenvectors.column(i)) / (count as f64).sqrt();
            direction.iter().copied().collect()
        })
        .collect();
    (!found.is_empty()).then_some((centre, found))
}

/// Median distance of a frame to the nearest of another clip.
fn usual_distance(frames: &Features, clips: &[usize]) -> Option<f64> {
    let mut nearest: Vec<f64> = (0..frames.len())
        .filter_map(|i| {
            (0..frames.len())
                .filter(|&j| clips[j] != clips[i])
                .map(|j| distance(frames.row(i), frames.row(j)))
                .min_by(f64::total_cmp)
        })
        .collect();
    nearest.sort_by(f64::total_cmp);
    nearest.get(nearest.len() / 2).copied()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    f64::from(
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f32>()
            .sqrt(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Context, Signal};

    /// Rewards the first feature, without end.
    struct Further;

    impl RewardModel for Further {
        fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
            Ok(Signal::new(
                clip.features.rows().map(|r| f64::from(r[0])).collect(),
            ))
        }

        fn causal(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_reward_without_an_end_is_followed_where_no_frame_was() {
        // Frames on a circle: the truth is best at x = 0.
        let turn = |i: usize| std::f64::consts::TAU * i as f64 / 40.0;
        let frames: Vec<f32> = (0..40)
            .flat_map(|i| [turn(i).cos() as f32, turn(i).sin() as f32])
            .collect();
        let truth: Vec<f64> = (0..40).map(|i| -turn(i).cos().abs()).collect();
        let clips: Vec<usize> = (0..40).map(|i| i % 4).collect();
        let frames = Features::new(2, frames);
        let climbed = climb_features(
            &Further,
            &frames,
            &truth,
            &clips,
            &ClimbConfig::default(),
            0,
        )
        .unwrap()
        .unwrap();
        let (first, last) = (climbed[0], climbed[climbed.len() - 1]);
        assert!(last.proxy > 1.5 && last.strangeness > 3.0, "{last:?}");
        assert!(last.truth < first.truth - 0.2, "{first:?} {last:?}");
    }

    #[test]
    fn too_few_or_equal_frames_cannot_be_searched() {
        let climb = |frames: &Features| {
            let n = frames.len();
            let clips: Vec<usize> = (0..n).map(|i| i % 2).collect();
            climb_features(
                &Further,
                frames,
                &vec![0.0; n],
                &clips,
                &ClimbConfig::default(),
                0,
            )
        };
        assert!(climb(&Features::new(1, vec![1.0; 5])).unwrap().is_none());
        assert!(climb(&Features::new(1, vec![1.0; 30])).unwrap().is_none());
    }
}
