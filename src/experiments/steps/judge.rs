//! Found and rewarded steps against the true ones, and against chance.

use anyhow::Context as _;
use rand::seq::index::sample;
use rand::{Rng, RngExt as _};
use rand_chacha::ChaCha8Rng;
use rapport::perception::Features;
use rapport::reward::PerceptualSteps;
use rapport::reward::eval::{boundary_error, labels_from_cuts, step_jaccard};
use rapport::reward::steps::Weighting;

use super::staged::Staged;
use super::{BenchConfig, Jaccard, Measurement};
use crate::experiments::statistics::mean;

impl BenchConfig {
    /// Both tables for one task, number of steps, way of looking for them, and seed.
    pub(super) fn judge(
        &self,
        (task, seed, steps, weighting): (Staged, u64, usize, Weighting),
        learn: &[(Features, Vec<usize>)],
        cuts: &[Vec<usize>],
        test: &[(Features, Vec<usize>)],
        model: &PerceptualSteps,
        rng: &mut ChaCha8Rng,
    ) -> anyhow::Result<Measurement> {
        let (mut found, mut found_at_random) = (Vec::new(), Vec::new());
        let mut found_anywhere = Vec::new();
        let mut errors = Vec::new();
        for ((_, labels), cuts) in learn.iter().zip(cuts) {
            let truth = fewer(labels, steps);
            found.push(labelled(
                &labels_from_cuts(cuts, truth.len()),
                &truth,
                steps,
            )?);
            for _ in 0..self.draws {
                let mut at_random = |least: usize| {
                    let cuts = ordered_at_random(truth.len(), steps, least, rng);
                    labelled(&labels_from_cuts(&cuts, truth.len()), &truth, steps)
                };
                found_at_random.push(at_random(self.min_size)?);
                found_anywhere.push(at_random(1)?);
            }
            let apart = boundary_error(cuts, &cuts_of(&truth));
            errors.extend(apart);
        }
        let (mut rewarded, mut rewarded_at_random) = (Vec::new(), Vec::new());
        for (features, labels) in test {
            let truth = fewer(labels, steps);
            let values = model.values(features)?;
            rewarded.push(above_half(&values, &truth));
            for _ in 0..self.draws {
                let coins: Vec<Vec<f64>> = (0..steps)
                    .map(|_| truth.iter().map(|_| rng.random()).collect())
                    .collect();
                rewarded_at_random.push(above_half(&coins, &truth));
            }
        }
        Ok(Measurement {
            task,
            seed,
            steps,
            weighting,
            found: Jaccard::mean_of(&found, steps),
            found_at_random: Jaccard::mean_of(&found_at_random, steps),
            found_anywhere: Jaccard::mean_of(&found_anywhere, steps),
            rewarded: Jaccard::mean_of(&rewarded, steps),
            rewarded_at_random: Jaccard::mean_of(&rewarded_at_random, steps),
            cut_error: mean(&errors).context("no cut to compare")?,
        })
    }
}

impl Jaccard {
    /// The mean over videos, each a share by step; in percent.
    fn mean_of(videos: &[Vec<f64>], steps: usize) -> Self {
        let per_step: Vec<f64> = (0..steps)
            .map(|step| {
                let known: Vec<f64> = videos
                    .iter()
                    .map(|video| video[step])
                    .filter(|share| !share.is_nan())
                    .collect();
                100.0 * mean(&known).unwrap_or(0.0)
            })
            .collect();
        let mean = per_step.iter().sum::<f64>() / steps as f64;
        Self { per_step, mean }
    }
}

/// Three steps as two: the first two are one.
fn fewer(labels: &[usize], steps: usize) -> Vec<usize> {
    labels
        .iter()
        .map(|&label| if steps == 2 { label / 2 } else { label })
        .collect()
}

fn labelled(found: &[usize], truth: &[usize], steps: usize) -> anyhow::Result<Vec<f64>> {
    let (per_step, _) = step_jaccard(found, truth, steps).context("a video has no frame")?;
    // A step that occurs in neither has no say.
    Ok(per_step
        .into_iter()
        .map(|share| share.unwrap_or(f64::NAN))
        .collect())
}

/// Intersection over union of the frames whose value is above ½ with those of the step, by step.
fn above_half(values: &[Vec<f64>], truth: &[usize]) -> Vec<f64> {
    values
        .iter()
        .enumerate()
        .map(|(step, values)| {
            let (mut both, mut either) = (0.0, 0.0);
            for (value, label) in values.iter().zip(truth) {
                let (found, is) = (*value > 0.5, *label == step);
                both += f64::from(u8::from(found && is));
                either += f64::from(u8::from(found || is));
            }
            both / either
        })
        .collect()
}

/// First frames of the steps but the first.
pub(super) fn cuts_of(labels: &[usize]) -> Vec<usize> {
    (1..labels.len())
        .filter(|&t| labels[t] != labels[t - 1])
        .collect()
}

/// Cuts of `frames` into `steps` of at least `min_size`, all such cuts equally likely.
fn ordered_at_random(
    frames: usize,
    steps: usize,
    min_size: usize,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let free = frames - steps * min_size;
    // As many ways as to choose among the free frames and the cuts themselves.
    let mut places = sample(rng, free + steps - 1, steps - 1).into_vec();
    places.sort_unstable();
    places
        .into_iter()
        .enumerate()
        .map(|(i, place)| place - i + (i + 1) * min_size)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn random_cuts_are_in_order_long_enough_and_all_equally_likely() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            let cuts = ordered_at_random(9, 3, 2, &mut rng);
            let ends = [0, cuts[0], cuts[1], 9];
            assert!(ends.windows(2).all(|w| w[1] >= w[0] + 2), "{cuts:?}");
            *seen.entry(cuts).or_insert(0) += 1;
        }
        // Three free frames among three steps: 10 ways.
        assert_eq!(seen.len(), 10);
        assert!(seen.values().all(|n| (480..720).contains(n)), "{seen:?}");
    }

    #[test]
    fn three_steps_become_two_and_cuts_are_where_labels_change() {
        let labels = [0, 0, 1, 1, 2];
        assert_eq!(fewer(&labels, 2), [0, 0, 0, 0, 1]);
        assert_eq!(cuts_of(&labels), [2, 4]);
        assert_eq!(cuts_of(&fewer(&labels, 2)), [4]);
    }

    #[test]
    fn a_reward_above_a_half_says_that_the_frame_is_of_the_step() {
        let values = [vec![0.9, 0.9, 0.2, 0.1], vec![0.4, 0.6, 0.7, 0.3]];
        assert_eq!(above_half(&values, &[0, 0, 1, 1]), [1.0, 1.0 / 3.0]);
    }
}
