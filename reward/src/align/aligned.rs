//! [`Aligned`]: a reward model that looks through an [`Alignment`].

use rapport_perception::{EncoderSpec, Features};

use super::{Alignment, AlignmentHeader};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::store::{Parts, StoredReward, Tensors, restore};

/// Embeds a clip's features, then asks another model.
pub struct Aligned {
    encoder: EncoderSpec,
    alignment: Alignment,
    inner: Box<dyn StoredReward>,
}

impl Aligned {
    /// `inner` takes features as wide as the alignment's embedding; `encoder` is the one whose features the alignment was
    /// learned on. See [`Aligned::embedding_spec`] for what to build `inner` with.
    pub fn new(
        encoder: &EncoderSpec,
        alignment: Alignment,
        inner: Box<dyn StoredReward>,
    ) -> Result<Self, RewardError> {
        if encoder.dim != alignment.input_dim() {
            return Err(RewardError::Width {
                found: encoder.dim,
                expected: alignment.input_dim(),
                encoder: "the encoder that the alignment was learned on".into(),
            });
        }
        Ok(Self {
            encoder: encoder.clone(),
            alignment,
            inner,
        })
    }

    /// The encoder and the alignment seen as one encoder.
    pub fn embedding_spec(encoder: &EncoderSpec, alignment: &Alignment) -> EncoderSpec {
        EncoderSpec {
            name: format!("{} aligned", encoder.name),
            dim: alignment.dim(),
            fingerprint: encoder.fingerprint.clone(),
        }
    }

    /// The learned map.
    pub fn alignment(&self) -> &Alignment {
        &self.alignment
    }

    /// The model behind it.
    pub fn inner(&self) -> &dyn StoredReward {
        self.inner.as_ref()
    }

    pub(crate) const KIND: &str = "aligned";

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let header: AlignmentHeader = parts.table("alignment")?;
        let alignment = Alignment::restore(header, &parts.tensors_under("alignment"))?;
        let inner = restore(parts.inner(Self::embedding_spec(&parts.encoder, &alignment))?)?;
        Ok(Box::new(Self::new(&parts.encoder, alignment, inner)?))
    }
}

impl RewardModel for Aligned {
    fn score(&self, clip: &Clip, context: &Context) -> Result<Signal, RewardError> {
        crate::model::check_features(&clip.features, &self.encoder)?;
        let embedded = Clip {
            features: self.alignment.embed(&clip.features)?,
            columns: clip.columns.clone(),
            fps: clip.fps,
        };
        self.inner.score(&embedded, context)
    }

    fn causal(&self) -> bool {
        self.inner.causal()
    }

    fn representation(&self, clip: &Clip) -> Result<Features, RewardError> {
        crate::model::check_features(&clip.features, &self.encoder)?;
        self.alignment.embed(&clip.features)
    }
}

impl StoredReward for Aligned {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        let mut table = toml::Table::new();
        table.insert(
            "alignment".into(),
            crate::store::to_toml(&self.alignment.header())?,
        );
        table.insert("inner".into(), crate::store::nested(self.inner.as_ref())?);
        Ok(table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = crate::store::prefixed("alignment", self.alignment.tensors());
        tensors.extend(crate::store::prefixed("inner", self.inner.tensors()?));
        Ok(tensors)
    }
}
