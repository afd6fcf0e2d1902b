//! The rewards that are compared, each learned from the same clips and, where it needs them, the same answers.

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::perception::{EncoderSpec, Features};
use rapport::reward::network::{Descent, Network, rows, training_device, values};
use rapport::reward::steps::SegmentationConfig;
use rapport::reward::transport::Points;
use rapport::reward::{
    AlignConfig, Aligned, Alignment, Clip, Comparisons, Context, GoalDistance, GoalDistanceConfig,
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
    /// A scorer learned from the answers by Bradley and Terry's model.
    Rlhf,
    /// Transport to the exemplars in the frozen features.
    Transport,
    /// Perceptual steps of the exemplars.
    Steps,
    /// Distance to the exemplars' last frames.
    Goal,
}

impl Method {
    /// All, in the order of tables.
    pub const ALL: [Self; 5] = [
        Self::Rapl,
        Self::Rlhf,
        Self::Transport,
        Self::Steps,
        Self::Goal,
    ];

    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rapl => "RAPL",
            Self::Rlhf => "RLHF (Bradley-Terry)",
            Self::Transport => "transport, frozen features",
            Self::Steps => "perceptual steps",
            Self::Goal => "goal distance",
        }
    }

    /// Whether it learns from answers.
    pub fn asks(self) -> bool {
        matches!(self, Self::Rapl | Self::Rlhf)
    }
}

/// A clip as encoded, and as its principal components.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `[frames, encoder.dim]`.
    pub whole: Features,
    /// `[frames, components]`.
    pub small: Features,
}

/// What everybody learns from.
pub struct School {
    /// The encoder.
    pub encoder: EncoderSpec,
    /// Clips that were ranked, or could have been.
    pub pool: Vec<Seen>,
    /// Clips of the task done well, which nobody ranked.
    pub exemplars: Vec<Seen>,
}

/// How the rewards are learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RivalsConfig {
    /// Transport, aligned or not.
    pub transport: TransportConfig,
    /// The alignment.
    pub align: AlignConfig,
    /// The scorer behind Bradley and Terry's model.
    pub scorer: NetworkConfig,
    /// Its passes over the answers.
    pub scorer_epochs: usize,
    /// Its step size.
    pub scorer_rate: f64,
    /// Its decay of the weights.
    pub scorer_decay: f64,
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
            scorer: NetworkConfig {
                hidden: vec![32],
                ..NetworkConfig::default()
            },
            scorer_epochs: 30,
            scorer_rate: 3e-3,
            scorer_decay: 1e-2,
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
            Method::Rlhf => Self {
                model: Box::new(Scorer::learn(school, triplets, config, seed)?),
                sees: Sees::Small,
                anchored: None,
            },
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
        })
    }

    /// The reward of every frame of a clip.
    pub fn score(&self, clip: &Seen) -> anyhow::Result<Vec<f64>> {
        let features = match self.sees {
            Sees::Whole => &clip.whole,
            Sees::Small => &clip.small,
        };
        let clip = Clip::from_features(features.clone(), 1.0);
        Ok(self.model.score(&clip, &Context::default())?.per_step)
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

/// Scores single frames; a clip is worth the mean of its frames, and the better of two wins with probability `σ(difference)`.
struct Scorer {
    network: Network,
}

impl Scorer {
    /// Every triplet is three pairs.
    fn learn(
        school: &School,
        triplets: &[[usize; 3]],
        config: &RivalsConfig,
        seed: u64,
    ) -> anyhow::Result<Self> {
        /// Pairs of a step.
        const BATCH: usize = 32;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let device = training_device();
        let spec = small_spec(school);
        let mut network = Network::new(&config.scorer, spec.dim, 1, &mut rng, &device);
        let mut descent = Descent::new(config.scorer_rate, config.scorer_decay);
        let mut pairs: Vec<(usize, usize)> = triplets
            .iter()
            .flat_map(|&[best, middle, worst]| [(best, middle), (middle, worst), (best, worst)])
            .collect();
        for _ in 0..config.scorer_epochs {
            pairs.shuffle(&mut rng);
            for batch in pairs.chunks(BATCH) {
                let stack = |of: &dyn Fn(&(usize, usize)) -> usize| -> Vec<f32> {
                    batch
                        .iter()
                        .flat_map(|pair| school.pool[of(pair)].small.as_slice().iter().copied())
                        .collect()
                };
                let both = [stack(&|pair| pair.0), stack(&|pair| pair.1)].concat();
                let frames = both.len() / spec.dim / (2 * batch.len());
                let scores = network.forward(rows(&both, spec.dim, &device));
                let returns = scores.reshape([2 * batch.len(), frames]).mean_dim(1);
                let better = returns.clone().slice([0..batch.len()]);
                let worse = returns.slice([batch.len()..2 * batch.len()]);
                let gap = better - worse;
                let loss = burn::tensor::activation::softplus(-gap, 1.0).mean();
                network = descent.step(network, loss)?.0;
            }
        }
        let _ = rng.random::<u64>();
        Ok(Self { network })
    }
}

impl RewardModel for Scorer {
    fn score(
        &self,
        clip: &Clip,
        _: &Context,
    ) -> Result<rapport::reward::Signal, rapport::reward::RewardError> {
        use burn::module::Module as _;
        let device = burn::tensor::Device::flex();
        let features = &clip.features;
        let input = rows(features.as_slice(), features.dim(), &device);
        let scores = values(self.network.clone().valid().forward(input))?;
        let per_step = scores.into_iter().map(f64::from).collect();
        Ok(rapport::reward::Signal::new(per_step))
    }

    fn causal(&self) -> bool {
        true
    }
}
