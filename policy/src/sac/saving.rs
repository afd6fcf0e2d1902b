//! [`Sac`] to and from a directory.

use std::path::Path;

use super::{Sac, SacConfig};
use crate::checkpoint::Manifest;
use crate::gaussian_policy::GaussianPolicy;
use crate::policy::PolicyError;
use crate::state::{StateDict, StateReader};

impl Sac {
    /// Everything needed to go on exactly, from a directory that [`Learner::save`](crate::Learner::save) wrote.
    pub fn resume(dir: &Path) -> Result<Self, PolicyError> {
        let manifest = Manifest::read_kind(dir, Self::KIND)?;
        let config: SacConfig = manifest.config(dir)?;
        let mut sac = Self::new(manifest.spec.clone(), config, manifest.seed)?;
        let (path, bytes) = manifest.part(dir, "learner")?;
        let state = StateReader::new(&path, &bytes)?;
        sac.critics.load(&state)?;
        sac.actor_adam.load("actor.adam", &state)?;
        sac.temperature_adam.load("temperature.adam", &state)?;
        state.read_f32(
            "temperature.log",
            std::slice::from_mut(&mut sac.log_temperature),
        )?;
        if sac.config.learned_imitation.is_some() {
            let stored = state.f64("imitation.weight")?;
            sac.imitation.value = stored.first().copied().unwrap_or_default();
        }
        sac.rng = state.rng("rng")?;
        sac.experience.load(&state, &manifest, dir)?;
        sac.policy = Self::load_policy(&manifest, dir)?;
        Ok(sac)
    }

    /// What acts, from such a directory or from one that holds no more.
    pub(crate) fn load_policy(
        manifest: &Manifest,
        dir: &Path,
    ) -> Result<GaussianPolicy, PolicyError> {
        let config: SacConfig = manifest.config(dir)?;
        config.validate()?;
        GaussianPolicy::load(manifest, dir, &config.actor())
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
            self.experience.updates,
        )
    }

    fn policy_bytes(&self) -> Result<Vec<u8>, PolicyError> {
        let mut state = StateDict::default();
        self.policy.save(&mut state);
        state.to_bytes(self.experience.updates)
    }

    /// The complete learner; see [`Learner::save`](crate::Learner::save)(crate::Learner::save).
    pub(super) fn write(&self, dir: &Path) -> Result<(), PolicyError> {
        let mut learner = StateDict::default();
        self.critics.save(&mut learner);
        self.actor_adam.save("actor.adam", &mut learner);
        self.temperature_adam.save("temperature.adam", &mut learner);
        learner.f32("temperature.log", &[1], &[self.log_temperature]);
        if self.config.learned_imitation.is_some() {
            learner.f64("imitation.weight", &[self.imitation.value]);
        }
        learner.rng("rng", &self.rng);
        self.experience.save(&mut learner);
        let [replay, demonstrations] = self.experience.parts()?;
        // All bytes before the first file: a state that is not finite must not touch the good checkpoint.
        let parts = [
            ("policy", self.policy_bytes()?),
            ("learner", learner.to_bytes(self.experience.updates)?),
            replay,
            demonstrations,
        ];
        self.manifest()?.write(dir, parts)
    }
}
