//! Features and preferences to reward: models, transforms, combination, evaluation.

pub mod adversary;
pub mod align;
pub mod annotator;
pub mod combine;
pub mod eval;
pub mod head;
pub mod matching;
pub mod model;
pub mod network;
pub mod objective;
pub mod preference;
pub mod program;
pub mod progress;
pub mod steps;
pub mod store;
pub mod transform;
pub mod transport;

pub use adversary::{
    Adversary, AdversaryConfig, FrozenAdversary, Relabel, Steps, TokenAdversary, TokenConfig,
};
pub use align::{
    AdaptConfig, Adaptation, Adapted, AlignConfig, AlignReport, Aligned, Alignment, Comparisons,
};
pub use annotator::{Annotator, ClipAnnotator, ClipQuery};
pub use combine::{Combination, Combined, Combiner, Member};
pub use head::{
    Condition, FaultHeads, HeadConfig, HeadReport, IdealPoints, LatentUsers, PairConsistency,
    PreferenceHead,
};
pub use matching::{
    ExemplarConfig, ExemplarMatch, ExemplarSet, GoalDistance, GoalDistanceConfig, TransportMatch,
    TransportMatchConfig,
};
pub use model::{Clip, Context, RewardError, RewardModel, Signal};
pub use network::{Activation, Network, NetworkConfig};
pub use objective::{PairLoss, PairObjective, PairTarget};
pub use preference::{
    Choice, ClipId, Preference, PreferenceStore, Reaction, SegmentFault, Skipped, Source, Teacher,
};
pub use program::{Program, ProgramReward};
pub use progress::{
    CausalProgress, EmbeddedGoal, ProgressConfig, SuccessClassifier, SuccessConfig,
};
pub use steps::{PerceptualSteps, StepsConfig};
pub use store::{LoadedReward, RewardDir, StoredReward};
pub use transform::{RewardTransform, Transform};
pub use transport::TransportConfig;

/// What is scored: rows of numbers over time, pictures' or others'.
pub use rapport_perception::{EncoderSpec, Features};
