//! The thread that learns a [`Belief`] beside the questions: it looks at episodes, those asked about first, and fits when answers came.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rapport::dataset::Dataset;
use rapport::perception::cache::{FeatureCache, FeatureCacheConfig};
use rapport::perception::{Encoder, Features};
use rapport::reward::ClipId;

use super::Shared;
use super::belief::{Belief, Points};

/// Answers from which on it is worth looking at pictures.
const BEGIN: usize = 3;
/// Clips that are looked at beyond those that were asked about. More would make a better choice of questions only slowly.
const MOST: usize = 600;
const PAUSE: Duration = Duration::from_millis(150);

/// Where the pictures come from, and what makes features of them.
pub struct Eyes {
    /// The clips' dataset.
    pub dataset: Arc<Dataset>,
    /// Its camera.
    pub camera: String,
    /// Opened in the thread, so that questions come at once.
    pub open: Box<dyn FnOnce() -> anyhow::Result<Box<dyn Encoder>> + Send>,
}

/// Thinks until the session ends. What goes wrong ends the thinking and not the asking; it is logged.
pub fn think(shared: &Shared, eyes: Eyes) {
    if let Err(error) = learn(shared, eyes) {
        tracing::warn!("questions stay random, no model chooses them: {error:#}");
    }
}

fn learn(shared: &Shared, eyes: Eyes) -> anyhow::Result<()> {
    let (clips, seed) = {
        let questions = shared.lock();
        (questions.clips().to_vec(), questions.plan().seed)
    };
    let mut encoder = None;
    let mut open = Some(eyes.open);
    let cache = FeatureCache::new(FeatureCacheConfig::default());
    let mut of_episode: HashMap<usize, Vec<usize>> = HashMap::new();
    for (i, clip) in clips.iter().enumerate() {
        of_episode.entry(clip.episode).or_default().push(i);
    }
    let mut features: Vec<Option<Vec<f32>>> = vec![None; clips.len()];
    let mut known = 0;
    let mut points = (0, Points::new(&[]));
    let mut learned_from = Vec::new();
    while !shared.is_stopping() {
        let comparisons = shared.lock().comparisons();
        let answers = comparisons.last().map_or(0, |c| c.answer + 1);
        if answers < BEGIN {
            std::thread::sleep(PAUSE);
            continue;
        }
        let asked = comparisons.iter().flat_map(|c| [c.better, c.worse]);
        let unseen = asked
            .chain(if known < MOST { 0..clips.len() } else { 0..0 })
            .find(|&i| features[i].is_none());
        let is_complete = unseen.is_none();
        if let Some(clip) = unseen {
            let episode = clips[clip].episode;
            let encoder = match &mut encoder {
                Some(encoder) => encoder,
                None => encoder.insert(open.take().map_or_else(
                    || Err(anyhow::anyhow!("the encoder was not opened")),
                    |open| open(),
                )?),
            };
            let frames = eyes.dataset.frames(episode, &eyes.camera)?;
            let rows = cache.encode(&mut **encoder, &frames)?.0;
            for &i in &of_episode[&episode] {
                features[i] = Some(summary(&rows, &clips[i])?);
                known += 1;
            }
        }
        // Clips that were asked about are all known before the first fit; then the others come in growing portions.
        let asked_known = comparisons
            .iter()
            .all(|c| features[c.better].is_some() && features[c.worse].is_some());
        let grown = known > points.0 && (is_complete || known * 2 > points.0 * 3);
        if !asked_known || (comparisons == learned_from && !grown) {
            if is_complete {
                std::thread::sleep(PAUSE);
            }
            continue;
        }
        if grown || points.0 == 0 || known > points.0 && comparisons != learned_from {
            points = (known, Points::new(&features));
        }
        // Outside the lock: nobody who answers waits for this.
        let belief = Belief::fit(&points.1, &comparisons, seed);
        if let Some(belief) = belief {
            shared.lock().believe(Arc::new(belief));
        }
        learned_from = comparisons;
    }
    Ok(())
}

/// A clip as one row: the mean of its frames, and where it ends less where it begins.
fn summary(rows: &Features, clip: &ClipId) -> anyhow::Result<Vec<f32>> {
    anyhow::ensure!(
        clip.start < clip.end && clip.end <= rows.len(),
        "{clip} is longer than its episode"
    );
    let mut mean = vec![0.0; rows.dim()];
    for t in clip.start..clip.end {
        for (sum, x) in mean.iter_mut().zip(rows.row(t)) {
            *sum += x / (clip.end - clip.start) as f32;
        }
    }
    if clip.end - clip.start > 1 {
        let (first, last) = (rows.row(clip.start), rows.row(clip.end - 1));
        let change: Vec<f32> = last.iter().zip(first).map(|(b, a)| b - a).collect();
        mean.extend(change);
    }
    anyhow::ensure!(
        mean.iter().all(|x| x.is_finite()),
        "the encoder gave a number that is not finite for {clip}"
    );
    Ok(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_is_its_mean_and_its_change() {
        let rows = Features::new(2, vec![0.0, 1.0, 2.0, 3.0, 4.0, 8.0]);
        let clip = |start, end| ClipId {
            dataset: "d".into(),
            episode: 0,
            start,
            end,
        };
        assert_eq!(summary(&rows, &clip(0, 3)).unwrap(), [2.0, 4.0, 4.0, 7.0]);
        assert_eq!(summary(&rows, &clip(1, 2)).unwrap(), [2.0, 3.0]);
        assert!(summary(&rows, &clip(2, 4)).is_err());
        let bad = Features::new(1, vec![f32::NAN]);
        assert!(summary(&bad, &clip(0, 1)).is_err());
    }
}
