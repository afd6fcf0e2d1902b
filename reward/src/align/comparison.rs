//! [`Comparisons`]: preferences as distances that should be ordered.

use std::collections::HashMap;

use rapport_perception::Features;

use crate::model::RewardError;
use crate::preference::{Choice, ClipId, Preference};

/// "`near` is more like `anchor` than `far` is", as indices into [`Comparisons::clips`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The clip that was liked most.
    pub anchor: usize,
    /// The clip that should be near it.
    pub near: usize,
    /// The clip that should be farther away.
    pub far: usize,
    /// 1, or ½ when all are equally good.
    pub label: f64,
    /// Weight among the others.
    pub weight: f64,
    /// The answer that it came from. Comparisons from one answer are never split between training and validation.
    pub answer: usize,
}

/// Clips, and what was said about them.
#[derive(Clone, Debug, Default)]
pub struct Comparisons {
    /// Features of the clips, each `[time, dim]`.
    pub clips: Vec<Features>,
    /// What should be near what.
    pub items: Vec<Comparison>,
    /// Answers of which nothing could be learned: pairs, when there is no exemplar to compare them with, and what is said
    /// about one clip alone.
    pub skipped: usize,
}

impl Comparisons {
    /// From triplets `[best, middle, worst]` of indices into `clips`.
    pub fn from_triplets(
        clips: Vec<Features>,
        triplets: &[[usize; 3]],
    ) -> Result<Self, RewardError> {
        if let Some(bad) = triplets.iter().flatten().find(|&&i| i >= clips.len()) {
            return Err(RewardError::Other(format!(
                "a triplet names clip {bad} of {}",
                clips.len()
            )));
        }
        let items = triplets
            .iter()
            .enumerate()
            .map(|(answer, &[anchor, near, far])| Comparison {
                anchor,
                near,
                far,
                label: 1.0,
                weight: 1.0,
                answer,
            })
            .collect();
        Ok(Self {
            clips,
            items,
            skipped: 0,
        })
    }

    /// From a person's answers. A triplet is one comparison. A ranking gives every triplet in its order, which together weigh
    /// as much as `n - 2` answers. A pair has no third clip: it is compared with every one of `exemplars` (clips known to
    /// be good), which together weigh as much as one answer; without exemplars it is skipped. Equal clips are taken in
    /// threes. `features_of` is asked once for each clip.
    pub fn from_preferences(
        preferences: &[Preference],
        exemplars: &[Features],
        mut features_of: impl FnMut(&ClipId) -> Result<Features, RewardError>,
    ) -> Result<Self, RewardError> {
        let mut all = Self {
            clips: exemplars.to_vec(),
            ..Self::default()
        };
        let mut index = HashMap::new();
        for (answer, preference) in preferences.iter().enumerate() {
            preference.validate()?;
            let mut clips = Vec::new();
            for clip in preference.choice.clips() {
                let i = match index.get(clip) {
                    Some(&i) => i,
                    None => {
                        all.clips.push(features_of(clip)?);
                        index.insert(clip.clone(), all.clips.len() - 1);
                        all.clips.len() - 1
                    }
                };
                clips.push(i);
            }
            let before = all.items.len();
            let mut add = |anchor, near, far, label, weight| {
                all.items.push(Comparison {
                    anchor,
                    near,
                    far,
                    label,
                    weight,
                    answer,
                });
            };
            match &preference.choice {
                Choice::Pair { .. } => {
                    for exemplar in 0..exemplars.len() {
                        let weight = 1.0 / exemplars.len() as f64;
                        add(exemplar, clips[0], clips[1], 1.0, weight);
                    }
                }
                Choice::Triplet { .. } | Choice::Rank { .. } => {
                    let n = clips.len();
                    // n(n-1)(n-2)/6 triplets weigh n - 2 together.
                    let weight = 6.0 / (n * (n - 1)) as f64;
                    for i in 0..n {
                        for j in i + 1..n {
                            for k in j + 1..n {
                                add(clips[i], clips[j], clips[k], 1.0, weight);
                            }
                        }
                    }
                }
                Choice::Equal { .. } => {
                    for three in clips.windows(3) {
                        add(three[0], three[1], three[2], 0.5, 1.0);
                    }
                }
                Choice::Score { .. } | Choice::Fault { .. } | Choice::Reaction { .. } => {}
            }
            if all.items.len() == before {
                all.skipped += 1;
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(episode: usize) -> ClipId {
        ClipId {
            dataset: "d".into(),
            episode,
            start: 0,
            end: 1,
        }
    }

    fn answer(choice: Choice) -> Preference {
        Preference {
            choice,
            user: String::new(),
            annotator: String::new(),
            time_ms: 0,
            context: None,
            strength: None,
            weight: None,
            source: None,
        }
    }

    fn features(clip: &ClipId) -> Result<Features, RewardError> {
        Ok(Features::new(1, vec![clip.episode as f32]))
    }

    #[test]
    fn each_kind_of_answer_becomes_comparisons() {
        let pair = answer(Choice::Pair {
            better: clip(0),
            worse: clip(1),
        });
        let rank = answer(Choice::Rank {
            clips: (0..4).map(clip).collect(),
        });
        let triplet = answer(Choice::Triplet {
            best: clip(2),
            middle: clip(0),
            worst: clip(3),
        });
        let equal = answer(Choice::Equal {
            clips: (0..3).map(clip).collect(),
        });
        let exemplars = [Features::new(1, vec![9.0]), Features::new(1, vec![8.0])];
        let all = [pair.clone(), rank, triplet, equal];
        let found = Comparisons::from_preferences(&all, &exemplars, features).unwrap();
        assert_eq!(found.clips.len(), 2 + 4, "each clip once");
        assert_eq!(found.items.len(), 2 + 4 + 1 + 1);
        let weight = |answer: usize| -> f64 {
            found
                .items
                .iter()
                .filter(|c| c.answer == answer)
                .map(|c| c.weight)
                .sum()
        };
        assert_eq!(
            [weight(0), weight(1), weight(2), weight(3)],
            [1.0, 2.0, 1.0, 1.0]
        );
        let of_triplet = found.items.iter().find(|c| c.answer == 2).unwrap();
        let episode = |i: usize| found.clips[i].row(0)[0];
        assert_eq!(
            [of_triplet.anchor, of_triplet.near, of_triplet.far].map(episode),
            [2.0, 0.0, 3.0]
        );
        let alone = Comparisons::from_preferences(&[pair], &[], features).unwrap();
        assert_eq!((alone.items.len(), alone.skipped), (0, 1));
    }

    #[test]
    fn a_triplet_of_unknown_clips_is_refused() {
        let clips = vec![Features::new(1, vec![0.0])];
        assert!(Comparisons::from_triplets(clips, &[[0, 1, 0]]).is_err());
    }
}
