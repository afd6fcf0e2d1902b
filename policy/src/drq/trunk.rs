//! [`Trunk`]: from the features of a picture to a few numbers between -1 and 1.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;

use crate::policy::PolicyError;
use crate::small::both::Threads;
use crate::small::kernels;
use crate::small::matmul::{Finish, Scratch, Start, View, matmul};
use crate::small::orthogonal::orthogonal;
use crate::state::{StateDict, StateReader};

/// `tanh(norm(x W + b))`.
#[derive(Clone, Debug)]
pub(super) struct Trunk {
    inputs: usize,
    outputs: usize,
    /// Weight `[inputs, outputs]`, bias, scale, shift.
    pub(super) parameters: Vec<f32>,
}

/// What a forward pass leaves for the backward pass.
#[derive(Clone, Debug)]
pub(super) struct TrunkTape {
    /// `[batch, outputs]`.
    pub(super) output: Vec<f32>,
    units: Vec<f32>,
    inverse_stds: Vec<f32>,
    gradient: Vec<f32>,
    scratch: Scratch,
}

impl Default for TrunkTape {
    fn default() -> Self {
        Self {
            output: Vec::new(),
            units: Vec::new(),
            inverse_stds: Vec::new(),
            gradient: Vec::new(),
            scratch: Scratch::new(Threads::Two),
        }
    }
}

impl Trunk {
    pub(super) fn new(inputs: usize, outputs: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut parameters = orthogonal(inputs, outputs, 1.0, rng);
        parameters.extend(vec![0.0; outputs]);
        parameters.extend(vec![1.0; outputs]);
        parameters.extend(vec![0.0; outputs]);
        Self {
            inputs,
            outputs,
            parameters,
        }
    }

    /// Weight, bias, scale and shift among the parameters.
    fn ranges(&self) -> [(&'static str, Range<usize>); 4] {
        let (weight, n) = (self.inputs * self.outputs, self.outputs);
        [
            ("weight", 0..weight),
            ("bias", weight..weight + n),
            ("norm.scale", weight + n..weight + 2 * n),
            ("norm.shift", weight + 2 * n..weight + 3 * n),
        ]
    }

    /// `input` `[batch, inputs]`.
    pub(super) fn forward(&self, input: &[f32], tape: &mut TrunkTape) {
        let batch = input.len() / self.inputs;
        let [weight, bias, scale, shift] = self.ranges().map(|(_, range)| &self.parameters[range]);
        tape.output.resize(batch * self.outputs, 0.0);
        matmul(
            View::new(input, batch, self.inputs),
            View::new(weight, self.inputs, self.outputs),
            (Start::Bias(bias), Finish::Keep),
            &mut tape.output,
            &mut tape.scratch,
        );
        tape.units.resize(tape.output.len(), 0.0);
        tape.inverse_stds.resize(batch, 0.0);
        kernels::layer_norm(
            &mut tape.output,
            scale,
            shift,
            &mut tape.units,
            &mut tape.inverse_stds,
        );
        tape.output.iter_mut().for_each(|y| *y = y.tanh());
    }

    /// Back from the gradient of the newest output to those of the parameters, which is written, and of the `input`, where wanted.
    pub(super) fn backward(
        &self,
        input: &[f32],
        tape: &mut TrunkTape,
        output_gradient: &[f32],
        gradient: &mut Vec<f32>,
        input_gradient: Option<&mut Vec<f32>>,
    ) {
        let batch = input.len() / self.inputs;
        gradient.clear();
        gradient.resize(self.parameters.len(), 0.0);
        tape.gradient.clear();
        let steps = output_gradient.iter().zip(&tape.output);
        tape.gradient.extend(steps.map(|(g, y)| g * (1.0 - y * y)));
        let [(_, weight), (_, bias), (_, scale), (_, shift)] = self.ranges();
        let (by_scale, by_shift) = gradient[scale.start..shift.end].split_at_mut(self.outputs);
        kernels::layer_norm_backward(
            &mut tape.gradient,
            &self.parameters[scale],
            &tape.units,
            &tape.inverse_stds,
            by_scale,
            by_shift,
        );
        kernels::add_column_sums(&mut gradient[bias], &tape.gradient);
        let by_output = View::new(&tape.gradient, batch, self.outputs);
        matmul(
            View::new(input, batch, self.inputs).transposed(),
            by_output,
            (Start::Destination, Finish::Keep),
            &mut gradient[weight.clone()],
            &mut tape.scratch,
        );
        if let Some(input_gradient) = input_gradient {
            input_gradient.resize(input.len(), 0.0);
            let weight = View::new(&self.parameters[weight], self.inputs, self.outputs);
            matmul(
                by_output,
                weight.transposed(),
                (Start::Zero, Finish::Keep),
                input_gradient,
                &mut tape.scratch,
            );
        }
    }

    pub(super) fn check_gradient(
        &self,
        name: &str,
        gradient: &[f32],
        update: u64,
    ) -> Result<(), PolicyError> {
        let mut ranges = self.ranges().into_iter();
        match ranges.find(|(_, range)| !kernels::all_finite(&gradient[range.clone()])) {
            Some((tensor, _)) => Err(PolicyError::NotFinite {
                tensor: format!("gradient of {name}.{tensor}"),
                update,
            }),
            None => Ok(()),
        }
    }

    pub(super) fn save(&self, name: &str, state: &mut StateDict) {
        for (tensor, range) in self.ranges() {
            let values = &self.parameters[range];
            state.f32(&format!("{name}.{tensor}"), &[values.len()], values);
        }
    }

    pub(super) fn load(&mut self, name: &str, state: &StateReader) -> Result<(), PolicyError> {
        for (tensor, range) in self.ranges() {
            state.read_f32(&format!("{name}.{tensor}"), &mut self.parameters[range])?;
        }
        Ok(())
    }
}
