//! [`FeatureCache`]: features on disk, found by what they were made of.
//!
//! The key of a clip is the SHA-256 of the encoder's fingerprint and of its frames, so a change of weights, preprocessing, tap or a single
//! pixel is another entry, and nothing ever has to be invalidated. A damaged entry is recomputed and overwritten.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use image::RgbImage;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::encoder::{Encoder, EncoderError, EncoderSpec};
use crate::features::Features;
use crate::files::write_atomically;
use crate::state_dict::f32_from_little_endian;
use crate::weights::{data_dir, hex};

/// Where features are kept and how many of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeatureCacheConfig {
    /// Directory of the entries; made when missing.
    pub directory: PathBuf,
    /// Bytes that the entries may take together; the ones that were not used for longest go first. Without a limit nothing is removed.
    pub limit_bytes: Option<u64>,
}

impl Default for FeatureCacheConfig {
    fn default() -> Self {
        Self {
            directory: data_dir().join("features"),
            limit_bytes: Some(4 << 30),
        }
    }
}

/// A directory of features, safe to share between processes.
#[derive(Clone, Debug)]
pub struct FeatureCache {
    config: FeatureCacheConfig,
}

/// How a clip's features came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Read from the cache.
    Cached,
    /// Encoded, because the cache held no entry.
    Encoded,
    /// Encoded, because the cache held a damaged entry, which is now replaced.
    Repaired,
}

impl FeatureCache {
    /// A cache in the directory of `config`.
    pub fn new(config: FeatureCacheConfig) -> Self {
        Self { config }
    }

    /// The features of these frames: from the disk if they are there, else from `encoder`, and kept.
    ///
    /// # Errors
    /// What the encoder reports; [`EncoderError::Other`] when the entry cannot be written.
    pub fn encode(
        &self,
        encoder: &mut dyn Encoder,
        frames: &[RgbImage],
    ) -> Result<(Features, Origin), EncoderError> {
        let path = self.entry_path(&key(encoder.spec(), frames));
        let origin = match read_entry(&path, encoder.spec(), frames.len()) {
            Ok(features) => {
                // Marks the entry as used; on a read-only directory the order of removal is merely worse.
                let _ = File::options()
                    .append(true)
                    .open(&path)
                    .and_then(|file| file.set_modified(SystemTime::now()));
                return Ok((features, Origin::Cached));
            }
            Err(Unusable::Missing) => Origin::Encoded,
            Err(Unusable::Damaged) => Origin::Repaired,
        };
        let features = encoder.encode(frames)?;
        write_entry(&path, encoder.spec(), &features)
            .and_then(|()| self.shrink(&path))
            .map_err(|error| {
                let directory = self.config.directory.display();
                EncoderError::Other(format!("cannot keep features in {directory}: {error}"))
            })?;
        Ok((features, origin))
    }

    fn entry_path(&self, key: &str) -> PathBuf {
        self.config.directory.join(format!("{key}.safetensors"))
    }

    /// Removes the entries that were not used for longest until the rest fits; never the one just written.
    fn shrink(&self, newest: &Path) -> io::Result<()> {
        let Some(limit) = self.config.limit_bytes else {
            return Ok(());
        };
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.config.directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|ext| ext != "safetensors") {
                continue;
            }
            // Another process may remove an entry between the listing and this look.
            if let Ok(metadata) = fs::metadata(&path) {
                entries.push((metadata.modified()?, metadata.len(), path));
            }
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in entries {
            if total <= limit {
                break;
            }
            if path == newest {
                continue;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total -= len,
            }
        }
        Ok(())
    }
}

/// An encoder that looks into a cache first.
pub struct CachedEncoder {
    encoder: Box<dyn Encoder>,
    cache: FeatureCache,
}

impl CachedEncoder {
    /// Puts `cache` before `encoder`.
    pub fn new(encoder: Box<dyn Encoder>, cache: FeatureCache) -> Self {
        Self { encoder, cache }
    }
}

impl Encoder for CachedEncoder {
    fn spec(&self) -> &EncoderSpec {
        self.encoder.spec()
    }

    fn encode(&mut self, frames: &[RgbImage]) -> Result<Features, EncoderError> {
        let (features, _) = self.cache.encode(self.encoder.as_mut(), frames)?;
        Ok(features)
    }
}

/// SHA-256 over the encoder's fingerprint and the size and bytes of every frame.
fn key(spec: &EncoderSpec, frames: &[RgbImage]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(&spec.fingerprint);
    for frame in frames {
        hasher.update(frame.width().to_le_bytes());
        hasher.update(frame.height().to_le_bytes());
        hasher.update(frame.as_raw());
    }
    hex(&hasher.finalize())
}

enum Unusable {
    Missing,
    Damaged,
}

fn read_entry(path: &Path, spec: &EncoderSpec, rows: usize) -> Result<Features, Unusable> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::Damaged,
    })?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|_| Unusable::Damaged)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|_| Unusable::Damaged)?;
    let view = file.tensor("features").map_err(|_| Unusable::Damaged)?;
    let recorded = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get("sha256"));
    let intact = view.dtype() == Dtype::F32
        && view.shape() == [rows, spec.dim]
        && recorded == Some(&hex(&Sha256::digest(view.data())));
    if !intact {
        return Err(Unusable::Damaged);
    }
    Ok(Features::new(spec.dim, f32_from_little_endian(view.data())))
}

fn write_entry(path: &Path, spec: &EncoderSpec, features: &Features) -> io::Result<()> {
    let values: Vec<u8> = features
        .as_slice()
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let metadata = HashMap::from([
        ("encoder".to_owned(), spec.name.clone()),
        ("fingerprint".to_owned(), spec.fingerprint.clone()),
        ("sha256".to_owned(), hex(&Sha256::digest(&values))),
    ]);
    let view = TensorView::new(Dtype::F32, vec![features.len(), features.dim()], &values)
        .map_err(io::Error::other)?;
    let bytes =
        safetensors::serialize([("features", view)], Some(metadata)).map_err(io::Error::other)?;
    write_atomically(path, &bytes)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::pixels::PixelsEncoder;
    use crate::preprocess::{Fit, Preprocess};

    /// Counts how often it is asked.
    struct Counting {
        inner: PixelsEncoder,
        calls: usize,
    }

    impl Encoder for Counting {
        fn spec(&self) -> &EncoderSpec {
            self.inner.spec()
        }

        fn encode(&mut self, frames: &[RgbImage]) -> Result<Features, EncoderError> {
            self.calls += 1;
            self.inner.encode(frames)
        }
    }

    fn counting(size: u32) -> Counting {
        let fit = Fit::Stretch;
        Counting {
            inner: PixelsEncoder::new(Preprocess { size, fit }),
            calls: 0,
        }
    }

    fn clip(seed: u8) -> Vec<RgbImage> {
        (0..3)
            .map(|t| RgbImage::from_fn(9, 9, |x, y| Rgb([x as u8, y as u8 + t, seed])))
            .collect()
    }

    fn cache(directory: &Path, limit_bytes: Option<u64>) -> FeatureCache {
        FeatureCache::new(FeatureCacheConfig {
            directory: directory.join("features"),
            limit_bytes,
        })
    }

    fn entries(directory: &Path) -> Vec<PathBuf> {
        let mut entries: Vec<PathBuf> = fs::read_dir(directory.join("features"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        entries
    }

    #[test]
    fn the_second_time_features_come_from_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, mut encoder) = (cache(dir.path(), None), counting(8));
        let (first, origin) = cache.encode(&mut encoder, &clip(1)).unwrap();
        assert_eq!(origin, Origin::Encoded);
        let (second, origin) = cache.encode(&mut encoder, &clip(1)).unwrap();
        assert_eq!((origin, encoder.calls), (Origin::Cached, 1));
        assert_eq!(first, second);
    }

    #[test]
    fn another_clip_or_another_encoder_is_another_entry() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), None);
        let mut changed = clip(1);
        changed[2].get_pixel_mut(4, 4).0[1] ^= 1;
        let mut encoder = counting(8);
        cache.encode(&mut encoder, &clip(1)).unwrap();
        cache.encode(&mut encoder, &changed).unwrap();
        cache.encode(&mut counting(9), &clip(1)).unwrap();
        assert_eq!((encoder.calls, entries(dir.path()).len()), (2, 3));
    }

    #[test]
    fn a_damaged_entry_is_recomputed_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, mut encoder) = (cache(dir.path(), None), counting(8));
        let (intact, _) = cache.encode(&mut encoder, &clip(1)).unwrap();
        let path = entries(dir.path()).remove(0);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for damaged in [&flipped[..], &good[..good.len() - 4], b"", &[0xff; 64]] {
            fs::write(&path, damaged).unwrap();
            let (features, origin) = cache.encode(&mut encoder, &clip(1)).unwrap();
            assert_eq!((&features, origin), (&intact, Origin::Repaired));
            let (_, origin) = cache.encode(&mut encoder, &clip(1)).unwrap();
            assert_eq!(origin, Origin::Cached);
        }
    }

    #[test]
    fn beyond_the_limit_the_entry_unused_for_longest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut encoder = counting(8);
        cache(dir.path(), None)
            .encode(&mut encoder, &clip(1))
            .unwrap();
        let first = entries(dir.path()).remove(0);
        let size = fs::metadata(&first).unwrap().len();
        let cache = cache(dir.path(), Some(2 * size));
        cache.encode(&mut encoder, &clip(2)).unwrap();
        // The first is used again, so the second is the oldest when the third arrives.
        let hour_ago = SystemTime::now() - std::time::Duration::from_secs(3600);
        for path in entries(dir.path()) {
            File::options()
                .append(true)
                .open(path)
                .unwrap()
                .set_modified(hour_ago)
                .unwrap();
        }
        cache.encode(&mut encoder, &clip(1)).unwrap();
        cache.encode(&mut encoder, &clip(3)).unwrap();
        assert_eq!(entries(dir.path()).len(), 2);
        assert!(first.exists());
        assert_eq!(encoder.calls, 3);
    }

    #[test]
    fn a_cached_encoder_gives_what_the_encoder_gives() {
        let dir = tempfile::tempdir().unwrap();
        let expected = counting(8).encode(&clip(5)).unwrap();
        let mut cached = CachedEncoder::new(Box::new(counting(8)), cache(dir.path(), None));
        for _ in 0..2 {
            assert_eq!(cached.encode(&clip(5)).unwrap(), expected);
        }
        assert_eq!(entries(dir.path()).len(), 1);
    }
}
