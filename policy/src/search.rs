//! Search over action sequences and policy parameters by trying them: no gradient of the return is needed.

mod beam;
mod best_of_n;

#[cfg(test)]
mod tests;

pub use beam::{Beam, Chosen, Denoise, Denoising};
pub use best_of_n::best_of_n;
