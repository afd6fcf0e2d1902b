//! Preferences that nobody was asked for: what an operator did next, and what became of a recording.
//!
//! Follow-up Likelihood as Reward (arXiv 2409.13948) scores a reply by `log P(positive follow-up) - log P(negative)` under a
//! language model; Social Reward (arXiv 2402.09872) reads taste off edits and remixes. An operator's follow-up is plain to see, so
//! that here each reaction has a fixed value and no likelihood is estimated.

use serde::{Deserialize, Serialize};

use super::{Choice, ClipId, Preference, Reaction, Source};
use crate::model::RewardError;

/// What became of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// Thrown away.
    Discarded,
    /// Done again at once.
    Rerecorded,
    /// Kept.
    Kept,
    /// Watched or played back again.
    Replayed,
    /// Chosen as an example for others.
    Shared,
}

/// Something that happened to a clip, and how good a sign it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The clip.
    pub clip: ClipId,
    /// How good a sign it is, -1..=1.
    pub value: f64,
    /// Whose sign it is.
    pub user: String,
    /// The situation, where it is known. Only clips of one situation are compared.
    pub situation: Option<String>,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// What it is read off.
    pub source: Source,
}

/// How signs become preferences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImplicitConfig {
    /// Two clips are compared when their signs differ by at least this much.
    pub least_gap: f64,
    /// Each clip is compared with at most this many later ones, the nearest in time first: circumstances change.
    pub neighbours: usize,
    /// Weight of a preference read off a reaction.
    pub reaction_weight: f64,
    /// Weight of one read off usage: a weaker sign.
    pub usage_weight: f64,
}

impl Default for ImplicitConfig {
    fn default() -> Self {
        Self {
            least_gap: 0.5,
            neighbours: 8,
            reaction_weight: 0.5,
            usage_weight: 0.25,
        }
    }
}

impl Reaction {
    /// How good a sign it is: -1 an emergency stop, -0.75 a takeover, -0.25 a nudge, 0.5 silence, 1 praise. Our own scale.
    pub fn value(self) -> f64 {
        match self {
            Self::Stop => -1.0,
            Self::Takeover => -0.75,
            Self::Nudge => -0.25,
            Self::Silence => 0.5,
            Self::Praise => 1.0,
        }
    }
}

impl Usage {
    /// How good a sign it is: -1 discarded, -0.5 done again, 0.25 kept, 0.5 replayed, 1 shared. Our own scale.
    pub fn value(self) -> f64 {
        match self {
            Self::Discarded => -1.0,
            Self::Rerecorded => -0.5,
            Self::Kept => 0.25,
            Self::Replayed => 0.5,
            Self::Shared => 1.0,
        }
    }
}

/// The reactions among some records, as signs. A clip with several reactions has the worst of them: the operator stopped the
/// robot whatever was said before.
pub fn reactions(records: &[Preference]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for record in records {
        let Choice::Reaction { clip, reaction } = &record.choice else {
            continue;
        };
        let value = reaction.value();
        let known = events
            .iter_mut()
            .find(|e| e.clip == *clip && e.user == record.user);
        match known {
            Some(event) => event.value = event.value.min(value),
            None => events.push(Event {
                clip: clip.clone(),
                value,
                user: record.user.clone(),
                situation: record.context.clone(),
                time_ms: record.time_ms,
                source: Source::Reaction,
            }),
        }
    }
    events
}

/// Weak preferences for clips with the better sign: between signs of one person, one situation and one source, near in time,
/// that differ enough. The strength is half the difference.
pub fn implicit_preferences(
    events: &[Event],
    config: &ImplicitConfig,
) -> Result<Vec<Preference>, RewardError> {
    if let Some(bad) = events.iter().find(|e| !(-1.0..=1.0).contains(&e.value)) {
        return Err(RewardError::Other(format!(
            "the sign of {} is {}; give -1 to 1",
            bad.clip, bad.value
        )));
    }
    let mut order: Vec<&Event> = events.iter().collect();
    order.sort_by_key(|e| e.time_ms);
    let mut found = Vec::new();
    for (i, one) in order.iter().enumerate() {
        let comparable = order[i + 1..]
            .iter()
            .filter(|other| {
                other.user == one.user
                    && other.situation == one.situation
                    && other.source == one.source
                    && other.clip != one.clip
            })
            .take(config.neighbours);
        for other in comparable {
            let gap = one.value - other.value;
            if gap.abs() < config.least_gap {
                continue;
            }
            let (better, worse) = if gap > 0.0 {
                (one, other)
            } else {
                (other, one)
            };
            let weight = match one.source {
                Source::Usage => config.usage_weight,
                _ => config.reaction_weight,
            };
            found.push(Preference {
                choice: Choice::Pair {
                    better: better.clip.clone(),
                    worse: worse.clip.clone(),
                },
                user: one.user.clone(),
                annotator: match one.source {
                    Source::Usage => "usage".into(),
                    _ => "reaction".into(),
                },
                time_ms: other.time_ms,
                context: one.situation.clone(),
                strength: Some((gap.abs() / 2.0).min(1.0)),
                weight: Some(weight),
                source: Some(one.source),
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    fn clip(episode: usize) -> ClipId {
        ClipId {
            dataset: "d".into(),
            episode,
            start: 0,
            end: 10,
        }
    }

    /// What a simulated operator does about a clip of a quality 0..1, who does not always look.
    fn operator(quality: f64, rng: &mut ChaCha8Rng) -> Reaction {
        let felt = quality + 0.2 * (rng.random::<f64>() - 0.5);
        match felt {
            x if x < 0.15 => Reaction::Stop,
            x if x < 0.35 => Reaction::Takeover,
            x if x < 0.5 => Reaction::Nudge,
            x if x > 0.9 && rng.random::<f64>() < 0.5 => Reaction::Praise,
            _ => Reaction::Silence,
        }
    }

    fn agreement(preferences: &[Preference], quality: &[f64]) -> f64 {
        let right = preferences.iter().filter(|p| {
            let clips = p.choice.clips();
            quality[clips[0].episode] > quality[clips[1].episode]
        });
        right.count() as f64 / preferences.len() as f64
    }

    #[test]
    fn preferences_read_off_reactions_agree_with_the_truth() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let quality: Vec<f64> = (0..300).map(|_| rng.random()).collect();
        let records: Vec<Preference> = quality
            .iter()
            .enumerate()
            .map(|(i, &q)| {
                let choice = Choice::Reaction {
                    clip: clip(i),
                    reaction: operator(q, &mut rng),
                };
                Preference {
                    time_ms: i as u64,
                    ..Preference::now(choice, "ana", "operator").unwrap()
                }
            })
            .collect();
        let found = implicit_preferences(&reactions(&records), &ImplicitConfig::default()).unwrap();
        assert!(found.len() > 500, "{}", found.len());
        let share = agreement(&found, &quality);
        assert!(share >= 0.85, "{share}");
        assert!(
            found
                .iter()
                .all(|p| p.validate().is_ok() && p.source == Some(Source::Reaction))
        );
    }

    #[test]
    fn the_worst_reaction_to_a_clip_counts_and_people_are_not_mixed() {
        let record = |episode, reaction, user: &str| {
            let choice = Choice::Reaction {
                clip: clip(episode),
                reaction,
            };
            Preference::now(choice, user, "operator").unwrap()
        };
        let records = [
            record(0, Reaction::Praise, "ana"),
            record(0, Reaction::Stop, "ana"),
            record(1, Reaction::Silence, "ana"),
            record(2, Reaction::Praise, "ben"),
        ];
        let events = reactions(&records);
        assert_eq!(events.len(), 3);
        let found = implicit_preferences(&events, &ImplicitConfig::default()).unwrap();
        assert_eq!(found.len(), 1);
        let expected = Choice::Pair {
            better: clip(1),
            worse: clip(0),
        };
        assert_eq!(found[0].choice, expected);
        assert_eq!(found[0].strength, Some(0.75));
    }

    #[test]
    fn what_is_kept_is_better_than_chance_and_weighs_less_than_an_answer() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let quality: Vec<f64> = (0..200).map(|_| rng.random()).collect();
        let events: Vec<Event> = quality
            .iter()
            .enumerate()
            .map(|(i, &q)| {
                // People keep what is good, and forget to throw away a third of what is not.
                let usage = if q > 0.5 || rng.random::<f64>() < 0.33 {
                    Usage::Kept
                } else {
                    Usage::Discarded
                };
                Event {
                    clip: clip(i),
                    value: usage.value(),
                    user: "ana".into(),
                    situation: None,
                    time_ms: i as u64,
                    source: Source::Usage,
                }
            })
            .collect();
        let found = implicit_preferences(&events, &ImplicitConfig::default()).unwrap();
        let share = agreement(&found, &quality);
        assert!(share > 0.7, "{share}");
        assert!(found.iter().all(|p| p.weight.unwrap() < 1.0));
        let mut bad = events;
        bad[0].value = f64::NAN;
        assert!(implicit_preferences(&bad, &ImplicitConfig::default()).is_err());
    }
}
