//! [`Iql`] to and from a directory.

use std::path::Path;

use super::{Iql, IqlConfig};
use crate::checkpoint::Manifest;
use crate::clipped_gaussian_policy::ClippedGaussianPolicy;
use crate::policy::PolicyError;
use crate::state::{StateDict, StateReader};

impl Iql {
    /// Everything needed to go on exactly, from a directory that [`Learner::save`](crate::Learner::save) wrote.
    pub fn resume(dir: &Path) -> Result<Self, PolicyError> {
        let manifest = Manifest::read_kind(dir, Self::KIND)?;
        let config: IqlConfig = manifest.config(dir)?;
        let mut iql = Self::new(manifest.spec.clone(), config, manifest.seed)?;
        let (path, bytes) = manifest.part(dir, "learner")?;
        let state = StateReader::new(&path, &bytes)?;
        iql.critics.load(&state)?;
        iql.value.load("value", &state)?;
        iql.value_adam.load("value.adam", &state)?;
        iql.actor_adam.load("actor.adam", &state)?;
        iql.log_std_adam.load("actor.log_std.adam", &state)?;
        iql.rng = state.rng("rng")?;
        [iql.updates, iql.steps, iql.episodes] = state.u64("counters")?;
        iql.owed = state.f64("owed")?.first().copied().unwrap_or_default();
        let (path, bytes) = manifest.part(dir, "replay")?;
        iql.replay.load(&StateReader::new(&path, &bytes)?)?;
        iql.policy = Self::load_policy(&manifest, dir)?;
        Ok(iql)
    }

    /// What acts, from such a directory or from one that holds no more.
    pub(crate) fn load_policy(
        manifest: &Manifest,
        dir: &Path,
    ) -> Result<ClippedGaussianPolicy, PolicyError> {
        let config: IqlConfig = manifest.config(dir)?;
        config.validate()?;
        ClippedGaussianPolicy::load(manifest, dir, config.actor())
    }

    pub(super) fn write_policy(&self, dir: &Path) -> Result<(), PolicyError> {
        self.manifest()?
            .write(dir, [("policy", self.policy_bytes()?)])
    }

    fn manifest(&self) -> Result<Manifest, PolicyError> {
        Manifest::new(
            Self::KIND,
            &self.policy.spec,
            &self.config,
            self.seed,
            self.updates,
        )
    }

    fn policy_bytes(&self) -> Result<Vec<u8>, PolicyError> {
        let mut state = StateDict::default();
        self.policy.save(&mut state);
        state.to_bytes(self.updates)
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), PolicyError> {
        let mut learner = StateDict::default();
        self.critics.save(&mut learner);
        self.value.save("value", &mut learner);
        self.value_adam.save("value.adam", &mut learner);
        self.actor_adam.save("actor.adam", &mut learner);
        self.log_std_adam.save("actor.log_std.adam", &mut learner);
        learner.rng("rng", &self.rng);
        learner.u64("counters", &[self.updates, self.steps, self.episodes]);
        learner.f64("owed", &[self.owed]);
        let mut replay = StateDict::default();
        self.replay.save(&mut replay);
        // All bytes before the first file: a state that is not finite must not touch the good checkpoint.
        let parts = [
            ("policy", self.policy_bytes()?),
            ("learner", learner.to_bytes(self.updates)?),
            ("replay", replay.to_bytes(self.updates)?),
        ];
        self.manifest()?.write(dir, parts)
    }
}
