//! [`Act`] and [`ActFit`] to and from a directory.

use std::path::Path;

use super::training::ActFit;
use super::{Act, ActConfig};
use crate::checkpoint::{Manifest, PolicySpec};
use crate::deep::parameters;
use crate::fit::{Fit as _, check_same};
use crate::policy::{PolicyError, Transition};
use crate::state::{StateDict, StateReader};

impl Act {
    pub(crate) const KIND: &str = "act";

    /// Writes the policy: `policy.toml` and one tensor file. Atomic.
    pub fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        self.manifest()?.write(dir, [("policy", self.bytes()?)])
    }

    pub(crate) fn load(manifest: &Manifest, dir: &Path) -> Result<Self, PolicyError> {
        let mut act = Self::new(&manifest.spec, &manifest.config(dir)?, manifest.seed)?;
        let (path, bytes) = manifest.part(dir, "policy")?;
        let state = StateReader::new(&path, &bytes)?;
        act.network = parameters::load(act.network, "network", &state)?;
        act.scales.load(&state)?;
        act.rng = state.rng("rng")?;
        act.updates = manifest.step;
        Ok(act)
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

    fn bytes(&self) -> Result<Vec<u8>, PolicyError> {
        let mut state = StateDict::default();
        parameters::save(&self.network, "network", &mut state)?;
        self.scales.save(&mut state);
        state.rng("rng", &self.rng);
        state.to_bytes(self.updates)
    }
}

impl<'e> ActFit<'e> {
    pub(super) fn write(&self, dir: &Path) -> Result<(), PolicyError> {
        let mut state = StateDict::default();
        parameters::save(&self.fitting.acting(), "network", &mut state)?;
        self.fitting.adam.save("adam", &mut state)?;
        state.rng("noise", &self.fitting.noise);
        let order: Vec<u64> = self.order.iter().map(|&n| n as u64).collect();
        state.u64("order", &order);
        let (score, step) = self.best;
        let count = self.drawn_from() as u64;
        state.u64("progress", &[count, step, score.to_bits()]);
        let parts = [
            ("policy", self.act.bytes()?),
            ("learner", state.to_bytes(self.steps())?),
        ];
        self.act.manifest()?.write(dir, parts)
    }

    /// Goes on exactly where [`Fit::save`](crate::Fit::save) was called, to the same bits, with the settings and the seed of then. `episodes` and `weights` are
    /// those of then, which this can tell only by their number of steps.
    pub fn resume(
        dir: &Path,
        spec: &PolicySpec,
        episodes: &'e [Vec<Transition>],
        weights: Option<&'e [Vec<f32>]>,
    ) -> Result<Self, PolicyError> {
        let manifest = Manifest::read_kind(dir, Act::KIND)?;
        let config: ActConfig = manifest.config(dir)?;
        let mut fit = Self::new(spec.clone(), config, manifest.seed, episodes, weights)?;
        let (path, bytes) = manifest.part(dir, "learner")?;
        let state = StateReader::new(&path, &bytes)?;
        let [count, step, score] = state.u64("progress")?;
        let order = state.u64s("order")?;
        let here = fit.drawn_from() as u64;
        check_same(dir, &manifest, spec, (count, here))?;
        if order.iter().any(|&n| n >= here) {
            return Err(state
                .fault("tensor order names steps that are none; use another checkpoint".into()));
        }
        fit.act = Act::load(&manifest, dir)?;
        fit.order = order.into_iter().map(|n| n as usize).collect();
        fit.best = (f64::from_bits(score), step);
        let fitting = &mut fit.fitting;
        let network = fitting.acting();
        fitting.take_up(parameters::load(network, "network", &state)?);
        fitting.adam.load("adam", &state)?;
        fitting.noise = state.rng("noise")?;
        Ok(fit)
    }
}
