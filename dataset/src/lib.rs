//! Demonstrations on disk: LeRobotDataset v3 read, write and verify; video.
//!
//! - [`Episode`] is what everything else works with; [`Dataset`] reads it, [`DatasetWriter`] records it.
//! - [`verify()`] checks every file of a dataset and reports each finding in a sentence.
//! - [`video`] reads and writes mp4 files on their own.

mod commit;
pub mod config;
mod data;
mod durable;
pub mod episode;
mod episodes;
mod error;
pub mod info;
mod parquet_io;
mod progress;
mod reader;
mod recording;
mod recovery;
pub mod stats;
mod tasks;
pub mod verify;
pub mod video;
mod writer;

pub use config::{CameraFeature, DatasetConfig, Dtype, Feature};
pub use episode::{Column, Episode};
pub use episodes::{EpisodeMeta, VideoSpan};
pub use error::{Error, Result};
pub use info::Info;
pub use progress::{PROGRESS_FILE, read_progress, write_progress};
pub use reader::Dataset;
pub use recording::EpisodeWriter;
pub use recovery::{Repaired, repair};
pub use verify::{Depth, Finding, Report, Severity, verify, verify_to};
pub use video::VideoCodec;
pub use writer::DatasetWriter;
