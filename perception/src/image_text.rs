//! The image-text model that comes with Rapport: pictures and sentences in one small space.
//!
//! It is not CLIP and has nothing of CLIP in it. Both halves stand on frozen networks of other people (EfficientNet-Lite0's block 10 at
//! 112 px for pictures, all-MiniLM-L6-v2 for sentences); what was trained here are [`Heads`] of 0.3 million weights, contrastively, on
//! pictures of this repository's own simulator with captions made by rule (`rapport reward text-train`). It knows a table, an
//! arm, cubes, discs, balls and doors of some colours, and nothing else of the world. `docs/text-rewards.md` says how well.

mod encoder;
mod heads;

pub use encoder::{ImageTextEncoder, NAME, PICTURE_ENCODER, TextHalf};
pub use heads::{Heads, HeadsSize};
