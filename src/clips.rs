//! Datasets as clips: an episode's pictures through an encoder, remembered in the feature cache.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use rapport::dataset::{Dataset, Episode};
use rapport::perception::cache::{FeatureCache, FeatureCacheConfig};
use rapport::perception::{Encoder, Features};
use rapport::reward::{Clip, ClipId};

use crate::cli::Usage;
use crate::interrupt;
use crate::ui::Ui;

/// The camera to use: the named one, or the only one.
pub fn camera_of(dataset: &Dataset, wanted: Option<&str>) -> anyhow::Result<String> {
    let cameras = dataset.cameras();
    match (wanted, cameras.as_slice()) {
        (Some(name), _) if cameras.iter().any(|c| c == name) => Ok(name.to_owned()),
        (Some(name), _) => Err(Usage(format!(
            "{} has no camera {name}; it has {}",
            dataset.dir().display(),
            cameras.join(", ")
        ))
        .into()),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Usage(format!("{} has no camera", dataset.dir().display())).into()),
        (None, _) => Err(Usage(format!(
            "{} has several cameras; choose with --camera: {}",
            dataset.dir().display(),
            cameras.join(", ")
        ))
        .into()),
    }
}

/// A dataset seen through an encoder.
pub struct Library {
    dataset: Dataset,
    features: Vec<Features>,
}

impl Library {
    /// Opens a dataset and encodes every episode; what was encoded before comes from the cache.
    pub fn encode(
        dir: &Path,
        camera: Option<&str>,
        encoder: &mut dyn Encoder,
        ui: Ui,
    ) -> anyhow::Result<Self> {
        let dataset = Dataset::open(dir)?;
        if dataset.is_empty() {
            return Err(Usage(format!("{} has no episode yet", dir.display())).into());
        }
        let camera = camera_of(&dataset, camera)?;
        let cache = FeatureCache::new(FeatureCacheConfig::default());
        let bar = ui.bar(dataset.len() as u64, "encoding episodes");
        let mut features = Vec::with_capacity(dataset.len());
        for episode in 0..dataset.len() {
            anyhow::ensure!(
                !interrupt::requested(),
                "stopped; the features so far are in the cache"
            );
            features.push(cache.encode(encoder, &dataset.frames(episode, &camera)?)?.0);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Self { dataset, features })
    }

    /// The dataset.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Features of every episode, each `[time, dim]`.
    pub fn features(&self) -> &[Features] {
        &self.features
    }

    /// Numbers of an episode, without pictures.
    pub fn columns(&self, episode: usize) -> anyhow::Result<Episode> {
        Ok(self.dataset.episode_columns(episode)?)
    }

    /// An episode as reward models see it.
    pub fn clip(&self, episode: usize) -> anyhow::Result<Clip> {
        let features = self
            .features
            .get(episode)
            .with_context(|| format!("there is no episode {episode}"))?;
        let columns = self.columns(episode)?.columns;
        let columns: BTreeMap<_, _> = columns
            .into_iter()
            .filter(|(_, column)| column.dim > 0 && !column.is_empty())
            .map(|(name, column)| (name, Features::new(column.dim, column.values)))
            .collect();
        Ok(Clip {
            features: features.clone(),
            columns,
            fps: f64::from(self.dataset.info().fps),
        })
    }

    /// Features of a stretch of an episode.
    pub fn stretch(&self, id: &ClipId) -> anyhow::Result<Features> {
        let features = self.features.get(id.episode).filter(|f| id.end <= f.len());
        let features =
            features.with_context(|| format!("{id} is not in {}", self.dataset.dir().display()))?;
        Ok(features.select(&(id.start..id.end).collect::<Vec<_>>()))
    }
}

/// The name by which preferences know a dataset: its folder's.
pub fn dataset_name(dir: &Path) -> String {
    let full = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    full.file_name().map_or_else(
        || "dataset".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}
