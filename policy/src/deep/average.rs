//! An exponential moving average of parameters: the weights to act with, steadier than the newest.

use burn::module::Module;

use super::parameters;
use crate::policy::PolicyError;
use crate::state::{StateDict, StateReader};

/// `average <- d average + (1 - d) parameters`, with `d = min(decay, 1 - (1 + n)^(-2/3))` at the `n`-th update from 0, so that
/// the start is soon forgotten.
#[derive(Clone, Debug)]
pub(crate) struct Average {
    decay: f64,
    updates: u64,
    values: Vec<Vec<f32>>,
}

impl Average {
    pub(crate) fn new(decay: f64, module: &impl Module) -> Result<Self, PolicyError> {
        let values = parameters::named(module)?;
        Ok(Self {
            decay,
            updates: 0,
            values: values.into_iter().map(|tensor| tensor.values).collect(),
        })
    }

    /// Takes in the newest parameters.
    pub(crate) fn update(&mut self, module: &impl Module) -> Result<(), PolicyError> {
        let warm = 1.0 - (1.0 + self.updates as f64).powf(-2.0 / 3.0);
        let keep = warm.min(self.decay) as f32;
        self.updates += 1;
        for (average, new) in self.values.iter_mut().zip(parameters::named(module)?) {
            for (a, x) in average.iter_mut().zip(new.values) {
                *a += (1.0 - keep) * (x - *a);
            }
        }
        Ok(())
    }

    /// The module with the averaged parameters.
    pub(crate) fn apply<M: Module>(&self, module: M) -> Result<M, PolicyError> {
        parameters::change(module, |at, values| {
            values.copy_from_slice(&self.values[at]);
        })
    }

    pub(crate) fn save(&self, prefix: &str, state: &mut StateDict) {
        state.u64(&format!("{prefix}.updates"), &[self.updates]);
        let flat = self.values.concat();
        state.f32(&format!("{prefix}.values"), &[flat.len()], &flat);
    }

    pub(crate) fn load(&mut self, prefix: &str, state: &StateReader) -> Result<(), PolicyError> {
        [self.updates] = state.u64(&format!("{prefix}.updates"))?;
        let mut flat = vec![0.0; self.values.iter().map(Vec::len).sum()];
        state.read_f32(&format!("{prefix}.values"), &mut flat)?;
        let mut rest = &flat[..];
        for values in &mut self.values {
            let (first, others) = rest.split_at(values.len());
            values.copy_from_slice(first);
            rest = others;
        }
        Ok(())
    }
}
