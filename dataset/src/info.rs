//! `meta/info.json`: what a dataset holds, typed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Number, Value, json};

use crate::error::{Error, Result};

/// Columns that every dataset has and no caller supplies, with their LeRobot dtype.
pub const DEFAULT_FEATURES: [(&str, &str); 5] = [
    ("timestamp", "float32"),
    ("frame_index", "int64"),
    ("episode_index", "int64"),
    ("index", "int64"),
    ("task_index", "int64"),
];

/// Prefix of the feature that holds a camera's video.
pub const CAMERA_PREFIX: &str = "observation.images.";

/// Content of `meta/info.json`. Keys that are not known here are kept in `other`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// `v3.0`.
    pub codebase_version: String,
    /// Rows per second.
    #[serde(deserialize_with = "whole_number")]
    pub fps: u32,
    /// Features by name, in the order of the file.
    pub features: Features,
    /// Episodes saved.
    #[serde(default)]
    pub total_episodes: usize,
    /// Frames of all episodes.
    #[serde(default)]
    pub total_frames: usize,
    /// Rows of `meta/tasks.parquet`.
    #[serde(default)]
    pub total_tasks: usize,
    /// Files per chunk directory.
    #[serde(default = "default_chunks_size")]
    pub chunks_size: usize,
    /// Target size of a data file in MB.
    #[serde(default = "default_data_size")]
    pub data_files_size_in_mb: Number,
    /// Target size of a video file in MB.
    #[serde(default = "default_video_size")]
    pub video_files_size_in_mb: Number,
    /// Template of the data files' paths.
    #[serde(default = "default_data_path")]
    pub data_path: String,
    /// Template of the video files' paths; none without cameras.
    #[serde(default)]
    pub video_path: Option<String>,
    /// Class name of the robot in LeRobot (`so_follower`).
    #[serde(default)]
    pub robot_type: Option<String>,
    /// Episode ranges by name, `{"train": "0:12"}`.
    #[serde(default)]
    pub splits: BTreeMap<String, String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn default_chunks_size() -> usize {
    1000
}
pub(crate) fn default_data_size() -> Number {
    100.into()
}
pub(crate) fn default_video_size() -> Number {
    200.into()
}
fn default_data_path() -> String {
    "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet".into()
}

fn whole_number<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<u32, D::Error> {
    let fps = f64::deserialize(from)?;
    if fps.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&fps) {
        Ok(fps as u32)
    } else {
        Err(serde::de::Error::custom(format!(
            "fps is {fps}, and must be a positive whole number"
        )))
    }
}

/// One feature of `info.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureInfo {
    /// A numpy dtype name, or `video`, `image`, `string`, `language`.
    pub dtype: String,
    /// Shape of one row; height, width, channels for images.
    pub shape: Vec<usize>,
    /// Names of the components: a list, an object of lists, or null.
    #[serde(default)]
    pub names: Value,
    /// Other keys, such as `info` of a video.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl FeatureInfo {
    /// A numeric feature of `dim` components.
    pub fn numeric(dtype: &str, dim: usize, names: &[String]) -> Self {
        Self {
            dtype: dtype.into(),
            shape: vec![dim],
            names: if names.is_empty() {
                Value::Null
            } else {
                json!(names)
            },
            other: Map::new(),
        }
    }

    /// Number of values in a row.
    pub fn dim(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for a feature stored as numbers in the data files.
    pub fn is_numeric(&self) -> bool {
        matches!(
            self.dtype.as_str(),
            "float64"
                | "float32"
                | "float16"
                | "int64"
                | "int32"
                | "int16"
                | "int8"
                | "uint64"
                | "uint32"
                | "uint16"
                | "uint8"
                | "bool"
        )
    }

    /// True for a feature stored as mp4.
    pub fn is_video(&self) -> bool {
        self.dtype == "video"
    }

    /// Names of the components if there is one for each value, else none.
    pub fn component_names(&self) -> Vec<String> {
        let list = match &self.names {
            Value::Object(map) => map.values().next(),
            other => Some(other),
        };
        let names: Vec<String> = list
            .and_then(Value::as_array)
            .map(|l| {
                l.iter()
                    .filter_map(|v| v.as_str().map(str::to_owned))
                    .collect()
            })
            .unwrap_or_default();
        if names.len() == self.dim() {
            names
        } else {
            Vec::new()
        }
    }

    /// Decoder name of a video (`av1`, `h264`) where the file states it.
    pub fn codec(&self) -> Option<&str> {
        self.other.get("info")?.get("video.codec")?.as_str()
    }
}

/// Features by name, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Features(pub Vec<(String, FeatureInfo)>);

impl TryFrom<Map<String, Value>> for Features {
    type Error = String;

    fn try_from(map: Map<String, Value>) -> std::result::Result<Self, String> {
        map.into_iter()
            .map(|(name, value)| match serde_json::from_value(value) {
                Ok(feature) => Ok((name, feature)),
                Err(e) => Err(format!("feature {name}: {e}")),
            })
            .collect::<std::result::Result<_, _>>()
            .map(Self)
    }
}

impl From<Features> for Map<String, Value> {
    fn from(features: Features) -> Self {
        features
            .0
            .into_iter()
            .map(|(name, f)| (name, json!(f)))
            .collect()
    }
}

impl Features {
    /// The feature of that name.
    pub fn get(&self, name: &str) -> Option<&FeatureInfo> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, f)| f)
    }

    /// Name and description in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FeatureInfo)> {
        self.0.iter().map(|(n, f)| (n.as_str(), f))
    }

    /// Video features in order.
    pub fn videos(&self) -> impl Iterator<Item = (&str, &FeatureInfo)> {
        self.iter().filter(|(_, f)| f.is_video())
    }

    /// Numeric features in order, the default ones included.
    pub fn numeric(&self) -> impl Iterator<Item = (&str, &FeatureInfo)> {
        self.iter().filter(|(_, f)| f.is_numeric())
    }
}

/// True for a column that the dataset itself maintains.
pub fn is_default(name: &str) -> bool {
    DEFAULT_FEATURES.iter().any(|(n, _)| *n == name)
}

/// Number of a file: which chunk directory, which file in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileIndex {
    /// Chunk directory.
    pub chunk: usize,
    /// File in the chunk.
    pub file: usize,
}

impl FileIndex {
    /// The number after this one when a chunk holds `chunks_size` files.
    pub fn next(self, chunks_size: usize) -> Self {
        if self.file + 1 >= chunks_size {
            Self {
                chunk: self.chunk + 1,
                file: 0,
            }
        } else {
            Self {
                chunk: self.chunk,
                file: self.file + 1,
            }
        }
    }

    /// Reads the numbers from a path `…/chunk-012/file-345.ext`.
    pub fn from_path(path: &Path) -> Option<Self> {
        let number = |name: &std::ffi::OsStr, prefix| {
            name.to_str()?.strip_prefix(prefix)?.parse::<usize>().ok()
        };
        Some(Self {
            chunk: number(path.parent()?.file_name()?, "chunk-")?,
            file: number(path.file_stem()?, "file-")?,
        })
    }
}

impl Info {
    /// Reads `meta/info.json` of the dataset in `dir`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADataset`], [`Error::OldVersion`], [`Error::NewVersion`], or [`Error::Corrupt`].
    pub fn read(dir: &Path) -> Result<Self> {
        if !dir.exists() {
            return Err(Error::NotFound { path: dir.into() });
        }
        let path = Self::path(dir);
        if !path.is_file() {
            return Err(Error::NotADataset { path: dir.into() });
        }
        let text = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        let value: Value = serde_json::from_slice(&text)
            .map_err(|e| Error::corrupt(&path, format!("it is not JSON ({e})")))?;
        // The version decides before the types do: older files have other keys.
        let version = value
            .get("codebase_version")
            .and_then(Value::as_str)
            .ok_or_else(|| Error::corrupt(&path, "it has no codebase_version"))?
            .to_owned();
        let major: u32 = version
            .trim_start_matches('v')
            .split('.')
            .next()
            .and_then(|m| m.parse().ok())
            .ok_or_else(|| {
                Error::corrupt(&path, format!("codebase_version {version} is no version"))
            })?;
        match major {
            3 => {}
            0..3 => {
                return Err(Error::OldVersion {
                    path: dir.into(),
                    version,
                });
            }
            _ => {
                return Err(Error::NewVersion {
                    path: dir.into(),
                    version,
                });
            }
        }
        let info: Self =
            serde_json::from_value(value).map_err(|e| Error::corrupt(&path, e.to_string()))?;
        if info.chunks_size == 0 {
            return Err(Error::corrupt(&path, "chunks_size is 0"));
        }
        Ok(info)
    }

    /// Where `info.json` of the dataset in `dir` lies.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("meta/info.json")
    }

    /// Content of the file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            serde_json::to_vec_pretty(self).expect("a struct of plain values serialises");
        bytes.push(b'\n');
        bytes
    }

    /// Path of a data file, relative to the dataset.
    pub fn data_file(&self, at: FileIndex) -> PathBuf {
        fill(&self.data_path, "", at).into()
    }

    /// Path of a video file, relative to the dataset; none when `info.json` names no place for videos.
    pub fn video_file(&self, key: &str, at: FileIndex) -> Option<PathBuf> {
        Some(fill(self.video_path.as_deref()?, key, at).into())
    }

    /// Path of an episode table, relative to the dataset.
    pub fn episodes_file(at: FileIndex) -> PathBuf {
        fill(
            "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "",
            at,
        )
        .into()
    }

    /// Feature name of a camera given by its name (`front`) or its feature name.
    pub fn camera_key(&self, camera: &str) -> Option<String> {
        let long = format!("{CAMERA_PREFIX}{camera}");
        [long, camera.to_owned()].into_iter().find(|key| {
            self.features
                .get(key)
                .is_some_and(|f| matches!(f.dtype.as_str(), "video" | "image"))
        })
    }
}

/// Name of a camera from its feature name.
pub fn camera_name(key: &str) -> &str {
    key.strip_prefix(CAMERA_PREFIX).unwrap_or(key)
}

/// Replaces `{name}` and `{name:03d}` as Python's `str.format` does for the three names LeRobot uses.
fn fill(template: &str, video_key: &str, at: FileIndex) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((field, tail)) = after.split_once('}') else {
            break;
        };
        out.push_str(before);
        let (name, spec) = field.split_once(':').unwrap_or((field, ""));
        let width = spec.trim_end_matches('d').parse().unwrap_or(0);
        match name {
            "video_key" => out.push_str(video_key),
            "chunk_index" | "episode_chunk" => out.push_str(&format!("{:0width$}", at.chunk)),
            "file_index" => out.push_str(&format!("{:0width$}", at.file)),
            _ => {
                out.push('{');
                out.push_str(field);
                out.push('}');
            }
        }
        rest = tail;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_numbers_roll_over_into_the_next_chunk() {
        let at = FileIndex { chunk: 0, file: 8 };
        assert_eq!(at.next(10), FileIndex { chunk: 0, file: 9 });
        assert_eq!(at.next(10).next(10), FileIndex { chunk: 1, file: 0 });
        let path = Info::episodes_file(FileIndex { chunk: 1, file: 23 });
        assert_eq!(path, Path::new("meta/episodes/chunk-001/file-023.parquet"));
        assert_eq!(
            FileIndex::from_path(&path),
            Some(FileIndex { chunk: 1, file: 23 })
        );
    }

    #[test]
    fn unknown_keys_and_key_order_survive_a_round_trip() {
        let text = r#"{"codebase_version":"v3.1","fps":30.0,"features":{"z":{"dtype":"float32","shape":[2],"names":["a","b"],"fps":30},"a":{"dtype":"bool","shape":[1],"names":null}},"total_videos":4,"splits":{"train":"0:1"}}"#;
        let info: Info = serde_json::from_str(text).unwrap();
        assert_eq!(info.fps, 30);
        assert_eq!(
            info.features.get("z").unwrap().component_names(),
            ["a", "b"]
        );
        let again: Info = serde_json::from_slice(&info.to_bytes()).unwrap();
        assert_eq!(again, info);
        assert_eq!(again.other["total_videos"], 4);
        let names: Vec<_> = again.features.iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["z", "a"]);
    }

    #[test]
    fn fractional_fps_is_refused() {
        let text = r#"{"codebase_version":"v3.0","fps":29.97,"features":{}}"#;
        let e = serde_json::from_str::<Info>(text).unwrap_err();
        assert!(e.to_string().contains("29.97"), "{e}");
    }
}
