//! AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) for Burn modules, with a memory that can be saved and restored exactly.

use burn::module::Module;
use burn::tensor::Tensor;

use super::parameters::{change, change_there, check_finite, gradients, gradients_there};
use super::resident::{Look, Resident};
use super::schedule::Schedule;
use super::values;
use crate::policy::PolicyError;
use crate::small::adam::{Adam, AdamConfig};
use crate::small::kernels;
use crate::state::{StateDict, StateReader};

/// Adam with decoupled weight decay, a limit on the gradient's norm and a schedule, over all parameters of one module.
#[derive(Clone, Debug)]
pub(crate) struct AdamW {
    adam: Adam,
    schedule: Schedule,
    /// Adam's memory where the parameters are, once a step was taken there.
    resident: Option<Resident>,
    place: Place,
}

/// Where the arithmetic of a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the processor.
    Here,
    /// On the parameters' own device, which is far away.
    There,
}

/// What one step saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stepped {
    /// The loss before the step.
    pub(crate) loss: f64,
    /// Euclidean norm of the gradient before it was shortened.
    pub(crate) gradient_norm: f64,
}

impl AdamW {
    pub(crate) fn new(config: AdamConfig, schedule: Schedule, module: &impl Module) -> Self {
        Self {
            adam: Adam::new(config, module.num_params()),
            schedule,
            resident: None,
            place: Place::Here,
        }
    }

    /// Steps from here on where the parameters are.
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Steps taken.
    pub(crate) fn steps(&self) -> u64 {
        self.adam.steps()
    }

    /// One step down the gradient of `loss`, a single number. Fails, with the module lost, on a loss or a gradient that is not
    /// finite, which is named.
    pub(crate) fn step<M: Module>(
        &mut self,
        module: M,
        loss: Tensor<1>,
    ) -> Result<(M, Stepped), PolicyError> {
        if self.place == Place::There {
            return self.step_there(module, loss);
        }
        let update = self.adam.steps();
        let value = f64::from(values(loss.clone().inner())?[0]);
        if !value.is_finite() {
            return Err(PolicyError::NotFinite {
                tensor: "the training loss".into(),
                update,
            });
        }
        let mut gradients = gradients(&module, loss.backward())?;
        drop(loss);
        check_finite(&gradients, "the gradient of", update)?;
        let norm = gradients
            .iter()
            .map(|g| f64::from(kernels::norm(&g.values)).powi(2))
            .sum::<f64>()
            .sqrt();
        let limit = self.adam.config().max_gradient_norm;
        if limit > 0.0 && norm > limit {
            for gradient in &mut gradients {
                kernels::scale(&mut gradient.values, (limit / norm) as f32);
            }
        }
        let step = self.adam.begin(self.schedule.factor(update));
        let mut start = 0;
        let module = change(module, |at, parameters| {
            self.adam
                .descend(start, parameters, &gradients[at].values, &step);
            start += parameters.len();
        })?;
        let stepped = Stepped {
            loss: value,
            gradient_norm: norm,
        };
        Ok((module, stepped))
    }

    fn step_there<M: Module>(
        &mut self,
        module: M,
        loss: Tensor<1>,
    ) -> Result<(M, Stepped), PolicyError> {
        let update = self.adam.steps();
        let (names, gradients): (Vec<_>, Vec<_>) = gradients_there(&module, loss.backward())
            .into_iter()
            .unzip();
        let look = Look::at(loss.inner(), &gradients, update, |at| names[at].clone())?;
        let shortening = look.shortening(self.adam.config().max_gradient_norm);
        let step = self.adam.begin(self.schedule.factor(update));
        let resident = self.resident.get_or_insert_with(|| {
            let lengths: Vec<_> = gradients.iter().map(|g| g.dims()[0]).collect();
            Resident::of(&self.adam, &lengths, &gradients[0].device())
        });
        let module = change_there(module, |at, parameter| {
            let gradient = match shortening {
                Some(factor) => gradients[at].clone() * factor,
                None => gradients[at].clone(),
            };
            resident.descend(at, parameter, gradient, &step)
        });
        let stepped = Stepped {
            loss: look.loss,
            gradient_norm: look.norm,
        };
        Ok((module, stepped))
    }

    pub(crate) fn save(&self, prefix: &str, state: &mut StateDict) -> Result<(), PolicyError> {
        match &self.resident {
            None => self.adam.save(prefix, state),
            Some(resident) => {
                let mut adam = self.adam.clone();
                resident.give_back(&mut adam)?;
                adam.save(prefix, state);
            }
        }
        Ok(())
    }

    pub(crate) fn load(&mut self, prefix: &str, state: &StateReader) -> Result<(), PolicyError> {
        self.resident = None;
        self.adam.load(prefix, state)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::nn::Linear;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::deep::average::Average;
    use crate::deep::parameters::{self, named};
    use crate::deep::{layers::linear, tensor, training_device};

    fn layer(seed: u64) -> Linear {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        linear(3, 2, &mut rng, &training_device())
    }

    fn loss(layer: &Linear, t: usize) -> Tensor<1> {
        let x = (0..6).map(|i| ((i + t) as f32 * 0.7).sin()).collect();
        let y = layer.forward(tensor(x, [2, 3], &training_device()));
        (y - 1.0).square().mean()
    }

    fn optimiser(layer: &Linear) -> AdamW {
        let config = AdamConfig {
            learning_rate: 0.05,
            weight_decay: 0.1,
            max_gradient_norm: 0.5,
            ..AdamConfig::default()
        };
        let schedule = Schedule {
            warm_up: 3,
            decay: 40,
            floor: 0.0,
        };
        AdamW::new(config, schedule, layer)
    }

    fn bits(layer: &Linear) -> Vec<Vec<f32>> {
        named(layer)
            .unwrap()
            .into_iter()
            .map(|t| t.values)
            .collect()
    }

    #[test]
    fn saved_half_way_it_goes_on_to_the_same_bits() {
        let mut straight = layer(1);
        let mut adam = optimiser(&straight);
        let mut average = Average::new(0.99, &straight).unwrap();
        let mut file = Vec::new();
        let first = loss(&straight.valid(), 0).into_scalar::<f32>();
        for t in 0..20 {
            if t == 10 {
                let mut state = StateDict::default();
                parameters::save(&straight, "network", &mut state).unwrap();
                adam.save("adam", &mut state).unwrap();
                average.save("average", &mut state);
                file = state.to_bytes(0).unwrap();
            }
            let loss = loss(&straight, t);
            straight = adam.step(straight, loss).unwrap().0;
            average.update(&straight).unwrap();
        }
        let state = StateReader::new(Path::new("x"), &file).unwrap();
        let mut resumed = parameters::load(layer(2), "network", &state).unwrap();
        let (mut adam, mut mean) = (optimiser(&resumed), Average::new(0.99, &resumed).unwrap());
        adam.load("adam", &state).unwrap();
        mean.load("average", &state).unwrap();
        for t in 10..20 {
            let loss = loss(&resumed, t);
            resumed = adam.step(resumed, loss).unwrap().0;
            mean.update(&resumed).unwrap();
        }
        assert_eq!(bits(&resumed), bits(&straight));
        assert_eq!(
            bits(&mean.apply(resumed).unwrap()),
            bits(&average.apply(straight.clone()).unwrap())
        );
        assert!(loss(&straight.valid(), 0).into_scalar::<f32>() < first);
    }

    #[test]
    fn steps_beside_the_parameters_are_the_same_steps() {
        let (mut here, mut there) = (layer(1), layer(1));
        let mut adam = optimiser(&here);
        let mut far = optimiser(&there).at(Place::There);
        for t in 0..20 {
            let loss_here = loss(&here, t);
            let (layer, stepped) = adam.step(here, loss_here).unwrap();
            here = layer;
            if t == 10 {
                let mut state = StateDict::default();
                far.save("adam", &mut state).unwrap();
                let file = state.to_bytes(0).unwrap();
                far = optimiser(&there).at(Place::There);
                far.load("adam", &StateReader::new(Path::new("x"), &file).unwrap())
                    .unwrap();
            }
            let loss_there = loss(&there, t);
            let (layer, same) = far.step(there, loss_there).unwrap();
            there = layer;
            assert!((stepped.gradient_norm - same.gradient_norm).abs() < 1e-5);
        }
        for (a, b) in bits(&here)
            .iter()
            .flatten()
            .zip(bits(&there).iter().flatten())
        {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let layer = layer(1);
        let gradients = parameters::gradients(&layer, loss(&layer, 0).backward()).unwrap();
        let plain = layer.valid();
        for (at, gradient) in gradients.iter().enumerate() {
            for i in 0..gradient.values.len() {
                let moved = |by: f32| {
                    let moved = parameters::change(plain.clone(), |tensor, values| {
                        if tensor == at {
                            values[i] += by;
                        }
                    });
                    loss(&moved.unwrap(), 0).into_scalar::<f32>()
                };
                let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                let found = gradient.values[i];
                assert!(
                    (slope - found).abs() < 1e-3,
                    "{}: {slope} {found}",
                    gradient.name
                );
            }
        }
    }

    #[test]
    fn a_broken_parameter_is_named() {
        let layer = parameters::change(layer(1), |at, values| {
            if at == 0 {
                values[0] = 1e30;
            }
        })
        .unwrap();
        for place in [Place::Here, Place::There] {
            let mut adam = optimiser(&layer).at(place);
            let loss = loss(&layer, 0);
            let error = adam.step(layer.clone(), loss).unwrap_err().to_string();
            assert!(error.contains("not finite"), "{error}");
        }
    }
}
