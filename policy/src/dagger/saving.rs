//! [`Dagger`] to and from a directory: the clone that acts, and beside it all that the next rounds build on.

use std::path::Path;

use super::{Dagger, DaggerConfig, Intervention};
use crate::bc::Bc;
use crate::checkpoint::{Manifest, PolicySpec};
use crate::policy::{PolicyError, Transition};
use crate::state::{StateDict, StateReader};

impl Dagger {
    /// Writes the newest policy, and everything stored, so that [`Dagger::resume`] goes on. Atomic.
    ///
    /// # Errors
    /// [`PolicyError::Other`] before the first round's end: there is no policy yet.
    pub fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        let policy = self.policy().ok_or_else(|| {
            PolicyError::Other("there is no policy before the first round's end".into())
        })?;
        let mut state = StateDict::default();
        let steps = || self.data.iter().flatten();
        let of = |values: &dyn Fn(&Transition) -> &[f32]| -> Vec<f32> {
            steps().flat_map(|step| values(step).to_vec()).collect()
        };
        let count = steps().count();
        let (seen, acted) = (self.spec.observation_dim, self.spec.action_dim);
        state.f32("observations", &[count, seen], &of(&|t| &t.observation));
        state.f32(
            "next_observations",
            &[count, seen],
            &of(&|t| &t.next_observation),
        );
        state.f32("actions", &[count, acted], &of(&|t| &t.action));
        let weights: Vec<f32> = self.weights.iter().flatten().copied().collect();
        state.f32("weights", &[count], &weights);
        let lengths: Vec<u64> = self
            .data
            .iter()
            .map(|episode| episode.len() as u64)
            .collect();
        state.u64("lengths", &lengths);
        let interventions: Vec<u64> = self
            .interventions
            .iter()
            .flat_map(|i| [i.round, i.steps, i.in_charge, i.takeovers, i.stored])
            .collect();
        state.u64("interventions", &interventions);
        state.u64("round", &[self.round]);
        state.rng("rng", &self.rng);
        policy.write(dir, [("learner", state.to_bytes(self.round)?)])
    }

    /// Goes on after the round that [`Dagger::save`] was called after, with the same settings and seed.
    ///
    /// # Errors
    /// [`PolicyError::File`] on a directory that holds no such thing.
    pub fn resume(
        dir: &Path,
        spec: PolicySpec,
        config: DaggerConfig,
        seed: u64,
    ) -> Result<Self, PolicyError> {
        let manifest = Manifest::read_kind(dir, Bc::KIND)?;
        let mut dagger = Self::new(spec, config, seed)?;
        let (path, bytes) = manifest.part(dir, "learner")?;
        let state = StateReader::new(&path, &bytes)?;
        let (seen, acted) = (dagger.spec.observation_dim, dagger.spec.action_dim);
        let lengths = state.u64s("lengths")?;
        let count = lengths.iter().sum::<u64>() as usize;
        let (mut observations, mut next) = (vec![0.0; count * seen], vec![0.0; count * seen]);
        let (mut actions, mut weights) = (vec![0.0; count * acted], vec![0.0; count]);
        state.read_f32("observations", &mut observations)?;
        state.read_f32("next_observations", &mut next)?;
        state.read_f32("actions", &mut actions)?;
        state.read_f32("weights", &mut weights)?;
        let mut from = 0;
        for length in lengths {
            let range = from..from + length as usize;
            from = range.end;
            let episode = range.clone().map(|t| Transition {
                observation: observations[t * seen..][..seen].to_vec(),
                action: actions[t * acted..][..acted].to_vec(),
                reward: 0.0,
                next_observation: next[t * seen..][..seen].to_vec(),
                terminated: false,
                truncated: t + 1 == from,
            });
            dagger.data.push(episode.collect());
            dagger.weights.push(weights[range].to_vec());
        }
        let interventions = state.u64s("interventions")?;
        dagger.interventions = interventions
            .as_chunks::<5>()
            .0
            .iter()
            .map(
                |&[round, steps, in_charge, takeovers, stored]| Intervention {
                    round,
                    steps,
                    in_charge,
                    takeovers,
                    stored,
                },
            )
            .collect();
        [dagger.round] = state.u64("round")?;
        dagger.rng = state.rng("rng")?;
        dagger.policy = Some(Bc::load(&manifest, dir)?);
        Ok(dagger)
    }
}
