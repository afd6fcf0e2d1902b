//! Fixed positions: sines and cosines (Vaswani et al. 2017, section 3.5).

/// `[count, dim]`: component `i` of position `p` is the sine (`i` even) or cosine (`i` odd) of `p / 10000^(2 floor(i/2) / dim)`.
pub(crate) fn sinusoids(count: usize, dim: usize) -> Vec<f32> {
    (0..count).flat_map(|p| sinusoid(p as f64, dim)).collect()
}

/// One row of [`sinusoids`], for any number: also the embedding of a diffusion's step.
pub(crate) fn sinusoid(position: f64, dim: usize) -> impl Iterator<Item = f32> {
    (0..dim)
        .map(move |i| {
            let angle = position / 10_000f64.powf((2 * (i / 2)) as f64 / dim as f64);
            if i % 2 == 0 { angle.sin() } else { angle.cos() }
        })
        .map(|x| x as f32)
}
