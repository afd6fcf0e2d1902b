//! [`ToolJudge`]: an annotator that measures before it judges. After Anyprefer (arXiv 2504.19276), where a judge with tools ranks a
//! policy's own samples; the tools here are reward programs over what was recorded.

use super::{Annotator, ClipQuery};
use crate::model::{Clip, Context, RewardError, RewardModel as _};
use crate::preference::{Choice, ClipId, Preference};
use crate::program::ProgramReward;

/// How a clip's steps become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// The sum of all steps.
    #[default]
    Sum,
    /// The last step.
    End,
}

/// Judges clips by what a program measures on them.
pub struct ToolJudge<F> {
    tools: ProgramReward,
    over: Over,
    margin: f64,
    look: F,
}

impl<F> ToolJudge<F>
where
    F: FnMut(&ClipId) -> Option<Clip> + Send,
{
    /// A judge whose tools are the terms of `tools`, each with its weight in it. `look` finds a clip. Scores nearer than `margin` to each
    /// other are equal. Fails on a margin that is none.
    pub fn new(
        tools: ProgramReward,
        over: Over,
        margin: f64,
        look: F,
    ) -> Result<Self, RewardError> {
        if !margin.is_finite() || margin < 0.0 {
            return Err(RewardError::Other(format!(
                "the judge's margin is {margin}; give a number from 0 up"
            )));
        }
        Ok(Self {
            tools,
            over,
            margin,
            look,
        })
    }

    /// What the tools say of a clip; none for a clip that is not to be found.
    pub fn measure(&mut self, id: &ClipId) -> Result<Option<f64>, RewardError> {
        let Some(clip) = (self.look)(id) else {
            return Ok(None);
        };
        let signal = self.tools.score(&clip, &Context::default())?;
        Ok(match self.over {
            Over::Sum => Some(signal.total()),
            Over::End => signal.per_step.last().copied(),
        })
    }

    fn judge(&mut self, query: &ClipQuery) -> Result<Option<Preference>, RewardError> {
        let mut scored = Vec::new();
        for id in &query.clips {
            match self.measure(id)? {
                Some(score) => scored.push((score, id.clone())),
                None => return Ok(None),
            }
        }
        // Equals stay in the order in which they were shown.
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let close = |pair: &[(f64, ClipId)]| pair[0].0 - pair[1].0 < self.margin;
        let all_equal = match (scored.first(), scored.last()) {
            (Some(best), Some(worst)) => best.0 - worst.0 <= self.margin,
            _ => return Ok(None),
        };
        let clips: Vec<ClipId> = scored.iter().map(|(_, id)| id.clone()).collect();
        let choice = match clips.as_slice() {
            _ if all_equal => Choice::Equal { clips },
            [better, worse] => Choice::Pair {
                better: better.clone(),
                worse: worse.clone(),
            },
            // A ranking in which neighbours cannot be told apart would say more than was measured.
            _ if scored.windows(2).any(close) => return Ok(None),
            _ => Choice::Rank { clips },
        };
        let mut preference = Preference::now(choice, query.user.clone(), self.name())?;
        preference.context.clone_from(&query.context);
        preference.validate()?;
        Ok(Some(preference))
    }
}

impl<F> Annotator for ToolJudge<F>
where
    F: FnMut(&ClipId) -> Option<Clip> + Send,
{
    type Query = ClipQuery;
    type Answer = Preference;

    fn name(&self) -> &str {
        "tool-judge"
    }

    fn label(&mut self, queries: &[ClipQuery]) -> Result<Vec<Option<Preference>>, RewardError> {
        queries.iter().map(|query| self.judge(query)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use rapport_perception::Features;

    fn id(episode: usize) -> ClipId {
        ClipId {
            dataset: "samples".into(),
            episode,
            start: 0,
            end: 10,
        }
    }

    /// A policy's samples: how far the block ended from its place, how hard it was hit, and what the policy itself thinks of it. Probes
    /// see the first two with noise; the policy likes its own fast motions, good or bad.
    struct Sample {
        off: f64,
        hit: f64,
        own: f64,
    }

    fn samples(rng: &mut ChaCha8Rng) -> Vec<Sample> {
        (0..60)
            .map(|_| {
                let (off, hit): (f64, f64) =
                    (rng.random_range(0.0..1.0), rng.random_range(0.0..1.0));
                let own = 0.3 * (1.0 - off) + 0.7 * hit + rng.random_range(-0.3..0.3);
                Sample { off, hit, own }
            })
            .collect()
    }

    #[test]
    fn a_judge_with_probes_agrees_with_the_oracle_more_than_the_policy_with_itself() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let samples = samples(&mut rng);
        let oracle = |s: &Sample| -s.off - 0.5 * s.hit;
        let probes: Vec<[f32; 2]> = samples
            .iter()
            .map(|s| [s.off, s.hit].map(|v| (v + rng.random_range(-0.1..0.1)) as f32))
            .collect();
        let tools = ProgramReward::parse("place = -probe[0]\nforce = -0.5 * probe[1]").unwrap();
        let mut judge = ToolJudge::new(tools, Over::End, 0.02, |id: &ClipId| {
            let columns = [(
                "probe".to_owned(),
                Features::new(2, probes.get(id.episode)?.to_vec()),
            )];
            Some(Clip {
                columns: columns.into(),
                ..Clip::default()
            })
        })
        .unwrap();
        let (mut agreed, mut own, mut all) = (0, 0, 0);
        for _ in 0..600 {
            let (a, b) = (
                rng.random_range(0..samples.len()),
                rng.random_range(0..samples.len()),
            );
            if a == b {
                continue;
            }
            let answers = judge.label(&[ClipQuery::pair(id(a), id(b), "me")]).unwrap();
            if let Some(Preference {
                choice: Choice::Pair { better, .. },
                ..
            }) = &answers[0]
            {
                let best = oracle(&samples[a]) > oracle(&samples[b]);
                all += 1;
                agreed += usize::from((better.episode == a) == best);
                own += usize::from((samples[a].own > samples[b].own) == best);
            }
        }
        let (agreed, own) = (
            f64::from(agreed as u32) / all as f64,
            f64::from(own as u32) / all as f64,
        );
        assert!(
            agreed > 0.85 && agreed > own + 0.2,
            "judge {agreed}, policy itself {own}"
        );
    }

    #[test]
    fn what_cannot_be_told_apart_is_equal_or_not_answered() {
        let tools = ProgramReward::parse("r = x").unwrap();
        let values = [1.0, 1.05, 3.0, 2.0];
        let mut judge = ToolJudge::new(tools.clone(), Over::Sum, 0.1, |id: &ClipId| {
            let columns = [(
                "x".to_owned(),
                Features::new(1, vec![*values.get(id.episode)?]),
            )];
            Some(Clip {
                columns: columns.into(),
                ..Clip::default()
            })
        })
        .unwrap();
        let mut choice = |episodes: &[usize]| {
            let query = ClipQuery {
                clips: episodes.iter().copied().map(id).collect(),
                user: "me".into(),
                context: Some("in a hurry".into()),
            };
            judge
                .label(&[query])
                .unwrap()
                .remove(0)
                .map(|p| (p.choice, p.context))
        };
        let context = Some("in a hurry".to_owned());
        assert_eq!(
            choice(&[0, 1]),
            Some((
                Choice::Equal {
                    clips: vec![id(1), id(0)]
                },
                context.clone()
            ))
        );
        assert_eq!(
            choice(&[0, 2]),
            Some((
                Choice::Pair {
                    better: id(2),
                    worse: id(0)
                },
                context.clone()
            ))
        );
        assert_eq!(
            choice(&[0, 2, 3]),
            Some((
                Choice::Rank {
                    clips: vec![id(2), id(3), id(0)]
                },
                context
            ))
        );
        assert_eq!(choice(&[0, 1, 2]), None);
        assert_eq!(choice(&[0, 9]), None);
        assert_eq!(choice(&[]), None);
        assert!(ToolJudge::new(tools, Over::Sum, f64::NAN, |_: &ClipId| None).is_err());
    }
}
