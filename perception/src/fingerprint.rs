//! [`Fingerprint`]: one hash over everything that decides what features come out.

use sha2::{Digest, Sha256};

use crate::weights::hex;

/// Raised when an encoder of the same description starts to give other features.
const VERSION: &str = "rapport-encoder-1";

/// Collects named fields and hashes them.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    pub fn new(model: &str) -> Self {
        Self(Sha256::new())
            .field("version", VERSION)
            .field("model", model)
    }

    /// Lengths go in too, so that no two lists of fields run together to the same bytes.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        for text in [name, value] {
            self.0.update((text.len() as u64).to_le_bytes());
            self.0.update(text);
        }
        self
    }

    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_letter_between_fields_changes_the_fingerprint() {
        let one = Fingerprint::new("m").field("ab", "c").finish();
        let other = Fingerprint::new("m").field("a", "bc").finish();
        assert_ne!(one, other);
        assert_eq!(one.len(), 64);
    }
}
