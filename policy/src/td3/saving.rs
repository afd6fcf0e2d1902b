//! [`Td3`] to and from a directory.

use std::path::Path;

use super::{DeterministicPolicy, Td3, Td3Config};
use crate::checkpoint::Manifest;
use crate::policy::PolicyError;
use crate::state::{StateDict, StateReader};

impl Td3 {
    /// Everything needed to go on exactly, from a directory that [`Learner::save`](crate::Learner::save) wrote.
    pub fn resume(dir: &Path) -> Result<Self, PolicyError> {
        let manifest = Manifest::read_kind(dir, DeterministicPolicy::KIND)?;
        let config: Td3Config = manifest.config(dir)?;
        let mut td3 = Self::new(manifest.spec.clone(), config, manifest.seed)?;
        let (path, bytes) = manifest.part(dir, "learner")?;
        let state = StateReader::new(&path, &bytes)?;
        td3.critics.load(&state)?;
        td3.target_actor.load("actor.target", &state)?;
        td3.actor_adam.load("actor.adam", &state)?;
        td3.rng = state.rng("rng")?;
        td3.experience.load(&state, &manifest, dir)?;
        td3.policy = DeterministicPolicy::load(&manifest, dir)?;
        Ok(td3)
    }

    pub(super) fn write_policy(&self, dir: &Path) -> Result<(), PolicyError> {
        self.manifest()?
            .write(dir, [("policy", self.policy_bytes()?)])
    }

    fn manifest(&self) -> Result<Manifest, PolicyError> {
        Manifest::new(
            DeterministicPolicy::KIND,
            &self.policy.spec,
            &self.config,
            self.seed,
            self.experience.updates,
        )
    }

    fn policy_bytes(&self) -> Result<Vec<u8>, PolicyError> {
        let mut state = StateDict::default();
        self.policy.save(&mut state);
        state.to_bytes(self.experience.updates)
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), PolicyError> {
        let updates = self.experience.updates;
        let mut learner = StateDict::default();
        self.critics.save(&mut learner);
        self.target_actor.save("actor.target", &mut learner);
        self.actor_adam.save("actor.adam", &mut learner);
        learner.rng("rng", &self.rng);
        self.experience.save(&mut learner);
        let [replay, demonstrations] = self.experience.parts()?;
        // All bytes before the first file: a state that is not finite must not touch the good checkpoint.
        let parts = [
            ("policy", self.policy_bytes()?),
            ("learner", learner.to_bytes(updates)?),
            replay,
            demonstrations,
        ];
        self.manifest()?.write(dir, parts)
    }
}
