//! Small networks without a graph: the arithmetic of control at a few hundred units, written out.
//!
//! The tests compare it with Burn. What is larger, or has convolutions or attention, is in Burn itself.

pub(crate) mod adam;
pub(crate) mod both;
pub(crate) mod conv;
pub(crate) mod kernels;
pub(crate) mod matmul;
pub(crate) mod mlp;
pub(crate) mod orthogonal;
pub(crate) mod vector;
