//! How much work a picture may cost.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How much work a picture may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// For learning: one sample per pixel, no shadows, no mirrors.
    #[default]
    Fast,
    /// Smooth edges, four samples per pixel; no shadows, no mirrors.
    Smooth,
    /// For people: smooth edges, shadows and mirrors.
    High,
}

/// A word that names no [`Quality`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no picture quality called {0}: it is fast, smooth or high")]
pub struct UnknownQuality(pub String);

impl Quality {
    /// All of them, from the cheapest to the dearest.
    pub const ALL: [Quality; 3] = [Quality::Fast, Quality::Smooth, Quality::High];

    /// The word for it in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Quality::Fast => "fast",
            Quality::Smooth => "smooth",
            Quality::High => "high",
        }
    }

    /// Samples per pixel along one axis.
    pub(super) const fn samples_per_axis(self) -> usize {
        match self {
            Quality::Fast => 1,
            Quality::Smooth | Quality::High => 2,
        }
    }

    /// Whether light is followed: shadows and mirrors.
    pub(super) const fn follows_light(self) -> bool {
        matches!(self, Quality::High)
    }

    /// What it means, for a line about a renderer.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Quality::Fast => "fast: 1 sample per pixel, no shadows",
            Quality::Smooth => "smooth: 4 samples per pixel, no shadows",
            Quality::High => "high: 4 samples per pixel, shadows, mirrors",
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Quality {
    type Err = UnknownQuality;

    fn from_str(word: &str) -> Result<Self, UnknownQuality> {
        Quality::ALL
            .into_iter()
            .find(|quality| quality.name() == word)
            .ok_or_else(|| UnknownQuality(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quality_is_read_back_from_its_name() {
        for quality in Quality::ALL {
            assert_eq!(quality.to_string().parse(), Ok(quality));
        }
        let error = "ultra".parse::<Quality>().unwrap_err().to_string();
        assert!(
            error.contains("ultra") && error.contains("fast, smooth or high"),
            "{error}"
        );
    }
}
