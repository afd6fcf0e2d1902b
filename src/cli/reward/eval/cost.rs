//! What it costs to look at a picture and to say what it is worth.

use std::time::Instant;

use rapport::reward::eval::{Check, Verdict, Weight};
use serde::Serialize;

use super::Opened;
use crate::clips::camera_of;

/// Milliseconds a picture.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// To encode it.
    pub encode_ms: f64,
    /// To score it, as its part of a whole episode.
    pub score_ms: f64,
    /// Pictures a second, both together.
    pub pictures_per_second: f64,
}

/// Pictures encoded to measure.
const PICTURES: usize = 16;

/// Measures on the first episode, past the cache. None without a picture.
pub fn measure(opened: &mut Opened, camera: Option<&str>) -> anyhow::Result<(Option<Cost>, Check)> {
    let check = Check::new("cost", "Is it quick enough to run live?", Weight::Helpful);
    let dataset = opened.library.dataset();
    let camera = camera_of(dataset, camera)?;
    let mut frames = dataset.frames(0, &camera)?;
    frames.truncate(PICTURES);
    let fps = f64::from(dataset.info().fps);
    if frames.is_empty() {
        return Ok((
            None,
            check.answer(Verdict::CannotTell, "The first episode has no picture."),
        ));
    }
    // The first call warms up.
    opened.encoder.encode(&frames[..1])?;
    let begin = Instant::now();
    for frame in &frames {
        opened.encoder.encode(std::slice::from_ref(frame))?;
    }
    let encode_ms = 1e3 * begin.elapsed().as_secs_f64() / frames.len() as f64;
    let begin = Instant::now();
    let steps = opened.score(0)?.per_step.len().max(1);
    let score_ms = 1e3 * begin.elapsed().as_secs_f64() / steps as f64;
    let cost = Cost {
        encode_ms,
        score_ms,
        pictures_per_second: 1e3 / (encode_ms + score_ms).max(1e-6),
    };
    let each = encode_ms + score_ms;
    let verdict = if cost.pictures_per_second >= fps {
        Verdict::Good
    } else {
        Verdict::Doubtful
    };
    let sentence = match verdict {
        Verdict::Good => format!(
            "{each:.1} ms a picture here ({encode_ms:.1} to encode, {score_ms:.2} to score): quick enough for the {fps:.0} a second of these recordings."
        ),
        _ => format!(
            "{each:.1} ms a picture here ({encode_ms:.1} to encode, {score_ms:.2} to score): too slow for the {fps:.0} a second of these recordings, unless not every picture is scored."
        ),
    };
    let check = check
        .number("encode, ms", Some(encode_ms))
        .number("score, ms", Some(score_ms))
        .answer(verdict, sentence);
    Ok((Some(cost), check))
}
