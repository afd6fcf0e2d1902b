//! Losses against those of the published trainers, run by `tests/peers/goldens/progress.py`.

use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use std::collections::BTreeMap;

use super::contrast::Triples;
use super::cycle::cycle_loss;
use super::value::{Transitions, nearness, value_loss};
use crate::network::{rows, training_device, values};

#[derive(Deserialize)]
struct Goldens {
    cycle: Cycle,
    value: Value,
    contrast: Contrast,
}

#[derive(Deserialize)]
struct Cycle {
    dim: usize,
    embeddings: Vec<Vec<f32>>,
    times: Vec<Vec<f64>>,
    lengths: Vec<f64>,
    by_temperature: BTreeMap<String, CycleLoss>,
}

#[derive(Deserialize)]
struct CycleLoss {
    loss: f64,
    gradient: Vec<f64>,
}

#[derive(Deserialize)]
struct Value {
    dim: usize,
    frames: Vec<Vec<f32>>,
    orders: Vec<Vec<usize>>,
    loss: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Contrast {
    dim: usize,
    triples: Vec<Vec<f32>>,
    orders: Vec<Vec<usize>>,
    loss: f64,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../../tests/data/progress.json")).unwrap()
}

fn number(loss: Tensor<1>) -> f64 {
    f64::from(values(loss).unwrap()[0])
}

/// The `i`-th of the frames that lie side by side in every row, `[batch, dim]`.
fn frame(rows_of: &[Vec<f32>], i: usize, dim: usize) -> Tensor<2> {
    let picked: Vec<f32> = rows_of
        .iter()
        .flat_map(|row| &row[i * dim..(i + 1) * dim])
        .copied()
        .collect();
    rows(&picked, dim, &Device::flex())
}

fn reordered(x: &Tensor<2>, order: &[usize]) -> Tensor<2> {
    let order: Vec<i64> = order.iter().map(|&i| i as i64).collect();
    x.clone()
        .select(0, Tensor::from_data(order.as_slice(), &x.device()))
}

#[test]
fn cycle_consistency_and_its_gradient_are_those_of_xirl() {
    let golden = goldens().cycle;
    for (temperature, expected) in &golden.by_temperature {
        let device = training_device();
        let clips: Vec<_> = golden
            .embeddings
            .iter()
            .map(|clip| rows(clip, golden.dim, &device).require_grad())
            .collect();
        let batch: Vec<_> = clips
            .iter()
            .zip(golden.times.iter().zip(&golden.lengths))
            .map(|(clip, (times, len))| (clip.clone(), times.iter().map(|t| t / len).collect()))
            .collect();
        let loss = cycle_loss(&batch, temperature.parse().unwrap());
        let gradients = loss.backward();
        let found = number(loss);
        assert!(
            (found - expected.loss).abs() < 1e-6,
            "{temperature}: {found}"
        );
        let found: Vec<f32> = clips
            .iter()
            .flat_map(|clip| values(clip.grad(&gradients).unwrap()).unwrap())
            .collect();
        assert_eq!(found.len(), expected.gradient.len());
        for (a, b) in found.iter().zip(&expected.gradient) {
            assert!(
                (f64::from(*a) - b).abs() < 2e-6 + 1e-4 * b.abs(),
                "{temperature}: {a} {b}"
            );
        }
    }
}

#[test]
fn value_loss_is_that_of_vip_with_and_without_negatives() {
    let golden = goldens().value;
    let [initial, goal, before, after] = [0, 1, 2, 3].map(|i| frame(&golden.frames, i, golden.dim));
    for (negatives, expected) in &golden.loss {
        let count: usize = negatives.parse().unwrap();
        let shuffled = (count > 0).then(|| {
            let all = |x: &Tensor<2>| {
                let orders = golden.orders[..count].iter();
                let each = orders.map(|o| nearness(reordered(x, o), goal.clone()));
                Tensor::cat(each.collect(), 0)
            };
            Transitions {
                before: all(&before),
                after: all(&after),
            }
        });
        let found = number(value_loss(
            nearness(initial.clone(), goal.clone()),
            Transitions {
                before: nearness(before.clone(), goal.clone()),
                after: nearness(after.clone(), goal.clone()),
            },
            shuffled,
            0.98,
        ));
        assert!(
            (found - expected).abs() < 2e-6,
            "{negatives}: {found} {expected}"
        );
    }
}

#[test]
fn time_contrast_is_that_of_r3m() {
    let golden = goldens().contrast;
    let [first, middle, last] = [0, 1, 2].map(|i| frame(&golden.triples, i, golden.dim));
    let orders: Vec<_> = golden
        .orders
        .chunks_exact(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect();
    let triples = Triples {
        first,
        middle,
        last,
    };
    let found = number(triples.loss(&orders));
    assert!(
        (found - golden.loss).abs() < 2e-6,
        "{found} {}",
        golden.loss
    );
}
