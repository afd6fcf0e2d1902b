//! Demonstrations on disk: LeRobotDataset v3 read, write and verify; video.

pub mod episode;

pub use episode::{Column, Episode};
