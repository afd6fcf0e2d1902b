//! Reports a person can open: one self-contained HTML file with plots, numbers and videos.

pub mod html;
pub mod plots;
