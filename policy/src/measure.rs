//! Times of the matrix products behind the small networks, for `examples/floor.rs`: what a training step cannot go below.

use std::time::Instant;

use crate::small::both::pays;
use crate::small::matmul::{Finish, Scratch, Start, View, matmul};

/// Which product of a layer it is: that decides which operand is read by columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `x W + b`.
    Forward,
    /// `x^T g`, added to the gradient of the weights.
    ByWeight,
    /// `g W^T`.
    ByInput,
}

/// `[rows, depth]` times `[depth, columns]`.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Rows of the result.
    pub rows: usize,
    /// What is summed over.
    pub depth: usize,
    /// Columns of the result.
    pub columns: usize,
    /// Which product of a layer.
    pub kind: Kind,
}

/// Threads that an update uses whose largest network has so many multiply-adds a pass.
pub fn threads(multiply_adds: usize) -> usize {
    if pays(multiply_adds) {
        rayon::current_num_threads().min(2)
    } else {
        1
    }
}

/// Seconds of one such product on one thread, the mean of `times` done on end. The numbers are ones; their values take no time.
pub fn products(product: Product, times: usize) -> f64 {
    let Product {
        rows,
        depth,
        columns,
        kind,
    } = product;
    let (a, b, bias) = (
        vec![1.0f32; rows * depth],
        vec![1.0f32; depth * columns],
        vec![0.0f32; columns],
    );
    let mut c = vec![0.0f32; rows * columns];
    let mut scratch = Scratch::default();
    let (a, b, how) = match kind {
        Kind::Forward => (
            View::new(&a, rows, depth),
            View::new(&b, depth, columns),
            (Start::Bias(&bias), Finish::Relu),
        ),
        Kind::ByWeight => (
            View::new(&a, depth, rows).transposed(),
            View::new(&b, depth, columns),
            (Start::Destination, Finish::Keep),
        ),
        Kind::ByInput => (
            View::new(&a, rows, depth),
            View::new(&b, columns, depth).transposed(),
            (Start::Zero, Finish::Keep),
        ),
    };
    // Once to bring everything near.
    matmul(a, b, how, &mut c, &mut scratch);
    let begin = Instant::now();
    for _ in 0..times {
        matmul(a, b, how, &mut c, &mut scratch);
    }
    let seconds = begin.elapsed().as_secs_f64() / times as f64;
    std::hint::black_box(&c);
    seconds
}
