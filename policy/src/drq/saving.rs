//! [`Drq`] to and from a directory.

use std::path::Path;

use super::{Drq, DrqConfig, DrqPolicy};
use crate::checkpoint::Manifest;
use crate::policy::PolicyError;
use crate::state::{StateDict, StateReader};

impl Drq {
    /// Everything needed to go on exactly, from a directory that [`Learner::save`](crate::Learner::save) wrote.
    pub fn resume(dir: &Path) -> Result<Self, PolicyError> {
        let manifest = Manifest::read_kind(dir, DrqPolicy::KIND)?;
        let config: DrqConfig = manifest.config(dir)?;
        let mut drq = Self::new(manifest.spec.clone(), config, manifest.seed)?;
        drq.policy = DrqPolicy::load(&manifest, dir)?;
        let (path, bytes) = manifest.part(dir, "learner")?;
        let state = StateReader::new(&path, &bytes)?;
        drq.critics.load(&state)?;
        drq.critic_trunk.load("critic.trunk", &state)?;
        drq.target_trunk.load("critic.trunk.target", &state)?;
        for (name, adam) in [
            ("encoder.adam", &mut drq.encoder_adam),
            ("actor.adam", &mut drq.actor_adam),
            ("actor.trunk.adam", &mut drq.actor_trunk_adam),
            ("critic.trunk.adam", &mut drq.critic_trunk_adam),
        ] {
            adam.load(name, &state)?;
        }
        drq.rng = state.rng("rng")?;
        [drq.updates, drq.steps, drq.episodes, drq.explored] = state.u64("counts")?;
        drq.owed = state.f64("owed")?.first().copied().unwrap_or_default();
        let (path, bytes) = manifest.part(dir, "replay")?;
        drq.frames.load(&StateReader::new(&path, &bytes)?)?;
        Ok(drq)
    }

    fn manifest(&self) -> Result<Manifest, PolicyError> {
        Manifest::new(
            DrqPolicy::KIND,
            &self.policy.spec,
            &self.policy.config,
            self.seed,
            self.updates,
        )
    }

    fn policy_bytes(&self) -> Result<Vec<u8>, PolicyError> {
        let mut state = StateDict::default();
        self.policy.save(&mut state);
        state.to_bytes(self.updates)
    }

    pub(super) fn write_policy(&self, dir: &Path) -> Result<(), PolicyError> {
        self.manifest()?
            .write(dir, [("policy", self.policy_bytes()?)])
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), PolicyError> {
        let (mut learner, mut replay) = (StateDict::default(), StateDict::default());
        self.critics.save(&mut learner);
        self.critic_trunk.save("critic.trunk", &mut learner);
        self.target_trunk.save("critic.trunk.target", &mut learner);
        for (name, adam) in [
            ("encoder.adam", &self.encoder_adam),
            ("actor.adam", &self.actor_adam),
            ("actor.trunk.adam", &self.actor_trunk_adam),
            ("critic.trunk.adam", &self.critic_trunk_adam),
        ] {
            adam.save(name, &mut learner);
        }
        learner.rng("rng", &self.rng);
        let counts = [self.updates, self.steps, self.episodes, self.explored];
        learner.u64("counts", &counts);
        learner.f64("owed", &[self.owed]);
        self.frames.save(&mut replay);
        // All bytes before the first file: a state that is not finite must not touch the good checkpoint.
        let parts = [
            ("policy", self.policy_bytes()?),
            ("learner", learner.to_bytes(self.updates)?),
            ("replay", replay.to_bytes(self.updates)?),
        ];
        self.manifest()?.write(dir, parts)
    }
}
