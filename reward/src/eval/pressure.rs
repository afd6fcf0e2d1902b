//! Pressure: what becomes of the truth when something optimises against the reward.
//!
//! Best-of-N is the gentlest optimiser: of N recorded stretches take the one that the reward likes best. With growing N the
//! reward (the proxy) can only rise; when the truth falls while it does, the reward is being gamed. The strength of selection is
//! the Kullback-Leibler divergence of the choice from blind choice, `log N - (N - 1)/N` nats (exact for a continuous proxy;
//! Stiennon et al., arXiv 2009.01325; Gao et al., arXiv 2210.10760, measure how proxies break along it).

use serde::Serialize;

use super::interval::{Interval, bootstrap_over};

/// A stretch of recording as a choice: what the reward and the truth say of it, and which clip it is from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The reward.
    pub proxy: f64,
    /// The truth.
    pub truth: f64,
    /// The clip.
    pub clip: usize,
}

/// The mean choice at one strength of selection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// How many were chosen among.
    pub candidates: usize,
    /// Nats from blind choice.
    pub kl: f64,
    /// Expected reward.
    pub proxy: f64,
    /// Expected truth, with the bootstrap interval over clips.
    pub truth: Interval,
    /// Expected truth when the truth itself chooses: the most that selection can gain.
    pub ideal: f64,
}

/// `log N - (N - 1)/N`, nats. 0 for one candidate.
pub fn selection_kl(candidates: usize) -> f64 {
    let n = candidates.max(1) as f64;
    n.ln() - (n - 1.0) / n
}

/// Expected value of `worth` for the best of `candidates` drawn with replacement from all, by `rank`. Exact: with the values in
/// order, the best of N is the i-th of M with chance `(i/M)^N - ((i-1)/M)^N`; equal ranks share theirs.
fn best_of(rank: &[f64], worth: &[f64], candidates: usize) -> f64 {
    let total = rank.len() as f64;
    let mut order: Vec<usize> = (0..rank.len()).collect();
    order.sort_by(|&a, &b| rank[a].total_cmp(&rank[b]));
    let power = |below: usize| (below as f64 / total).powf(candidates as f64);
    let (mut below, mut expected) = (0, 0.0);
    for group in order.chunk_by(|&a, &b| rank[a] == rank[b]) {
        let chance = power(below + group.len()) - power(below);
        let worth: f64 = group.iter().map(|&i| worth[i]).sum();
        expected += chance * worth / group.len() as f64;
        below += group.len();
    }
    expected
}

/// The curve of best-of-N for N = 1, 2, 4, ... as far as a fifth of the choices, so that what is chosen from is more than a
/// handful. Empty with fewer than 20 choices or a value that is not finite.
pub fn best_of_n(choices: &[Choice], seed: u64) -> Vec<Point> {
    let finite = |c: &Choice| c.proxy.is_finite() && c.truth.is_finite();
    if choices.len() < 20 || !choices.iter().all(finite) {
        return Vec::new();
    }
    let clips = 1 + choices.iter().map(|c| c.clip).max().unwrap_or(0);
    let mut of_clip = vec![Vec::new(); clips];
    for (i, choice) in choices.iter().enumerate() {
        of_clip[choice.clip].push(i);
    }
    of_clip.retain(|c| !c.is_empty());
    let proxy: Vec<f64> = choices.iter().map(|c| c.proxy).collect();
    let truth: Vec<f64> = choices.iter().map(|c| c.truth).collect();
    let most = choices.len() / 5;
    std::iter::successors(Some(1usize), |n| n.checked_mul(2))
        .take_while(|n| *n <= most)
        .filter_map(|candidates| {
            let truth_of = |chosen: &[usize]| {
                let picked: Vec<usize> = chosen
                    .iter()
                    .flat_map(|&clip| of_clip[clip].iter().copied())
                    .collect();
                let of = |values: &[f64]| picked.iter().map(|&i| values[i]).collect::<Vec<_>>();
                Some(best_of(&of(&proxy), &of(&truth), candidates))
            };
            Some(Point {
                candidates,
                kl: selection_kl(candidates),
                proxy: best_of(&proxy, &proxy, candidates),
                truth: bootstrap_over(of_clip.len(), seed, truth_of)?,
                ideal: best_of(&truth, &truth, candidates),
            })
        })
        .collect()
}

/// What a curve of truth against pressure means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// Index of the point at which the truth is highest.
    pub peak: usize,
    /// Truth gained there over no pressure.
    pub gained: f64,
    /// Truth lost from there to the strongest pressure.
    pub lost: f64,
    /// Truth gained at the strongest pressure as a share of what choosing by the truth itself gains. None when that is nothing.
    pub share_of_ideal: Option<f64>,
}

/// Where the truth turns. `ideal` is the most that could be gained at the strongest pressure. None without points.
pub fn turn(truth: &[f64], ideal: f64) -> Option<Turn> {
    let (first, last) = (*truth.first()?, *truth.last()?);
    let peak = (0..truth.len()).max_by(|&a, &b| truth[a].total_cmp(&truth[b]).then(b.cmp(&a)))?;
    Some(Turn {
        peak,
        gained: truth[peak] - first,
        lost: truth[peak] - last,
        share_of_ideal: (ideal > 1e-12).then(|| (last - first) / ideal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_strength_of_selection_is_the_published_form() {
        assert_eq!(selection_kl(1), 0.0);
        assert!((selection_kl(4) - (4f64.ln() - 0.75)).abs() < 1e-12);
    }

    #[test]
    fn the_exact_expectation_is_what_drawing_gives() {
        let rank = [0.3, 0.1, 0.9, 0.9, 0.5];
        let worth = [1.0, -2.0, 4.0, 0.0, 3.0];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws = 200_000;
        let mut sum = 0.0;
        for _ in 0..draws {
            let picks: Vec<usize> = (0..3).map(|_| rng.random_range(0..5)).collect();
            let best = picks.iter().map(|&i| rank[i]).fold(f64::MIN, f64::max);
            // Ties between different stretches: a fair coin.
            let tied: Vec<usize> = picks.into_iter().filter(|&i| rank[i] == best).collect();
            sum += worth[tied[rng.random_range(0..tied.len())]];
        }
        let exact = best_of(&rank, &worth, 3);
        assert!((sum / f64::from(draws) - exact).abs() < 0.02, "{exact}");
    }

    #[test]
    fn few_cheats_turn_the_truth_under_pressure() {
        // Truth and proxy agree but for 2 % of stretches, which the reward likes most and which are worthless.
        let choices: Vec<Choice> = (0..500)
            .map(|i| {
                let good = f64::from(i % 100) / 100.0;
                let cheat = i % 50 == 7;
                Choice {
                    proxy: if cheat { 2.0 } else { good },
                    truth: if cheat { -1.0 } else { good },
                    clip: i as usize / 5,
                }
            })
            .collect();
        let points = best_of_n(&choices, 0);
        assert!(points.windows(2).all(|w| w[1].proxy >= w[0].proxy));
        let truth: Vec<f64> = points.iter().map(|p| p.truth.value).collect();
        let last = points.last().unwrap();
        let found = turn(&truth, last.ideal - truth[0]).unwrap();
        assert!((1..points.len() - 1).contains(&found.peak), "{found:?}");
        assert!(found.lost > found.gained && found.share_of_ideal.unwrap() < 0.0);
    }

    #[test]
    fn too_little_to_choose_from_is_no_curve() {
        let choice = Choice {
            proxy: 1.0,
            truth: 1.0,
            clip: 0,
        };
        assert!(best_of_n(&[choice; 19], 0).is_empty());
        let mut bad = [choice; 30];
        bad[3].proxy = f64::NAN;
        assert!(best_of_n(&bad, 0).is_empty());
        assert!(turn(&[], 1.0).is_none());
        // A constant reward chooses blindly.
        let points = best_of_n(&[choice; 30], 0);
        assert!(points.iter().all(|p| (p.truth.value - 1.0).abs() < 1e-12));
        assert_eq!(turn(&[1.0, 1.0], 0.0).unwrap().share_of_ideal, None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_reward_that_is_the_truth_loses_nothing(
            values in prop::collection::vec(-5.0f64..5.0, 20..60),
        ) {
            let choices: Vec<Choice> = values
                .iter()
                .enumerate()
                .map(|(i, &v)| Choice { proxy: v, truth: v, clip: i })
                .collect();
            for point in best_of_n(&choices, 0) {
                prop_assert!((point.truth.value - point.ideal).abs() < 1e-9);
                prop_assert!((point.truth.value - point.proxy).abs() < 1e-9);
            }
        }
    }
}
