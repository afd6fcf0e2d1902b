//! Which clips to ask a person about next, by what a head makes of them.

use rand::Rng;

use super::PreferenceHead;
use crate::model::{Clip, Context, RewardError};
use crate::preference::{Candidates, QueryConfig, Selection};

impl PreferenceHead {
    /// Pairs of `clips` to ask about, most worthwhile first, at most `wanted` of them. `asked` are pairs that were asked about
    /// before: they are not asked again, and those with a k-centre keep away from them. Each clip is scored once.
    pub fn queries(
        &self,
        clips: &[Clip],
        asked: &[(usize, usize)],
        wanted: usize,
        context: &Context,
        config: &QueryConfig,
        rng: &mut impl Rng,
    ) -> Result<Vec<(usize, usize)>, RewardError> {
        if let Some(bad) = asked.iter().find(|(a, b)| *a.max(b) >= clips.len()) {
            return Err(RewardError::Other(format!(
                "a pair that was asked about names clips {} and {} of {}",
                bad.0,
                bad.1,
                clips.len()
            )));
        }
        let known = |&(a, b): &(usize, usize)| asked.contains(&(a, b)) || asked.contains(&(b, a));
        let mut pairs = config.draw(clips.len(), wanted + asked.len(), rng);
        pairs.retain(|pair| !known(pair));
        let gaps = if matches!(config.selection, Selection::Uniform | Selection::KCentre) {
            Vec::new()
        } else {
            let returns = self.returns(clips, context)?;
            pairs
                .iter()
                .map(|&(a, b)| {
                    let both = returns[a].iter().zip(&returns[b]);
                    both.map(|(a, b)| a - b).collect()
                })
                .collect()
        };
        let by_points = matches!(
            config.selection,
            Selection::KCentre | Selection::DisagreementKCentre | Selection::EntropyKCentre
        );
        let (mut points, mut taken) = (Vec::new(), Vec::new());
        if by_points {
            let means = self.mean_inputs(clips)?;
            let point = |&(a, b): &(usize, usize)| -> Vec<f64> {
                means[a]
                    .iter()
                    .chain(&means[b])
                    .map(|&v| v.into())
                    .collect()
            };
            points = pairs.iter().map(point).collect();
            taken = asked.iter().map(point).collect();
        }
        let candidates = Candidates {
            gaps: &gaps,
            points: &points,
            asked: &taken,
        };
        let chosen = config.choose(pairs.len(), wanted, candidates, rng)?;
        Ok(chosen.into_iter().map(|i| pairs[i]).collect())
    }
}
