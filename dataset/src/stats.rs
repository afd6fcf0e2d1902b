//! Statistics of features with exact quantiles, and `meta/stats.json`.
//!
//! LeRobot merges the quantiles of episodes by averaging them, which is wrong; here the quantiles are those of all values:
//! numeric features keep their values in sorted order, images keep a histogram of 256 bins a channel, which loses
//! nothing because pixels have 8 bits.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// Quantiles of a feature, with their names in `stats.json`.
pub const QUANTILES: [(&str, f64); 5] = [
    ("q01", 0.01),
    ("q10", 0.10),
    ("q50", 0.50),
    ("q90", 0.90),
    ("q99", 0.99),
];

/// Statistics of one feature, each vector `[dim]` (`[3]`, red green blue in 0..1, for a camera).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureStats {
    /// Smallest value.
    pub min: Vec<f64>,
    /// Largest value.
    pub max: Vec<f64>,
    /// Arithmetic mean.
    pub mean: Vec<f64>,
    /// Population standard deviation.
    pub std: Vec<f64>,
    /// 1st percentile.
    pub q01: Vec<f64>,
    /// 10th percentile.
    pub q10: Vec<f64>,
    /// Median.
    pub q50: Vec<f64>,
    /// 90th percentile.
    pub q90: Vec<f64>,
    /// 99th percentile.
    pub q99: Vec<f64>,
    /// Number of frames that went in.
    pub count: u64,
}

impl FeatureStats {
    /// Name and values of every statistic except the count, in LeRobot's order.
    pub fn named(&self) -> [(&'static str, &[f64]); 9] {
        [
            ("min", &self.min),
            ("max", &self.max),
            ("mean", &self.mean),
            ("std", &self.std),
            ("q01", &self.q01),
            ("q10", &self.q10),
            ("q50", &self.q50),
            ("q90", &self.q90),
            ("q99", &self.q99),
        ]
    }

    fn set(&mut self, name: &str, values: Vec<f64>) {
        match name {
            "min" => self.min = values,
            "max" => self.max = values,
            "mean" => self.mean = values,
            "std" => self.std = values,
            "q01" => self.q01 = values,
            "q10" => self.q10 = values,
            "q50" => self.q50 = values,
            "q90" => self.q90 = values,
            "q99" => self.q99 = values,
            _ => {}
        }
    }

    fn to_json(&self, image: bool) -> Value {
        let mut map = Map::new();
        for (name, values) in self.named() {
            let value = if image {
                // Channels first: [3, 1, 1].
                json!(values.iter().map(|v| [[v]]).collect::<Vec<_>>())
            } else {
                json!(values)
            };
            map.insert(name.into(), value);
        }
        map.insert("count".into(), json!([self.count]));
        map.into()
    }

    fn from_json(value: &Value) -> Self {
        let mut stats = Self::default();
        let Some(map) = value.as_object() else {
            return stats;
        };
        for (name, value) in map {
            let mut flat = Vec::new();
            flatten(value, &mut flat);
            if name == "count" {
                stats.count = flat.first().map_or(0, |c| *c as u64);
            } else {
                stats.set(name, flat);
            }
        }
        stats
    }
}

fn flatten(value: &Value, into: &mut Vec<f64>) {
    match value {
        Value::Array(list) => list.iter().for_each(|v| flatten(v, into)),
        other => into.push(other.as_f64().unwrap_or(f64::NAN)),
    }
}

/// Statistics of a dataset by feature name.
pub type Stats = BTreeMap<String, FeatureStats>;

/// Where the statistics of the dataset in `dir` lie.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("meta/stats.json")
}

/// Reads `meta/stats.json`; none when the dataset has no such file.
///
/// # Errors
/// [`Error::Corrupt`] when the file is not a JSON object.
pub fn read(dir: &Path) -> Result<Option<Stats>> {
    let path = path(dir);
    let text = match fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| Error::io("read", &path, e))?,
    };
    let value: Map<String, Value> = serde_json::from_slice(&text)
        .map_err(|e| Error::corrupt(&path, format!("it is not a JSON object ({e})")))?;
    Ok(Some(
        value
            .iter()
            .map(|(name, v)| (name.clone(), FeatureStats::from_json(v)))
            .collect(),
    ))
}

/// Content of `stats.json` with the given statistics and those of other features that the file in `dir` has.
pub(crate) fn with_others(dir: &Path, known: &Accumulator) -> Result<Vec<u8>> {
    let path = path(dir);
    let mut all: Map<String, Value> = match fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Map::new(),
        // A file that is damaged has nothing to keep.
        other => serde_json::from_slice(&other.map_err(|e| Error::io("read", &path, e))?)
            .unwrap_or_default(),
    };
    all.extend(known.to_json());
    Ok(pretty(&all))
}

fn pretty(map: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(map).expect("a map of numbers serialises");
    bytes.push(b'\n');
    bytes
}

/// Everything needed for the statistics of a set of episodes, mergeable without loss.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accumulator {
    /// Per feature and component: finite values in ascending order.
    numeric: BTreeMap<String, Numeric>,
    /// Per camera feature.
    images: BTreeMap<String, PixelHistogram>,
}

#[derive(Clone, Debug, Default)]
struct Numeric {
    frames: u64,
    sorted: Vec<Vec<f64>>,
}

impl Accumulator {
    /// Adds rows `[time, dim]` of a feature.
    pub fn add_numeric(&mut self, feature: &str, dim: usize, values: &[f64]) {
        if dim == 0 {
            return;
        }
        let entry = self.numeric.entry(feature.to_owned()).or_default();
        entry.sorted.resize(dim, Vec::new());
        entry.frames += (values.len() / dim) as u64;
        for (component, sorted) in entry.sorted.iter_mut().enumerate() {
            let mut new: Vec<f64> = values[component..]
                .iter()
                .step_by(dim)
                .copied()
                .filter(|v| v.is_finite())
                .collect();
            new.sort_unstable_by(f64::total_cmp);
            merge_sorted(sorted, new);
        }
    }

    /// Adds the pixels of a camera.
    pub fn add_pixels(&mut self, feature: &str, pixels: &PixelHistogram) {
        self.images
            .entry(feature.to_owned())
            .or_default()
            .merge(pixels);
    }

    /// Histograms by camera feature.
    pub fn pixels(&self) -> &BTreeMap<String, PixelHistogram> {
        &self.images
    }

    /// Adds everything of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (feature, from) in &other.numeric {
            let entry = self.numeric.entry(feature.clone()).or_default();
            entry.sorted.resize(from.sorted.len(), Vec::new());
            entry.frames += from.frames;
            for (sorted, new) in entry.sorted.iter_mut().zip(&from.sorted) {
                merge_sorted(sorted, new.clone());
            }
        }
        for (feature, pixels) in &other.images {
            self.add_pixels(feature, pixels);
        }
    }

    /// Statistics of what was added.
    pub fn stats(&self) -> Stats {
        let numeric = self.numeric.iter().map(|(n, v)| (n.clone(), v.stats()));
        let images = self.images.iter().map(|(n, v)| (n.clone(), v.stats()));
        numeric.chain(images).collect()
    }

    /// Content of `stats.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        pretty(&self.to_json())
    }

    fn to_json(&self) -> Map<String, Value> {
        self.stats()
            .iter()
            .map(|(name, s)| (name.clone(), s.to_json(self.images.contains_key(name))))
            .collect()
    }
}

/// Two ascending runs into one. The standard sort finds the runs, so this takes linear time.
fn merge_sorted(sorted: &mut Vec<f64>, new: Vec<f64>) {
    sorted.extend(new);
    sorted.sort_by(f64::total_cmp);
}

impl Numeric {
    fn stats(&self) -> FeatureStats {
        let mut stats = FeatureStats {
            count: self.frames,
            ..Default::default()
        };
        for sorted in &self.sorted {
            let n = sorted.len() as f64;
            let mean = sorted.iter().sum::<f64>() / n;
            let variance = sorted.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            stats.min.push(sorted.first().copied().unwrap_or(f64::NAN));
            stats.max.push(sorted.last().copied().unwrap_or(f64::NAN));
            stats.mean.push(mean);
            stats.std.push(variance.sqrt());
            let quantile = |q| quantile(sorted.len(), q, |rank| sorted[rank]);
            stats.q01.push(quantile(0.01));
            stats.q10.push(quantile(0.10));
            stats.q50.push(quantile(0.50));
            stats.q90.push(quantile(0.90));
            stats.q99.push(quantile(0.99));
        }
        stats
    }
}

/// Quantile `q` of `n` ordered values with linear interpolation, as `numpy.quantile` defines it; NaN of nothing.
fn quantile(n: usize, q: f64, value_at_rank: impl Fn(usize) -> f64) -> f64 {
    if n == 0 {
        return f64::NAN;
    }
    let position = (n - 1) as f64 * q;
    let low = position.floor() as usize;
    let (a, b) = (value_at_rank(low), value_at_rank((low + 1).min(n - 1)));
    a + (b - a) * (position - low as f64)
}

/// How often each of the 256 levels occurs in each channel of the frames of a camera.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PixelHistogram {
    /// Frames counted.
    pub frames: u64,
    /// Counts, `[channel][level]`; empty before the first frame.
    counts: Vec<Vec<u64>>,
}

impl PixelHistogram {
    /// Adds a frame. Of a large frame every n-th pixel of every n-th row is counted, so that the long side gives about
    /// 150 samples, as in LeRobot.
    pub fn add(&mut self, image: &RgbImage) {
        self.counts.resize(3, vec![0; 256]);
        self.frames += 1;
        let (width, height) = image.dimensions();
        let long = width.max(height);
        let stride = if long >= 300 { long / 150 } else { 1 } as usize;
        let row_bytes = width as usize * 3;
        for row in image.chunks_exact(row_bytes.max(1)).step_by(stride) {
            for pixel in row.chunks_exact(3).step_by(stride) {
                for (counts, &level) in self.counts.iter_mut().zip(pixel) {
                    counts[usize::from(level)] += 1;
                }
            }
        }
    }

    /// Adds the frames of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.frames += other.frames;
        self.counts.resize(3, vec![0; 256]);
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            mine.resize(256, 0);
            for (a, b) in mine.iter_mut().zip(theirs) {
                *a += b;
            }
        }
    }

    /// Statistics of the levels scaled to 0..1.
    pub fn stats(&self) -> FeatureStats {
        let mut stats = FeatureStats {
            count: self.frames,
            ..Default::default()
        };
        for counts in &self.counts {
            let n: u64 = counts.iter().sum();
            let moment = |f: &dyn Fn(f64) -> f64| {
                let levels = counts.iter().enumerate();
                levels.map(|(l, &c)| c as f64 * f(l as f64)).sum::<f64>() / n as f64
            };
            let mean = moment(&|l| l);
            let variance = moment(&|l| (l - mean).powi(2));
            let at_rank = |rank: usize| {
                let mut seen = 0;
                let found = counts.iter().position(|&c| {
                    seen += c;
                    seen > rank as u64
                });
                found.map_or(f64::NAN, |l| l as f64)
            };
            let quantile = |q| quantile(n as usize, q, at_rank) / 255.0;
            let extreme = |level: Option<usize>| level.map_or(f64::NAN, |l| l as f64 / 255.0);
            stats.min.push(extreme(counts.iter().position(|&c| c > 0)));
            stats.max.push(extreme(counts.iter().rposition(|&c| c > 0)));
            stats.mean.push(mean / 255.0);
            stats.std.push(variance.sqrt() / 255.0);
            stats.q01.push(quantile(0.01));
            stats.q10.push(quantile(0.10));
            stats.q50.push(quantile(0.50));
            stats.q90.push(quantile(0.90));
            stats.q99.push(quantile(0.99));
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        let mut a = Accumulator::default();
        // numpy.quantile([3, 1, 4, 1, 5, 9, 2, 6], q): computed with numpy 2.2.6.
        a.add_numeric("x", 1, &[3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]);
        let s = &a.stats()["x"];
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(s.q01[0], 1.0);
        close(s.q10[0], 1.0);
        close(s.q50[0], 3.5);
        close(s.q90[0], 6.9);
        close(s.q99[0], 8.79);
        close(s.mean[0], 3.875);
        close(s.std[0], 2.570_870_475_150_391_7);
        assert_eq!((s.min[0], s.max[0], s.count), (1.0, 9.0, 8));
    }

    #[test]
    fn image_statistics_are_channels_first_between_0_and_1() {
        let mut h = PixelHistogram::default();
        h.add(&RgbImage::from_fn(4, 2, |x, _| {
            image::Rgb([0, 255, if x < 2 { 0 } else { 255 }])
        }));
        let mut a = Accumulator::default();
        a.add_pixels("observation.images.front", &h);
        let json: Value = serde_json::from_slice(&a.to_bytes()).unwrap();
        let s = &json["observation.images.front"];
        assert_eq!(s["mean"], json!([[[0.0]], [[1.0]], [[0.5]]]));
        assert_eq!(s["std"], json!([[[0.0]], [[0.0]], [[0.5]]]));
        assert_eq!(s["count"], json!([1]));
    }

    #[test]
    fn a_file_comes_back_as_it_was_written() {
        let mut a = Accumulator::default();
        a.add_numeric("action", 2, &[0.5, 1.0, -0.5, 3.0]);
        let mut h = PixelHistogram::default();
        h.add(&RgbImage::from_pixel(400, 300, image::Rgb([10, 20, 30])));
        a.add_pixels("observation.images.front", &h);
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("meta")).unwrap();
        std::fs::write(path(dir.path()), a.to_bytes()).unwrap();
        let (read, written) = (read(dir.path()).unwrap().unwrap(), a.stats());
        assert_eq!(read.len(), 2);
        for (name, want) in &written {
            assert_eq!(read[name].count, want.count);
            for ((statistic, got), (_, want)) in read[name].named().into_iter().zip(want.named()) {
                let close = got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12);
                assert!(close && got.len() == want.len(), "{name} {statistic}");
            }
        }
    }

    proptest! {
        #[test]
        fn merged_statistics_are_those_of_all_values(parts in prop::collection::vec(prop::collection::vec(-1e3..1e3f64, 1..40), 1..6)) {
            let mut merged = Accumulator::default();
            for part in &parts {
                let mut one = Accumulator::default();
                one.add_numeric("x", 1, part);
                merged.merge(&one);
            }
            let mut whole = Accumulator::default();
            whole.add_numeric("x", 1, &parts.concat());
            prop_assert_eq!(merged.stats(), whole.stats());
        }

        #[test]
        fn merged_histograms_are_those_of_all_frames(levels in prop::collection::vec(any::<[u8; 3]>(), 2..12)) {
            let frame = |p: &[u8; 3]| RgbImage::from_pixel(3, 2, image::Rgb(*p));
            let mut whole = PixelHistogram::default();
            let mut merged = PixelHistogram::default();
            for level in &levels {
                whole.add(&frame(level));
                let mut one = PixelHistogram::default();
                one.add(&frame(level));
                merged.merge(&one);
            }
            prop_assert_eq!(&merged, &whole);
            // The histogram gives the same numbers as the values themselves.
            let mut exact = Accumulator::default();
            let values: Vec<f64> = levels.iter().flat_map(|l| [*l; 6]).flatten().map(|v| f64::from(v) / 255.0).collect();
            exact.add_numeric("x", 3, &values);
            let (a, b) = (whole.stats(), &exact.stats()["x"]);
            for ((name, a), (_, b)) in a.named().into_iter().zip(b.named()) {
                for (a, b) in a.iter().zip(b) {
                    prop_assert!((a - b).abs() < 1e-9, "{}: {} is not {}", name, a, b);
                }
            }
        }
    }
}
