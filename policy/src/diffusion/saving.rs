//! [`Diffusion`] and [`DiffusionFit`] to and from a directory.

use std::path::Path;

use super::training::DiffusionFit;
use super::{Diffusion, DiffusionConfig};
use crate::checkpoint::{Manifest, PolicySpec};
use crate::fit::check_same;
use crate::policy::{PolicyError, Transition};
use crate::state::{StateDict, StateReader};

impl Diffusion {
    pub(crate) const KIND: &str = "diffusion";

    /// Writes the policy: `policy.toml` and one tensor file. Atomic.
    pub fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        let bytes = self.bytes(&self.parameters)?;
        self.manifest()?.write(dir, [("policy", bytes)])
    }

    /// Reads a policy that [`Diffusion::save`] wrote, for acting, for tuning or for search.
    pub fn open(dir: &Path) -> Result<Self, PolicyError> {
        let manifest = Manifest::read_kind(dir, Self::KIND)?;
        Self::load(&manifest, dir)
    }

    pub(crate) fn load(manifest: &Manifest, dir: &Path) -> Result<Self, PolicyError> {
        let mut policy = Self::new(&manifest.spec, &manifest.config(dir)?, manifest.seed)?;
        let (path, bytes) = manifest.part(dir, "policy")?;
        let state = StateReader::new(&path, &bytes)?;
        let mut parameters = vec![0.0; policy.layout.len()];
        for (name, _, range) in policy.layout.iter() {
            state.read_f32(&format!("denoiser.{name}"), &mut parameters[range])?;
        }
        policy.set_parameters(parameters)?;
        policy.normaliser.load(&state)?;
        state.read_f32("action.middle", &mut policy.action_middle)?;
        state.read_f32("action.reach", &mut policy.action_reach)?;
        policy.rng = state.rng("rng")?;
        policy.updates = manifest.step;
        Ok(policy)
    }

    fn manifest(&self) -> Result<Manifest, PolicyError> {
        Manifest::new(
            Self::KIND,
            &self.spec,
            &self.config,
            self.seed,
            self.updates,
        )
    }

    /// The part `policy`, acting with these parameters.
    fn bytes(&self, parameters: &[f32]) -> Result<Vec<u8>, PolicyError> {
        let mut state = StateDict::default();
        for (name, shape, range) in self.layout.iter() {
            state.f32(&format!("denoiser.{name}"), &shape, &parameters[range]);
        }
        self.normaliser.save(&mut state);
        let dim = [self.spec.action_dim];
        state.f32("action.middle", &dim, &self.action_middle);
        state.f32("action.reach", &dim, &self.action_reach);
        state.rng("rng", &self.rng);
        state.to_bytes(self.updates)
    }
}

impl DiffusionFit {
    pub(super) fn write(&self, dir: &Path) -> Result<(), PolicyError> {
        let mut state = StateDict::default();
        let newest = &self.policy.parameters;
        state.f32("newest", &[newest.len()], newest);
        self.adam.save("adam", &mut state);
        state.u64("steps", &[self.drawn_from() as u64]);
        let parts = [
            ("policy", self.policy.bytes(&self.average)?),
            ("learner", state.to_bytes(self.policy.updates)?),
        ];
        self.policy.manifest()?.write(dir, parts)
    }

    /// Goes on exactly where [`Fit::save`](crate::Fit::save) was called, to the same bits, with the settings and the seed of then. `episodes` and
    /// `weights` are those of then, which this can tell only by their number of steps.
    pub fn resume(
        dir: &Path,
        spec: &PolicySpec,
        episodes: &[Vec<Transition>],
        weights: Option<&[Vec<f32>]>,
    ) -> Result<Self, PolicyError> {
        let manifest = Manifest::read_kind(dir, Diffusion::KIND)?;
        let config: DiffusionConfig = manifest.config(dir)?;
        let mut fit = Self::new(spec.clone(), config, manifest.seed, episodes, weights)?;
        let (path, bytes) = manifest.part(dir, "learner")?;
        let state = StateReader::new(&path, &bytes)?;
        let [count] = state.u64("steps")?;
        check_same(dir, &manifest, spec, (count, fit.drawn_from() as u64))?;
        fit.policy = Diffusion::load(&manifest, dir)?;
        fit.average.copy_from_slice(&fit.policy.parameters);
        state.read_f32("newest", &mut fit.policy.parameters)?;
        fit.adam.load("adam", &state)?;
        Ok(fit)
    }
}
