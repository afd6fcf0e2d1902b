//! [`Belief`]: what could already be predicted of the answers, quickly and roughly. It chooses questions and is shown beside them; the
//! reward itself is learned by `rapport reward`.
//!
//! Bradley-Terry on principal components of the clips' features: `P(a over b) = σ(w · (x_a - x_b))`, with a Gaussian prior on `w` whose
//! width is chosen by cross-validation over the answers. Several members see the answers with random weights (the Bayesian bootstrap,
//! Rubin 1981); where they disagree an answer teaches most, as in PEBBLE and B-Pref (standard deviation of P over the members).

use nalgebra::{DMatrix, DVector};
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rapport::reward::objective::{sigmoid, softplus};

/// Answers below which nothing is believed.
pub const ENOUGH: usize = 8;
const MEMBERS: usize = 7;
const FOLDS: usize = 5;
const COMPONENTS: usize = 32;
/// Precisions of the prior that are tried.
const PRIORS: [f64; 4] = [0.1, 1.0, 10.0, 100.0];

/// One clip over another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Index of the clip that was liked more.
    pub better: usize,
    /// Index of the one that was liked less.
    pub worse: usize,
    /// 1, or ½ when they were called equal.
    pub label: f64,
    /// The answer that it came from; all of an answer is kept out together.
    pub answer: usize,
}

/// Clips as points in few dimensions.
#[derive(Clone, Debug)]
pub struct Points {
    /// One for each clip; none for those that were not looked at yet.
    rows: Vec<Option<DVector<f64>>>,
}

impl Points {
    /// Principal components of the given features, one entry for each clip. All features have the same width and are finite.
    pub fn new(features: &[Option<Vec<f32>>]) -> Self {
        let known: Vec<(usize, &Vec<f32>)> = features
            .iter()
            .enumerate()
            .filter_map(|(i, f)| Some((i, f.as_ref()?)))
            .collect();
        let mut rows = vec![None; features.len()];
        let Some(dim) = known
            .first()
            .map(|(_, f)| f.len())
            .filter(|_| known.len() > 1)
        else {
            return Self { rows };
        };
        // Clips are fewer than features: the products between clips hold all that is needed.
        let mut centred =
            DMatrix::<f64>::from_fn(known.len(), dim, |r, c| f64::from(known[r].1[c]));
        let mean = centred.row_mean();
        for mut row in centred.row_iter_mut() {
            row -= &mean;
        }
        let products = &centred * centred.transpose() / known.len() as f64;
        let eigen = products.symmetric_eigen();
        let mut order: Vec<usize> = (0..known.len()).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let largest = eigen.eigenvalues[order[0]].max(0.0);
        order.retain(|&i| eigen.eigenvalues[i] > 1e-9 * largest);
        order.truncate(COMPONENTS);
        for (r, (clip, _)) in known.iter().enumerate() {
            // Columns of the eigenvectors have unit length. Scales are evened out half way: what matters may vary little.
            let point = order.iter().map(|&i| {
                let scale = (eigen.eigenvalues[i] / largest).powf(0.25);
                eigen.eigenvectors[(r, i)] * (known.len() as f64).sqrt() * scale
            });
            rows[*clip] = Some(DVector::from_iterator(order.len(), point));
        }
        Self { rows }
    }

    fn gap(&self, better: usize, worse: usize) -> Option<DVector<f64>> {
        Some(self.rows.get(better)?.as_ref()? - self.rows.get(worse)?.as_ref()?)
    }
}

/// Scores of clips by several members.
#[derive(Clone, Debug)]
pub struct Belief {
    /// `[clip][member]`; none for clips that were not looked at yet.
    scores: Vec<Option<[f64; MEMBERS]>>,
    /// Share of pairs in the right order, of answers that were kept from it. None when all were called equal.
    pub accuracy: Option<f64>,
}

impl Belief {
    /// Learns from comparisons; none with fewer than [`ENOUGH`] answers about clips that were looked at.
    pub fn fit(points: &Points, comparisons: &[Comparison], seed: u64) -> Option<Self> {
        let rows: Vec<(DVector<f64>, Comparison)> = comparisons
            .iter()
            .filter_map(|c| Some((points.gap(c.better, c.worse)?, *c)))
            .collect();
        let mut answers: Vec<usize> = rows.iter().map(|(_, c)| c.answer).collect();
        answers.dedup();
        if answers.len() < ENOUGH || rows.is_empty() {
            return None;
        }
        // All of an answer weigh as much as one.
        let mut weights = vec![0.0; rows.len()];
        for answer in &answers {
            let of_it: Vec<usize> = (0..rows.len())
                .filter(|&i| rows[i].1.answer == *answer)
                .collect();
            for &i in &of_it {
                weights[i] = 1.0 / of_it.len() as f64;
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut fold_of = vec![0; answers.iter().max()? + 1];
        answers.shuffle(&mut rng);
        for (i, &answer) in answers.iter().enumerate() {
            fold_of[answer] = i % FOLDS;
        }
        let tried = PRIORS.map(|prior| validate(&rows, &weights, &fold_of, prior));
        let (prior, accuracy) = PRIORS
            .into_iter()
            .zip(tried)
            .min_by(|(_, a), (_, b)| a.0.total_cmp(&b.0))
            .map(|(prior, (_, accuracy))| (prior, accuracy))?;
        let members: Vec<DVector<f64>> = (0..MEMBERS)
            .map(|_| {
                let mut share = vec![0.0; fold_of.len()];
                for &answer in &answers {
                    share[answer] = -(1.0 - rng.random::<f64>()).ln();
                }
                let weights: Vec<f64> = rows
                    .iter()
                    .zip(&weights)
                    .map(|((_, c), w)| w * share[c.answer])
                    .collect();
                logistic(&rows, &weights, prior)
            })
            .collect();
        let score = |row: &DVector<f64>| std::array::from_fn(|m| members[m].dot(row));
        Some(Self {
            scores: points
                .rows
                .iter()
                .map(|row| row.as_ref().map(score))
                .collect(),
            accuracy,
        })
    }

    /// Probability that the first clip is liked more than the second; none when one of them was not looked at yet.
    pub fn probability(&self, first: usize, second: usize) -> Option<f64> {
        let each = self.each(first, second)?;
        Some(each.iter().sum::<f64>() / MEMBERS as f64)
    }

    /// How far the members disagree about the pairs of some clips, summed: the standard deviation of their probabilities.
    pub fn disagreement(&self, clips: &[usize]) -> f64 {
        let mut sum = 0.0;
        for i in 0..clips.len() {
            for &other in &clips[i + 1..] {
                let Some(each) = self.each(clips[i], other) else {
                    continue;
                };
                let mean = each.iter().sum::<f64>() / MEMBERS as f64;
                let variance =
                    each.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / MEMBERS as f64;
                sum += variance.sqrt();
            }
        }
        sum
    }

    fn each(&self, first: usize, second: usize) -> Option<[f64; MEMBERS]> {
        let (a, b) = (
            self.scores.get(first)?.as_ref()?,
            self.scores.get(second)?.as_ref()?,
        );
        Some(std::array::from_fn(|m| sigmoid(a[m] - b[m])))
    }
}

/// Mean loss and accuracy on answers that are kept out in turn.
fn validate(
    rows: &[(DVector<f64>, Comparison)],
    weights: &[f64],
    fold_of: &[usize],
    prior: f64,
) -> (f64, Option<f64>) {
    let (mut loss, mut total) = (0.0, 0.0);
    let (mut right, mut decided) = (0.0, 0.0);
    for fold in 0..FOLDS {
        let kept: Vec<f64> = rows
            .iter()
            .zip(weights)
            .map(|((_, c), w)| if fold_of[c.answer] == fold { 0.0 } else { *w })
            .collect();
        let w = logistic(rows, &kept, prior);
        for ((gap, c), weight) in rows.iter().zip(weights) {
            if fold_of[c.answer] != fold {
                continue;
            }
            let z = w.dot(gap);
            loss += weight * (c.label * softplus(-z) + (1.0 - c.label) * softplus(z));
            total += weight;
            if c.label > 0.5 {
                decided += 1.0;
                right += if z > 0.0 {
                    1.0
                } else if z == 0.0 {
                    0.5
                } else {
                    0.0
                };
            }
        }
    }
    (loss / total, (decided > 0.0).then(|| right / decided))
}

/// Weighted logistic regression without offset, prior precision `prior`, by Newton's method.
fn logistic(rows: &[(DVector<f64>, Comparison)], weights: &[f64], prior: f64) -> DVector<f64> {
    let dim = rows.first().map_or(0, |(gap, _)| gap.len());
    let mut w = DVector::<f64>::zeros(dim);
    for _ in 0..20 {
        let mut gradient = &w * prior;
        let mut hessian = DMatrix::<f64>::identity(dim, dim) * prior;
        for ((gap, c), weight) in rows.iter().zip(weights) {
            if *weight == 0.0 {
                continue;
            }
            let p = sigmoid(w.dot(gap));
            gradient.axpy(weight * (p - c.label), gap, 1.0);
            hessian.syger(weight * p * (1.0 - p), gap, gap, 1.0);
        }
        hessian.fill_upper_triangle_with_lower_triangle();
        // The prior keeps it positive definite.
        let Some(solver) = hessian.cholesky() else {
            break;
        };
        let step = solver.solve(&gradient);
        // A whole step can overshoot where the curvature is all but gone.
        let length = step.norm();
        let scale = if length > 3.0 { 3.0 / length } else { 1.0 };
        w.axpy(-scale, &step, 1.0);
        if length < 1e-8 {
            break;
        }
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clips with a hidden value among `dim` other things that vary more.
    fn world(n: usize, dim: usize, seed: u64) -> (Vec<Option<Vec<f32>>>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f64> = (0..n).map(|_| rng.random::<f64>() - 0.5).collect();
        let features = values.iter().map(|v| {
            let mut row: Vec<f32> = (0..dim)
                .map(|_| 1.5 * (rng.random::<f32>() - 0.5))
                .collect();
            row.push(*v as f32);
            Some(row)
        });
        (features.collect(), values)
    }

    fn answers(values: &[f64], n: usize, seed: u64) -> Vec<Comparison> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|answer| {
                let a = rng.random_range(0..values.len());
                let b = (a + rng.random_range(1..values.len())) % values.len();
                let (better, worse) = if values[a] > values[b] {
                    (a, b)
                } else {
                    (b, a)
                };
                Comparison {
                    better,
                    worse,
                    label: 1.0,
                    answer,
                }
            })
            .collect()
    }

    fn agreement(belief: &Belief, values: &[f64]) -> f64 {
        let (mut right, mut all) = (0, 0);
        for a in 0..values.len() {
            for b in 0..a {
                all += 1;
                let first = belief.probability(a, b).unwrap() > 0.5;
                right += usize::from(first == (values[a] > values[b]));
            }
        }
        f64::from(right as u32) / f64::from(all)
    }

    #[test]
    fn it_learns_a_hidden_value_and_knows_how_well() {
        let (features, values) = world(80, 6, 1);
        let points = Points::new(&features);
        let belief = Belief::fit(&points, &answers(&values, 60, 2), 0).unwrap();
        let found = agreement(&belief, &values);
        assert!(found > 0.85, "{found}");
        let said = belief.accuracy.unwrap();
        assert!((said - found).abs() < 0.15, "said {said}, is {found}");
        let p = belief.probability(3, 4).unwrap();
        assert!((p + belief.probability(4, 3).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn random_answers_teach_it_nothing_and_it_says_so() {
        let (features, values) = world(80, 6, 3);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut all = answers(&values, 120, 5);
        for c in &mut all {
            if rng.random::<bool>() {
                std::mem::swap(&mut c.better, &mut c.worse);
            }
        }
        let said = Belief::fit(&Points::new(&features), &all, 0)
            .unwrap()
            .accuracy
            .unwrap();
        assert!((0.35..0.65).contains(&said), "{said}");
    }

    #[test]
    fn members_disagree_less_with_more_answers() {
        let (features, values) = world(60, 4, 6);
        let points = Points::new(&features);
        let spread = |n| {
            let belief = Belief::fit(&points, &answers(&values, n, 7), 0).unwrap();
            (0..59)
                .map(|i| belief.disagreement(&[i, i + 1]))
                .sum::<f64>()
        };
        let (few, many) = (spread(10), spread(200));
        assert!(many < 0.8 * few, "{few} {many}");
    }

    #[test]
    fn questions_it_chooses_teach_more_than_random_ones() {
        let mut wins = 0;
        for seed in 0..6 {
            let (features, values) = world(100, 8, 10 + seed);
            let points = Points::new(&features);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let ask = |a: usize, b: usize, answer| {
                let (better, worse) = if values[a] > values[b] {
                    (a, b)
                } else {
                    (b, a)
                };
                Comparison {
                    better,
                    worse,
                    label: 1.0,
                    answer,
                }
            };
            let random = answers(&values, 40, seed);
            let mut chosen: Vec<Comparison> = random[..10].to_vec();
            while chosen.len() < 40 {
                let belief = Belief::fit(&points, &chosen, 0).unwrap();
                let pool: Vec<[usize; 2]> = (0..40)
                    .map(|_| {
                        let a = rng.random_range(0..100);
                        [a, (a + rng.random_range(1..100)) % 100]
                    })
                    .collect();
                let best = pool
                    .iter()
                    .max_by(|x, y| {
                        belief
                            .disagreement(&x[..])
                            .total_cmp(&belief.disagreement(&y[..]))
                    })
                    .unwrap();
                chosen.push(ask(best[0], best[1], chosen.len()));
            }
            let score =
                |all: &[Comparison]| agreement(&Belief::fit(&points, all, 0).unwrap(), &values);
            wins += usize::from(score(&chosen) > score(&random));
        }
        assert!(wins >= 4, "{wins} of 6");
    }

    #[test]
    fn senseless_input_gives_no_belief_and_no_nan() {
        let none = Points::new(&[]);
        assert!(Belief::fit(&none, &[], 0).is_none());
        // Constant pictures: nothing can be told apart, and every probability is a half.
        let same = Points::new(&vec![Some(vec![1.0, 2.0]); 10]);
        let values: Vec<f64> = (0..10).map(f64::from).collect();
        let belief = Belief::fit(&same, &answers(&values, 12, 1), 0).unwrap();
        assert_eq!(belief.probability(0, 1), Some(0.5));
        assert_eq!(belief.disagreement(&[0, 1, 2]), 0.0);
        // Clips that were not looked at yet.
        let (mut features, values) = world(20, 2, 1);
        features[3] = None;
        let belief = Belief::fit(&Points::new(&features), &answers(&values, 40, 1), 0).unwrap();
        assert_eq!(belief.probability(3, 4), None);
        assert!(belief.disagreement(&[3, 4]).abs() < 1e-12);
        // Answers that contradict each other.
        let both: Vec<Comparison> = (0..20)
            .map(|answer| Comparison {
                better: 4 + answer % 2,
                worse: 5 - answer % 2,
                label: 1.0,
                answer,
            })
            .collect();
        let belief = Belief::fit(&Points::new(&features), &both, 0).unwrap();
        assert!((belief.probability(4, 5).unwrap() - 0.5).abs() < 0.2);
        // Everything called equal.
        let equal: Vec<Comparison> = both
            .iter()
            .map(|c| Comparison { label: 0.5, ..*c })
            .collect();
        let belief = Belief::fit(&Points::new(&features), &equal, 0).unwrap();
        assert_eq!(belief.accuracy, None);
        assert!((belief.probability(4, 5).unwrap() - 0.5).abs() < 1e-6);
    }
}
