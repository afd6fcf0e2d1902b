//! The parameters of a Burn module as numbers: by name for files, as one flat vector for arithmetic.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

use super::{tensor, values};
use crate::policy::PolicyError;
use crate::small::kernels::all_finite;
use crate::state::{StateDict, StateReader};

/// A parameter or its gradient.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// Path in the module: `layers.0.weight`.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// The parameters of a module, in its own order.
pub(crate) fn named(module: &impl Module) -> Result<Vec<Named>, PolicyError> {
    collect(module, None)
}

/// The gradient of each parameter, in the module's own order; zeros for what had no part in the loss.
pub(crate) fn gradients(
    module: &impl Module,
    mut gradients: Gradients,
) -> Result<Vec<Named>, PolicyError> {
    collect(module, Some(&mut gradients))
}

fn collect(
    module: &impl Module,
    gradients: Option<&mut Gradients>,
) -> Result<Vec<Named>, PolicyError> {
    let mut collector = Collector {
        path: Vec::new(),
        gradients,
        found: Vec::new(),
        failure: None,
    };
    module.visit(&mut collector);
    match collector.failure {
        Some(failure) => Err(failure),
        None => Ok(collector.found),
    }
}

/// The module with other parameters: `next` gets the place in [`named`] and the old values, and changes them.
pub(crate) fn change<M: Module>(
    module: M,
    next: impl FnMut(usize, &mut Vec<f32>),
) -> Result<M, PolicyError> {
    let mut changer = Changer {
        next,
        at: 0,
        failure: None,
    };
    let module = module.map(&mut changer);
    match changer.failure {
        Some(failure) => Err(failure),
        None => Ok(module),
    }
}

/// The gradient of each parameter on its device, flat, in the module's own order; zeros for what had no part in the loss.
pub(crate) fn gradients_there(
    module: &impl Module,
    gradients: Gradients,
) -> Vec<(String, Tensor<1>)> {
    let mut there = There {
        path: Vec::new(),
        gradients,
        found: Vec::new(),
    };
    module.visit(&mut there);
    there.found
}

/// The module with other parameters, which stay on their device: `next` gets the place in [`named`] and the old values, flat.
pub(crate) fn change_there<M: Module>(
    module: M,
    next: impl FnMut(usize, Tensor<1>) -> Tensor<1>,
) -> M {
    module.map(&mut ChangerThere { next, at: 0 })
}

/// Names the first tensor with a value that is not finite.
pub(crate) fn check_finite(tensors: &[Named], what: &str, update: u64) -> Result<(), PolicyError> {
    match tensors.iter().find(|t| !all_finite(&t.values)) {
        None => Ok(()),
        Some(tensor) => Err(PolicyError::NotFinite {
            tensor: format!("{what} {}", tensor.name),
            update,
        }),
    }
}

/// Adds the parameters as `PREFIX.path`.
pub(crate) fn save(
    module: &impl Module,
    prefix: &str,
    state: &mut StateDict,
) -> Result<(), PolicyError> {
    for tensor in named(module)? {
        let name = format!("{prefix}.{}", tensor.name);
        state.f32(&name, &tensor.shape, &tensor.values);
    }
    Ok(())
}

/// Puts stored parameters into a module of the same shape. Fails on a missing tensor and on one of another size, naming it.
pub(crate) fn load<M: Module>(
    module: M,
    prefix: &str,
    state: &StateReader,
) -> Result<M, PolicyError> {
    let mut stored = named(&module)?;
    for tensor in &mut stored {
        state.read_f32(&format!("{prefix}.{}", tensor.name), &mut tensor.values)?;
    }
    change(module, |at, old| {
        *old = std::mem::take(&mut stored[at].values);
    })
}

struct Collector<'g> {
    path: Vec<String>,
    gradients: Option<&'g mut Gradients>,
    found: Vec<Named>,
    failure: Option<PolicyError>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parameter = param.val();
        let shape = parameter.dims().to_vec();
        let read = match &mut self.gradients {
            None => values(parameter),
            Some(gradients) => match parameter.grad_remove(gradients) {
                Some(gradient) => values(gradient),
                None => Ok(vec![0.0; shape.iter().product()]),
            },
        };
        match read {
            Ok(values) => self.found.push(Named {
                name: self.path.join("."),
                shape,
                values,
            }),
            Err(failure) => self.failure = Some(failure),
        }
    }
}

struct Changer<F> {
    next: F,
    at: usize,
    failure: Option<PolicyError>,
}

impl<F: FnMut(usize, &mut Vec<f32>)> ModuleMapper for Changer<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let at = self.at;
        self.at += 1;
        let (id, old, mapper) = param.consume();
        let (shape, device) = (old.dims(), old.device());
        // Without the graph's hold on them the values are moved, not copied.
        let new = match values(old.clone()) {
            Ok(mut values) => {
                (self.next)(at, &mut values);
                tensor(values, shape, &device)
            }
            Err(failure) => {
                self.failure = Some(failure);
                old.clone()
            }
        };
        let new = if old.is_require_grad() {
            new.require_grad()
        } else {
            new
        };
        Param::from_mapped_value(id, new, mapper)
    }
}

struct There {
    path: Vec<String>,
    gradients: Gradients,
    found: Vec<(String, Tensor<1>)>,
}

impl ModuleVisitor for There {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parameter = param.val();
        let count = parameter.dims().iter().product::<usize>();
        let gradient = match parameter.grad_remove(&mut self.gradients) {
            Some(gradient) => gradient.reshape([count]),
            None => Tensor::zeros([count], &parameter.device().inner()),
        };
        self.found.push((self.path.join("."), gradient));
    }
}

struct ChangerThere<F> {
    next: F,
    at: usize,
}

impl<F: FnMut(usize, Tensor<1>) -> Tensor<1>> ModuleMapper for ChangerThere<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let at = self.at;
        self.at += 1;
        let (id, old, mapper) = param.consume();
        let (shape, learns) = (old.dims(), old.is_require_grad());
        let flat = old.inner().reshape([shape.iter().product::<usize>()]);
        let new = Tensor::from_inner((self.next)(at, flat).reshape(shape));
        let new = if learns { new.require_grad() } else { new };
        Param::from_mapped_value(id, new, mapper)
    }
}
