//! Which pair to ask about next, and how many at a time.

use rand::seq::SliceRandom as _;
use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::objective::sigmoid;

/// How pairs are chosen out of the candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// At random.
    Uniform,
    /// By [`disagreement`], as PEBBLE and B-Pref do (arXiv 2106.05091, 2111.03026).
    #[default]
    Disagreement,
    /// By [`logit_variance`], the `logit` option of `imitation` 1.0.1.
    LogitVariance,
    /// By [`probability_variance`], its `probability` option.
    ProbabilityVariance,
    /// By [`label_variance`], its `label` option.
    LabelVariance,
    /// By [`entropy`], as B-Pref does.
    Entropy,
    /// By [`information_gain`]: what members disagree about, not what all of them find hard.
    InformationGain,
    /// By [`k_centre`]: pairs unlike those already asked about and each other.
    KCentre,
    /// The better half by [`disagreement`], of those by [`k_centre`], as B-Pref does.
    DisagreementKCentre,
    /// The better half by [`entropy`], of those by [`k_centre`].
    EntropyKCentre,
}

impl Selection {
    /// How much a pair is worth asking about, given each member's gap of returns. None for those that do not look at gaps.
    pub fn worth(self, gaps: &[f64]) -> Option<f64> {
        Some(match self {
            Self::Uniform | Self::KCentre => return None,
            Self::Disagreement | Self::DisagreementKCentre => disagreement(gaps),
            Self::LogitVariance => logit_variance(gaps),
            Self::ProbabilityVariance => probability_variance(gaps),
            Self::LabelVariance => label_variance(gaps),
            Self::Entropy | Self::EntropyKCentre => entropy(gaps),
            Self::InformationGain => information_gain(gaps),
        })
    }
}

/// How queries are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    /// By what.
    pub selection: Selection,
    /// Candidates drawn for each query wanted.
    pub oversample: usize,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            oversample: 10,
        }
    }
}

/// What is known of the candidates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidates<'a> {
    /// Each candidate pair's gap of returns by each member, `[candidates][members]`. Needed by every selection but
    /// [`Selection::Uniform`] and [`Selection::KCentre`].
    pub gaps: &'a [Vec<f64>],
    /// Each candidate pair as a point (both clips' mean features one behind the other), `[candidates][dim]`. Needed by those
    /// with a k-centre.
    pub points: &'a [Vec<f64>],
    /// The pairs already asked about, in the same way.
    pub asked: &'a [Vec<f64>],
}

impl QueryConfig {
    /// Distinct pairs of `clips` clips to choose from, for `wanted` queries: all of them where there are few.
    pub fn draw(&self, clips: usize, wanted: usize, rng: &mut impl Rng) -> Vec<(usize, usize)> {
        let most = clips * clips.saturating_sub(1) / 2;
        let count = wanted.saturating_mul(self.oversample.max(1)).min(most);
        let mut pairs = Vec::with_capacity(count);
        if count * 2 > most {
            for first in 0..clips {
                pairs.extend((first + 1..clips).map(|second| (first, second)));
            }
            pairs.shuffle(rng);
            pairs.truncate(count);
        } else {
            let mut seen = std::collections::HashSet::new();
            while pairs.len() < count {
                let first = rng.random_range(0..clips);
                let mut second = rng.random_range(0..clips - 1);
                second += usize::from(second >= first);
                if seen.insert((first.min(second), first.max(second))) {
                    pairs.push((first, second));
                }
            }
        }
        pairs
    }

    /// The candidates to ask about, most worthwhile first. `count` is the number of candidates; ties go to the earlier one.
    pub fn choose(
        &self,
        count: usize,
        wanted: usize,
        candidates: Candidates<'_>,
        rng: &mut impl Rng,
    ) -> Result<Vec<usize>, RewardError> {
        let lacks = |what: &str, found: usize| {
            RewardError::Other(format!(
                "{found} {what} for {count} candidate pairs; give one each or choose uniform queries"
            ))
        };
        let by_points = matches!(
            self.selection,
            Selection::KCentre | Selection::DisagreementKCentre | Selection::EntropyKCentre
        );
        if by_points && candidates.points.len() != count {
            return Err(lacks("points", candidates.points.len()));
        }
        let mut order: Vec<usize> = (0..count).collect();
        if self.selection == Selection::Uniform {
            order.shuffle(rng);
        } else if self.selection != Selection::KCentre {
            if candidates.gaps.len() != count {
                return Err(lacks("gaps", candidates.gaps.len()));
            }
            let finite = |gaps: &Vec<f64>| gaps.iter().all(|gap| gap.is_finite());
            if let Some(bad) = candidates.gaps.iter().position(|gaps| !finite(gaps)) {
                return Err(RewardError::NotFinite {
                    what: "a gap of returns".into(),
                    step: bad,
                });
            }
            let worth: Vec<f64> = candidates
                .gaps
                .iter()
                .map(|gaps| self.selection.worth(gaps).unwrap_or(0.0))
                .collect();
            order.sort_by(|&a, &b| worth[b].total_cmp(&worth[a]));
        }
        if by_points {
            if self.selection != Selection::KCentre {
                order.truncate((count / 2).max(wanted.min(count)));
            }
            let points: Vec<&[f64]> = order
                .iter()
                .map(|&i| candidates.points[i].as_slice())
                .collect();
            let chosen = k_centre(&points, candidates.asked, wanted);
            return Ok(chosen.into_iter().map(|i| order[i]).collect());
        }
        order.truncate(wanted);
        Ok(order)
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

fn population_variance(values: &[f64]) -> f64 {
    let centre = mean(values.iter().copied());
    mean(values.iter().map(|v| (v - centre).powi(2)))
}

fn probabilities(gaps: &[f64]) -> Vec<f64> {
    gaps.iter().map(|&gap| sigmoid(gap)).collect()
}

/// Entropy of a coin, in nats.
fn coin(p: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    term(p) + term(1.0 - p)
}

/// Population standard deviation over members of `σ(gap)`. Zero with one member.
pub fn disagreement(gaps: &[f64]) -> f64 {
    population_variance(&probabilities(gaps)).sqrt()
}

/// Sample variance of the gaps. Zero with one member.
pub fn logit_variance(gaps: &[f64]) -> f64 {
    let count = gaps.len() as f64;
    if gaps.len() < 2 {
        return 0.0;
    }
    population_variance(gaps) * count / (count - 1.0)
}

/// Sample variance of `σ(gap)`. Zero with one member.
pub fn probability_variance(gaps: &[f64]) -> f64 {
    logit_variance(&probabilities(gaps))
}

/// `p (1 - p)` with `p` the share of members that prefer the first.
pub fn label_variance(gaps: &[f64]) -> f64 {
    let share = mean(gaps.iter().map(|&gap| f64::from(u8::from(gap > 0.0))));
    share * (1.0 - share)
}

/// Mean over members of the entropy of each one's verdict, nats.
pub fn entropy(gaps: &[f64]) -> f64 {
    mean(gaps.iter().map(|&gap| coin(sigmoid(gap))))
}

/// What the answer would tell about which member is right, nats: the entropy of the mean verdict less the mean entropy of the
/// verdicts. With gaps under samples of a person's latent it is the information that the answer gives about the person
/// (arXiv 2408.10075, section on active queries, which bounds it through the posterior's variances).
pub fn information_gain(gaps: &[f64]) -> f64 {
    let p = mean(probabilities(gaps).into_iter());
    (coin(p) - entropy(gaps)).max(0.0)
}

/// Greedy k-centre: again and again the point that lies farthest from all that are taken, `asked` included; the first of equals.
/// Without any taken point the first is farthest.
pub fn k_centre(points: &[&[f64]], asked: &[Vec<f64>], wanted: usize) -> Vec<usize> {
    let distance =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum() };
    let mut nearest: Vec<f64> = points
        .iter()
        .map(|p| {
            asked
                .iter()
                .map(|a| distance(p, a))
                .fold(f64::INFINITY, f64::min)
        })
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < wanted.min(points.len()) {
        let mut farthest = None::<usize>;
        for i in (0..points.len()).filter(|i| !chosen.contains(i)) {
            if farthest.is_none_or(|best| nearest[i] > nearest[best]) {
                farthest = Some(i);
            }
        }
        let Some(next) = farthest else { break };
        chosen.push(next);
        for (near, point) in nearest.iter_mut().zip(points) {
            *near = near.min(distance(point, points[next]));
        }
    }
    chosen
}

/// How answers are spread over the rounds of a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuerySchedule {
    /// As many in each round.
    Constant,
    /// In proportion to `1 / (1 + t)`, `t` from 0 to 1 over the rounds.
    #[default]
    Hyperbolic,
    /// In proportion to `1 / (1 + t²)`.
    InverseQuadratic,
}

impl QuerySchedule {
    fn density(self, t: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Hyperbolic => 1.0 / (1.0 + t),
            Self::InverseQuadratic => 1.0 / (1.0 + t * t),
        }
    }

    /// Answers to ask for: before the first round a share `initial`, rounded down, then the others over `rounds` by the
    /// schedule, rounded so that they add up to `total`. `[1 + rounds]`. Source: `imitation` 1.0.1.
    pub fn apportion(
        self,
        total: usize,
        initial: f64,
        rounds: usize,
    ) -> Result<Vec<usize>, RewardError> {
        if !(0.0..=1.0).contains(&initial) {
            return Err(RewardError::Other(format!(
                "the initial share of the queries is {initial}; give 0 to 1"
            )));
        }
        if rounds == 0 {
            return Ok(vec![total]);
        }
        let first = (total as f64 * initial) as usize;
        let densities: Vec<f64> = (0..rounds)
            .map(|i| self.density(i as f64 / (rounds - 1).max(1) as f64))
            .collect();
        let sum: f64 = densities.iter().sum();
        let left = (total - first) as f64;
        let exact: Vec<f64> = densities.iter().map(|d| d / sum * left).collect();
        let mut shares: Vec<usize> = exact.iter().map(|x| *x as usize).collect();
        let missing = (total - first).saturating_sub(shares.iter().sum());
        let mut order: Vec<usize> = (0..rounds).collect();
        order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
        for &i in order.iter().cycle().take(missing) {
            shares[i] += 1;
        }
        Ok(std::iter::once(first).chain(shares).collect())
    }
}

#[cfg(test)]
mod tests;
