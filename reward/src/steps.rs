//! Perceptual steps: a task's demonstrations are cut into steps without labels, the features that tell a step from the rest
//! are chosen, and frames are rewarded for looking like a step (Sermanet et al., arXiv 1612.06699).

mod model;
mod progress;
mod segmentation;
mod selection;

pub use model::{PerceptualSteps, StepForm, StepSquash, StepsConfig};
pub use progress::StepCombiner;
pub use segmentation::{Search, Segmentation, SegmentationConfig, Spread, Weighting, segment};
pub use selection::discriminability;

#[cfg(test)]
mod tests;
