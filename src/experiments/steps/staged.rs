//! Demonstrations whose true steps are known, each in a room of its own.

use image::RgbImage;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::sim::render::Backend;
use rapport::sim::{Env, EnvConfig, Reading, Script, ScriptConfig};
use serde::{Deserialize, Serialize};

use super::BenchConfig;
use super::judge::cuts_of;
use crate::experiments::side_by_side::side_by_side;
use crate::ui::Ui;

/// A task whose steps are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Staged {
    /// Open a door: reach the handle, hook the finger behind it, open.
    Door,
    /// Pour: fetch the cup, carry it, tip it.
    Pour,
    /// Lift a cube: reach it, close on it, lift it.
    Lift,
}

impl Staged {
    /// All.
    pub const ALL: [Self; 3] = [Self::Door, Self::Pour, Self::Lift];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Pour => "pour",
            Self::Lift => "lift",
        }
    }

    fn task(self) -> &'static str {
        match self {
            Self::Door => "so101-door",
            Self::Pour => "so101-pour",
            Self::Lift => "so101-lift",
        }
    }

    /// What the steps are, by their number.
    pub fn steps(self, count: usize) -> &'static [&'static str] {
        match (self, count) {
            (Self::Door, 2) => &["reach", "open"],
            (Self::Door, _) => &["reach", "hook", "open"],
            (Self::Pour, 2) => &["fetch", "carry and pour"],
            (Self::Pour, _) => &["fetch", "carry", "pour"],
            (Self::Lift, 2) => &["reach and grasp", "lift"],
            (Self::Lift, _) => &["reach", "grasp", "lift"],
        }
    }

    /// Which of three steps has begun in this state, were it the only one known.
    fn begun(self, reading: &Reading) -> usize {
        match self {
            Self::Door => {
                let Some(door) = reading.fixtures.first() else {
                    return 0;
                };
                let way = door.handle - reading.tool();
                if door.opening > 0.05 {
                    2
                } else {
                    usize::from(way.xy().norm() < 0.015 && way.z > -0.01)
                }
            }
            Self::Pour => {
                let Some(cup) = reading.objects.first() else {
                    return 0;
                };
                let up = cup.base_from_object.rotation * nalgebra::Vector3::z();
                // Half its height stands on the table; tipped by 30 degrees it pours soon.
                if up.z < 0.87 {
                    2
                } else {
                    usize::from(cup.position().z > 0.030 + 0.010)
                }
            }
            Self::Lift => {
                let Some(cube) = reading.cube() else {
                    return 0;
                };
                if cube.position().z > 0.015 + 0.005 {
                    2
                } else {
                    usize::from(reading.grip() < -0.1)
                }
            }
        }
    }
}

/// One demonstration.
pub struct Video {
    /// Ten a second.
    pub pictures: Vec<RgbImage>,
    /// Which of three steps each frame belongs to.
    pub labels: Vec<usize>,
}

/// Films as many successful demonstrations as are wanted, each in a room of its own.
pub fn film(config: &BenchConfig, task: Staged, seed: u64, ui: Ui) -> anyhow::Result<Vec<Video>> {
    let count = config.demonstrations + config.tests;
    let bar = ui.bar(count as u64, "filming demonstrations");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut videos = Vec::with_capacity(count);
    // An operator with an unsteady hand fails now and then; a demonstration is a success.
    for _ in 0..5 {
        let wanted = count - videos.len();
        let seeds: Vec<u64> = (0..wanted).map(|_| rng.random()).collect();
        let taken = side_by_side(
            &seeds,
            || bar.inc(1),
            || {
                let mut env = Env::new(
                    task.task(),
                    EnvConfig {
                        renderer: Backend::Cpu,
                        image_width: config.side,
                        image_height: config.side,
                        randomisation: config.rooms.clone(),
                        ..EnvConfig::default()
                    },
                )?;
                Ok(move |seed: &u64| demonstrate(&mut env, task, *seed))
            },
        )?;
        let usable = |video: &Video| {
            let cuts = cuts_of(&video.labels);
            cuts.len() == 2 && video.labels.len() >= 3 * config.min_size
        };
        videos.extend(taken.into_iter().flatten().filter(usable));
        if videos.len() >= count {
            break;
        }
    }
    bar.finish_and_clear();
    anyhow::ensure!(
        videos.len() >= count,
        "only {} of {count} demonstrations of {} succeeded",
        videos.len(),
        task.name()
    );
    Ok(videos)
}

/// One demonstration; None when it failed.
fn demonstrate(env: &mut Env, task: Staged, seed: u64) -> anyhow::Result<Option<Video>> {
    env.reset(seed)?;
    let mut script = Script::new(env.task().clone(), ScriptConfig::default(), seed);
    let mut video = Video {
        pictures: Vec::new(),
        labels: Vec::new(),
    };
    let mut step = 0;
    for _ in 0..env.max_steps() {
        let reading = env.reading()?;
        // A step that has begun is not begun again.
        step = step.max(task.begun(&reading));
        video.pictures.push(env.render("front")?);
        video.labels.push(step);
        let action = script.action(&reading);
        if script.is_done() {
            return Ok(Some(video));
        }
        env.step(&action)?;
    }
    Ok(None)
}
