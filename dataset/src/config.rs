//! [`DatasetConfig`]: what a dataset records, fixed when it is created.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::episode::Episode;
use crate::error::{Error, Result};
use crate::info::{
    self, CAMERA_PREFIX, DEFAULT_FEATURES, FeatureInfo, Features, Info, camera_name,
};
use crate::video::VideoCodec;

/// How a numeric feature is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    #[default]
    Float32,
    /// Truth value; recorded values must be 0 or 1.
    Bool,
    /// 64-bit integer; recorded values must be whole.
    Int64,
}

impl Dtype {
    /// Name in `info.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Bool => "bool",
            Self::Int64 => "int64",
        }
    }

    /// Whether `value` can be stored without change.
    pub(crate) fn holds(self, value: f32) -> bool {
        match self {
            Self::Float32 => true,
            Self::Bool => value == 0.0 || value == 1.0,
            // Beyond this a 32-bit float skips integers, so the number would already have been rounded.
            Self::Int64 => value.fract() == 0.0 && value.abs() <= 16_777_216.0,
        }
    }
}

/// A numeric feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// LeRobot feature name (`observation.state`, `action`, `next.reward`).
    pub name: String,
    /// Number of components.
    pub dim: usize,
    /// Names of the components, `[dim]`, or empty.
    #[serde(default)]
    pub names: Vec<String>,
    /// How it is stored.
    #[serde(default)]
    pub dtype: Dtype,
}

impl Feature {
    /// A float feature of `dim` components without names.
    pub fn new(name: impl Into<String>, dim: usize) -> Self {
        Self {
            name: name.into(),
            dim,
            names: Vec::new(),
            dtype: Dtype::Float32,
        }
    }

    /// A float feature with one component for each name.
    pub fn named<N: Into<String>>(
        name: impl Into<String>,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        Self {
            dim: names.len(),
            names,
            ..Self::new(name, 0)
        }
    }

    /// The same feature stored as `dtype`.
    pub fn stored_as(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }
}

/// A camera, stored as the video feature `observation.images.<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraFeature {
    /// Name of the camera (`front`).
    pub name: String,
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
}

impl CameraFeature {
    /// A camera of `width` × `height` pixels.
    pub fn new(name: impl Into<String>, width: u32, height: u32) -> Self {
        Self {
            name: name.into(),
            width,
            height,
        }
    }

    /// Feature name. A name that already is one (`observation.image`) stays as it is.
    pub fn key(&self) -> String {
        if self.name.starts_with("observation.") {
            self.name.clone()
        } else {
            format!("{CAMERA_PREFIX}{}", self.name)
        }
    }
}

/// What a dataset records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// Rows per second.
    pub fps: u32,
    /// Class name of the robot in LeRobot (`so_follower`); training tools show it.
    #[serde(default = "unknown_robot")]
    pub robot_type: String,
    /// Numeric features.
    pub features: Vec<Feature>,
    /// Cameras.
    #[serde(default)]
    pub cameras: Vec<CameraFeature>,
    /// Compression of the cameras' video.
    #[serde(default)]
    pub codec: VideoCodec,
}

fn unknown_robot() -> String {
    "unknown".into()
}

impl DatasetConfig {
    /// A dataset into which `episode` fits: its columns as floats and its cameras.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the episode has a camera without images.
    pub fn for_episode(episode: &Episode, robot_type: &str, codec: VideoCodec) -> Result<Self> {
        let features = episode
            .columns
            .iter()
            .map(|(name, c)| Feature {
                name: name.clone(),
                dim: c.dim,
                names: c.names.clone(),
                dtype: Dtype::Float32,
            })
            .collect();
        let cameras = episode
            .cameras
            .iter()
            .map(|(name, images)| match images.first() {
                Some(i) => Ok(CameraFeature::new(name, i.width(), i.height())),
                None => Err(Error::Invalid(format!("camera {name} has no image"))),
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            fps: episode.fps,
            robot_type: robot_type.into(),
            features,
            cameras,
            codec,
        })
    }

    /// Checks that a dataset of this kind can be written and read by LeRobot.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the first thing that is wrong.
    pub fn validate(&self) -> Result<()> {
        let invalid = |why: String| Err(Error::Invalid(why));
        if !(1..=1000).contains(&self.fps) {
            return invalid(format!("fps is {}, and must be from 1 to 1000", self.fps));
        }
        if self.features.is_empty() {
            return invalid("a dataset needs at least one numeric feature".into());
        }
        let mut keys = Vec::new();
        for feature in &self.features {
            let name = &feature.name;
            check_name("feature", name)?;
            if info::is_default(name) {
                return invalid(format!(
                    "feature {name} is maintained by the dataset itself; leave it out"
                ));
            }
            if name.contains("image") {
                return invalid(format!(
                    "feature {name} is numeric, and LeRobot takes every name with \"image\" for a camera; rename it"
                ));
            }
            if feature.dim == 0 || feature.dim > 100_000 {
                return invalid(format!("feature {name} has {} components", feature.dim));
            }
            if !feature.names.is_empty() && feature.names.len() != feature.dim {
                return invalid(format!(
                    "feature {name} has {} components and {} names; give one name each, or none",
                    feature.dim,
                    feature.names.len()
                ));
            }
            keys.push(name.clone());
        }
        for camera in &self.cameras {
            check_name("camera", &camera.name)?;
            self.codec
                .check_size(camera.width, camera.height)
                .map_err(|e| Error::Invalid(format!("camera {}: {e}", camera.name)))?;
            keys.push(camera.key());
        }
        keys.sort();
        if let Some(pair) = keys.windows(2).find(|w| w[0] == w[1]) {
            return invalid(format!("there are two features called {}", pair[0]));
        }
        Ok(())
    }

    /// `info.json` of an empty dataset.
    pub(crate) fn info(&self) -> Info {
        let mut features: Vec<(String, FeatureInfo)> = Vec::new();
        for f in &self.features {
            let info = FeatureInfo::numeric(f.dtype.name(), f.dim, &f.names);
            features.push((f.name.clone(), info));
        }
        for camera in &self.cameras {
            features.push((camera.key(), self.video_info(camera)));
        }
        for (name, dtype) in DEFAULT_FEATURES {
            features.push((name.into(), FeatureInfo::numeric(dtype, 1, &[])));
        }
        Info {
            codebase_version: "v3.0".into(),
            fps: self.fps,
            features: Features(features),
            total_episodes: 0,
            total_frames: 0,
            total_tasks: 0,
            chunks_size: 1000,
            data_files_size_in_mb: info::default_data_size(),
            video_files_size_in_mb: info::default_video_size(),
            data_path: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet".into(),
            video_path: (!self.cameras.is_empty()).then(|| {
                "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4".into()
            }),
            robot_type: Some(self.robot_type.clone()),
            splits: [("train".to_owned(), "0:0".to_owned())].into(),
            other: Map::new(),
        }
    }

    fn video_info(&self, camera: &CameraFeature) -> FeatureInfo {
        let preset = self.codec.preset();
        let details = json!({
            "is_depth_map": false,
            "video.height": camera.height,
            "video.width": camera.width,
            "video.codec": self.codec.name(),
            "video.pix_fmt": "yuv420p",
            "video.fps": self.fps,
            "video.channels": 3,
            "has_audio": false,
            "video.g": self.codec.gop(),
            "video.crf": self.codec.crf(),
            "video.preset": preset.parse::<u32>().map_or(json!(preset), |n| json!(n)),
        });
        FeatureInfo {
            dtype: "video".into(),
            shape: vec![camera.height as usize, camera.width as usize, 3],
            names: json!(["height", "width", "channels"]),
            other: [("info".to_owned(), details)].into_iter().collect(),
        }
    }

    /// What the existing dataset in `dir` records.
    pub(crate) fn of_dataset(dir: &Path, info: &Info) -> Result<Self> {
        let refuse = |why: String| {
            Err(Error::Invalid(format!(
                "nothing can be appended to {}: {why}; start a new dataset instead",
                dir.display()
            )))
        };
        let mut config = Self {
            fps: info.fps,
            robot_type: info.robot_type.clone().unwrap_or_else(unknown_robot),
            features: Vec::new(),
            cameras: Vec::new(),
            codec: VideoCodec::default(),
        };
        let mut codecs = Vec::new();
        for (name, f) in info.features.iter().filter(|(n, _)| !info::is_default(n)) {
            let dtype = [Dtype::Float32, Dtype::Bool, Dtype::Int64]
                .into_iter()
                .find(|d| d.name() == f.dtype);
            match (dtype, f.shape.as_slice()) {
                (Some(dtype), &[dim]) => config.features.push(Feature {
                    name: name.into(),
                    dim,
                    names: f.component_names(),
                    dtype,
                }),
                (None, &[height, width, 3]) if f.is_video() => {
                    let codec = f.codec().unwrap_or("unknown");
                    let Some(codec) = VideoCodec::from_name(codec) else {
                        return refuse(format!(
                            "camera {name} is stored as {codec} video, and this program writes av1 and h264"
                        ));
                    };
                    codecs.push(codec);
                    config.cameras.push(CameraFeature::new(
                        camera_name(name),
                        width as u32,
                        height as u32,
                    ));
                }
                _ => {
                    return refuse(format!(
                        "feature {name} is {} of shape {:?}, and this program records rows of float32, bool or int64 and RGB video",
                        f.dtype, f.shape
                    ));
                }
            }
        }
        if let Some(&codec) = codecs.first() {
            if codecs.iter().any(|c| *c != codec) {
                return refuse("its cameras use different codecs".into());
            }
            config.codec = codec;
        }
        config.validate()?;
        Ok(config)
    }
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let bad = |c: char| c == '/' || c == '\\' || c == '{' || c == '}' || c.is_control();
    if name.is_empty() || name.starts_with('.') || name.contains(bad) || name.len() > 200 {
        return Err(Error::Invalid(format!(
            "{what} name {name:?} cannot be used; it becomes a directory and a column, so use letters, digits, dots and underscores"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> DatasetConfig {
        DatasetConfig {
            fps: 30,
            robot_type: "so_follower".into(),
            features: vec![
                Feature::named("action", ["a", "b"]),
                Feature::new("next.done", 1).stored_as(Dtype::Bool),
            ],
            cameras: vec![CameraFeature::new("front", 64, 64)],
            codec: VideoCodec::H264,
        }
    }

    #[test]
    fn info_json_says_the_same_as_the_configuration() {
        let info = config().info();
        let again: Info = serde_json::from_slice(&info.to_bytes()).unwrap();
        assert_eq!(again, info);
        let back = DatasetConfig::of_dataset(Path::new("x"), &again).unwrap();
        assert_eq!(back, config());
        let order: Vec<_> = info.features.iter().map(|(n, _)| n).collect();
        assert_eq!(
            order[..3],
            ["action", "next.done", "observation.images.front"]
        );
    }

    #[test]
    fn unusable_configurations_are_refused_with_the_reason() {
        let refused = |change: &dyn Fn(&mut DatasetConfig), reason: &str| {
            let mut c = config();
            change(&mut c);
            let e = c.validate().unwrap_err().to_string();
            assert!(e.contains(reason), "{e}");
        };
        config().validate().unwrap();
        refused(&|c| c.fps = 0, "fps is 0");
        refused(&|c| c.features.clear(), "at least one");
        refused(&|c| c.features[0].name = "a/b".into(), "a/b");
        refused(&|c| c.features[0].name = "index".into(), "maintained by");
        refused(&|c| c.features[0].name = "image_x".into(), "image_x");
        refused(&|c| c.features[0].dim = 3, "3 components and 2 names");
        refused(&|c| c.features[1].name = "action".into(), "two features");
        refused(&|c| c.cameras[0].width = 65, "65 × 64");
        refused(&|c| c.cameras[0].name = "..".into(), "camera name");
    }

    #[test]
    fn unknown_keys_in_a_configuration_are_refused() {
        let mut json = serde_json::to_value(config()).unwrap();
        serde_json::from_value::<DatasetConfig>(json.clone()).unwrap();
        json["fpss"] = 3.into();
        assert!(serde_json::from_value::<DatasetConfig>(json).is_err());
    }
}
