//! The rewards that are compared, each learned from the same clips and, where it needs them, the same answers.

use anyhow::Context as _;
use rapport::perception::{EncoderSpec, Features};
use rapport::reward::head::{Condition, HeadConfig, Pair, Pairs, PreferenceHead, Resampling};
use rapport::reward::matching::{TextMatch, TextMatchConfig};
use rapport::reward::steps::SegmentationConfig;
use rapport::reward::transport::Points;
use rapport::reward::{
    AlignConfig, Aligned, Alignment, Clip, Comparisons, GoalDistance, GoalDistanceConfig,
    NetworkConfig, PerceptualSteps, RewardModel, StepsConfig, TransportConfig, TransportMatch,
    TransportMatchConfig,
};
use serde::{Deserialize, Serialize};

/// A way to get a reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Transport to the exemplars through an alignment learned from the answers.
    Rapl,
    /// The same with a sharper plan than RAPL's, nearer to an assignment.
    RaplSharp,
    /// A scorer learned from the answers by Bradley and Terry's model.
    Rlhf,
    /// Transport to the exemplars in the frozen features.
    Transport,
    /// Perceptual steps of the exemplars.
    Steps,
    /// Distance to the exemplars' last frames.
    Goal,
    /// How well a frame fits the task in words (VLM-RM), in the small image-text space that comes with Rapport.
    Text,
}

impl Method {
    /// All, in the order of tables.
    pub const ALL: [Self; 7] = [
        Self::Rapl,
        Self::RaplSharp,
        Self::Rlhf,
        Self::Transport,
        Self::Steps,
        Self::Goal,
        Self::Text,
    ];

    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rapl => "RAPL",
            Self::RaplSharp => "RAPL, sharper plan",
            Self::Rlhf => "RLHF (Bradley-Terry)",
            Self::Transport => "transport, frozen features",
            Self::Steps => "perceptual steps",
            Self::Goal => "goal distance",
            Self::Text => "text (VLM-RM)",
        }
    }

    /// Whether it learns from answers.
    pub fn asks(self) -> bool {
        matches!(self, Self::Rapl | Self::RaplSharp | Self::Rlhf)
    }
}

/// A clip as encoded, and as its principal components.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `[frames, encoder.dim]`.
    pub whole: Features,
    /// `[frames, components]`.
    pub small: Features,
    /// `[frames, common]`, in the space of pictures and sentences; None where the encoder has none.
    pub spoken: Option<Features>,
}

/// The task in words, in the space that [`Seen::spoken`] is in.
#[derive(Clone, Debug)]
pub struct Sentences {
    /// The space.
    pub space: EncoderSpec,
    /// What should be seen and what is seen anyway.
    pub config: TextMatchConfig,
    /// Embedded, one row a sentence.
    pub goals: Features,
    /// Embedded, one row a sentence.
    pub baselines: Features,
}

impl Sentences {
    /// The reward for what they say.
    pub fn reward(&self) -> anyhow::Result<TextMatch> {
        let (goals, baselines) = (self.goals.clone(), self.baselines.clone());
        Ok(TextMatch::new(
            &self.space,
            goals,
            baselines,
            self.config.clone(),
        )?)
    }
}

/// What everybody learns from.
pub struct School {
    /// The encoder.
    pub encoder: EncoderSpec,
    /// Clips that were ranked, or could have been.
    pub pool: Vec<Seen>,
    /// Clips of the task done well, which nobody ranked.
    pub exemplars: Vec<Seen>,
    /// The task in words, where the encoder's features can be compared with them.
    pub sentences: Option<Sentences>,
}

/// How the rewards are learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RivalsConfig {
    /// Transport, aligned or not.
    pub transport: TransportConfig,
    /// Weight of the entropy for [`Method::RaplSharp`].
    pub sharp_epsilon: f64,
    /// The alignment.
    pub align: AlignConfig,
    /// The scorer behind Bradley and Terry's model.
    pub head: HeadConfig,
    /// Perceptual steps.
    pub steps: StepsConfig,
}

impl Default for RivalsConfig {
    fn default() -> Self {
        let transport = TransportConfig::default();
        Self {
            align: AlignConfig {
                transport: transport.clone(),
                epochs: 60,
                ..AlignConfig::default()
            },
            transport,
            sharp_epsilon: 0.05,
            head: HeadConfig {
                network: NetworkConfig {
                    hidden: vec![32],
                    ..NetworkConfig::default()
                },
                members: 1,
                resampling: Resampling::All,
                learning_rate: 3e-3,
                weight_decay: 1e-2,
                epochs: 30,
                ..HeadConfig::default()
            },
            steps: StepsConfig {
                segmentation: SegmentationConfig {
                    min_size: 3,
                    ..SegmentationConfig::default()
                },
                ..StepsConfig::default()
            },
        }
    }
}

/// A reward that was learned.
pub struct Rival {
    model: Box<dyn RewardModel>,
    sees: Sees,
    /// How clips are compared with each other, for those who do.
    anchored: Option<Anchored>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sees {
    Whole,
    Small,
    Spoken,
}

struct Anchored {
    alignment: Option<Alignment>,
    transport: TransportConfig,
}

impl Rival {
    /// Learns. `triplets` are `[best, middle, worst]` in the school's pool.
    pub fn learn(
        method: Method,
        school: &School,
        triplets: &[[usize; 3]],
        config: &RivalsConfig,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let whole: Vec<Features> = school.exemplars.iter().map(|c| c.whole.clone()).collect();
        let matching = TransportMatchConfig {
            transport: config.transport.clone(),
            ..TransportMatchConfig::default()
        };
        Ok(match method {
            Method::RaplSharp => {
                let mut sharper = config.clone();
                sharper.transport.epsilon = config.sharp_epsilon;
                sharper.align.transport.epsilon = config.sharp_epsilon;
                Self::learn(Method::Rapl, school, triplets, &sharper, seed)?
            }
            Method::Rapl => {
                let clips = school.pool.iter().map(|clip| clip.small.clone()).collect();
                let comparisons = Comparisons::from_triplets(clips, triplets)?;
                let (alignment, _) = Alignment::train(&comparisons, &[], &config.align, seed)?;
                let spec = small_spec(school);
                let embedded = school
                    .exemplars
                    .iter()
                    .map(|clip| alignment.embed(&clip.small))
                    .collect::<Result<Vec<_>, _>>()?;
                let inner = TransportMatch::new(
                    &Aligned::embedding_spec(&spec, &alignment),
                    &embedded,
                    matching,
                )?;
                Self {
                    model: Box::new(Aligned::new(&spec, alignment.clone(), Box::new(inner))?),
                    sees: Sees::Small,
                    anchored: Some(Anchored {
                        alignment: Some(alignment),
                        transport: config.transport.clone(),
                    }),
                }
            }
            Method::Rlhf => {
                let spec = small_spec(school);
                let pairs = pairs(school, triplets);
                let (head, _) =
                    PreferenceHead::train(&spec, &pairs, Condition::None, &config.head, seed)?;
                Self {
                    model: Box::new(head),
                    sees: Sees::Small,
                    anchored: None,
                }
            }
            Method::Transport => Self {
                model: Box::new(TransportMatch::new(&school.encoder, &whole, matching)?),
                sees: Sees::Whole,
                anchored: Some(Anchored {
                    alignment: None,
                    transport: config.transport.clone(),
                }),
            },
            Method::Steps => Self {
                model: Box::new(
                    PerceptualSteps::learn(&school.encoder, &whole, config.steps.clone())?.0,
                ),
                sees: Sees::Whole,
                anchored: None,
            },
            Method::Goal => {
                let dim = school.encoder.dim;
                let ends: Vec<f32> = whole
                    .iter()
                    .filter(|clip| !clip.is_empty())
                    .flat_map(|clip| clip.row(clip.len() - 1).to_vec())
                    .collect();
                let ends = Features::new(dim, ends);
                let config = GoalDistanceConfig::default();
                Self {
                    model: Box::new(GoalDistance::new(&school.encoder, &ends, config)?),
                    sees: Sees::Whole,
                    anchored: None,
                }
            }
            Method::Text => {
                let Some(words) = &school.sentences else {
                    anyhow::bail!("the encoder's features cannot be compared with sentences");
                };
                Self {
                    model: Box::new(words.reward()?),
                    sees: Sees::Spoken,
                    anchored: None,
                }
            }
        })
    }

    /// The reward of every frame of a clip.
    pub fn score(&self, clip: &Seen) -> anyhow::Result<Vec<f64>> {
        let features = match self.sees {
            Sees::Whole => &clip.whole,
            Sees::Small => &clip.small,
            Sees::Spoken => clip
                .spoken
                .as_ref()
                .context("a clip was not put into the space of sentences")?,
        };
        let clip = Clip::from_features(features.clone(), 1.0);
        let nobody = rapport::reward::Context::default();
        Ok(self.model.score(&clip, &nobody)?.per_step)
    }

    /// Whether `middle` is nearer to `best` than `worst` is: the question that RAPL is trained on. None where clips are not
    /// compared with each other.
    pub fn is_nearer(&self, [best, middle, worst]: [&Seen; 3]) -> anyhow::Result<Option<bool>> {
        let Some(anchored) = &self.anchored else {
            return Ok(None);
        };
        let points = |clip: &Seen| match &anchored.alignment {
            Some(alignment) => alignment.embed_points(&clip.small),
            None => Ok(Points::from(&clip.whole)),
        };
        let anchor = points(best)?;
        let distance = |to: &Seen| -> anyhow::Result<f64> {
            Ok(anchored.transport.solve(&anchor, &points(to)?)?.distance())
        };
        Ok(Some(distance(middle)? < distance(worst)?))
    }
}

/// The principal components seen as an encoder.
fn small_spec(school: &School) -> EncoderSpec {
    EncoderSpec {
        name: format!("{} components", school.encoder.name),
        dim: school.pool.first().map_or(1, |clip| clip.small.dim()),
        fingerprint: school.encoder.fingerprint.clone(),
    }
}

/// Every triplet as its three pairs.
fn pairs(school: &School, triplets: &[[usize; 3]]) -> Pairs {
    let clips = school
        .pool
        .iter()
        .map(|clip| Clip::from_features(clip.small.clone(), 1.0))
        .collect();
    let items = triplets
        .iter()
        .enumerate()
        .flat_map(|(answer, &[best, middle, worst])| {
            [(best, middle), (middle, worst), (best, worst)]
                .map(|(better, worse)| Pair::new(better, worse, 1.0, answer))
        })
        .collect();
    Pairs {
        clips,
        items,
        skipped: 0,
    }
}
