//! The core types: a [`Clip`] goes in, a [`Signal`] comes out of a [`RewardModel`].

use std::collections::BTreeMap;

use rapport_perception::{EncoderSpec, Features};

/// A stretch of an episode, as reward models see it.
#[derive(Clone, Debug, Default)]
pub struct Clip {
    /// Encoder output, `[time, dim]`.
    pub features: Features,
    /// Other channels by LeRobot feature name, each `[time, dim]`.
    pub columns: BTreeMap<String, Features>,
    /// Steps per second.
    pub fps: f64,
}

impl Clip {
    /// A clip of features only.
    pub fn from_features(features: Features, fps: f64) -> Self {
        Self {
            features,
            columns: BTreeMap::new(),
            fps,
        }
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// True when there is no step.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }
}

/// Who asks, and about what. Models that need none of it ignore it.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Whose preferences.
    pub user: Option<String>,
    /// The task in words.
    pub task: Option<String>,
    /// The situation in words, where preferences differ by it; [`crate::Preference::context`] is compared with this.
    pub situation: Option<String>,
}

/// A reward over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signal {
    /// Reward at each step, `[time]`.
    pub per_step: Vec<f64>,
    /// Named parts of it, each `[time]`, for looking at.
    pub terms: BTreeMap<String, Vec<f64>>,
    /// Standard deviation of each step's reward where the model knows it, `[time]`.
    pub uncertainty: Option<Vec<f64>>,
}

impl Signal {
    /// A signal without parts.
    pub fn new(per_step: Vec<f64>) -> Self {
        Self {
            per_step,
            ..Self::default()
        }
    }

    /// Sum over the clip: the return.
    pub fn total(&self) -> f64 {
        self.per_step.iter().sum()
    }
}

/// Why a clip has no reward.
#[derive(Debug, thiserror::Error)]
pub enum RewardError {
    /// Features of another encoder or width.
    #[error(
        "features are {found} wide, this reward was learned on {expected}; encode with {encoder}"
    )]
    Width {
        /// Width given.
        found: usize,
        /// Width wanted.
        expected: usize,
        /// The encoder to use.
        encoder: String,
    },
    /// Features of another encoder, of whatever width.
    #[error(
        "these features come from {found}, this reward was learned on {expected} (fingerprints {found_print} and {expected_print}); encode with {expected}"
    )]
    Encoder {
        /// Encoder of the features.
        found: String,
        /// Encoder that the reward was learned on.
        expected: String,
        /// Fingerprint of the one, shortened.
        found_print: String,
        /// Fingerprint of the other, shortened.
        expected_print: String,
    },
    /// A value that is not a number.
    #[error("{what} at step {step} is not finite")]
    NotFinite {
        /// What it is.
        what: String,
        /// Where.
        step: usize,
    },
    /// A reward directory that cannot be used.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// What is wrong, and what to do.
        cause: String,
    },
    /// Anything else, in one sentence.
    #[error("{0}")]
    Other(String),
}

/// Gives every step of a clip a reward.
pub trait RewardModel: Send {
    /// Scores a clip.
    fn score(&self, clip: &Clip, context: &Context) -> Result<Signal, RewardError>;

    /// True when step `t`'s reward depends on steps up to `t` only, so that it can be used live.
    fn causal(&self) -> bool;

    /// What the model looks at when it scores a clip, `[time, any width]`, for probing: the clip's features, unless it sees them
    /// through something it has learned.
    fn representation(&self, clip: &Clip) -> Result<Features, RewardError> {
        Ok(clip.features.clone())
    }
}

/// Features that a model can score: some frames, of the encoder's width, all finite.
pub(crate) fn check_features(
    features: &Features,
    encoder: &EncoderSpec,
) -> Result<(), RewardError> {
    if features.is_empty() {
        return Err(RewardError::Other(
            "the clip has no frames; give one with at least one".into(),
        ));
    }
    if features.dim() != encoder.dim {
        return Err(RewardError::Width {
            found: features.dim(),
            expected: encoder.dim,
            encoder: encoder.name.clone(),
        });
    }
    match features.as_slice().iter().position(|v| !v.is_finite()) {
        Some(bad) => Err(RewardError::NotFinite {
            what: "a feature".into(),
            step: bad / features.dim(),
        }),
        None => Ok(()),
    }
}

/// Refuses features of another encoder than a reward was learned on.
pub(crate) fn check_encoder(
    found: &EncoderSpec,
    expected: &EncoderSpec,
) -> Result<(), RewardError> {
    if found.fingerprint == expected.fingerprint && found.dim == expected.dim {
        return Ok(());
    }
    let short = |print: &str| print.chars().take(12).collect();
    Err(RewardError::Encoder {
        found: found.name.clone(),
        expected: expected.name.clone(),
        found_print: short(&found.fingerprint),
        expected_print: short(&expected.fingerprint),
    })
}
