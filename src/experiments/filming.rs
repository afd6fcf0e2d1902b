//! Rollouts as clips: one episode, filmed at even times on as many sets as are wanted, with the hidden reward of every frame.

use image::RgbImage;
use rapport::sim::randomise::{Randomisation, Range};
use rapport::sim::render::{Backend, Quality};
use rapport::sim::{Body, Double, Env, EnvConfig};
use serde::{Deserialize, Serialize};

use super::manner::{Hand, Manner, Preferred};
use super::side_by_side::side_by_side;

/// How the test clips look, compared with those that were learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Set {
    /// Just the same.
    Same,
    /// A table of another colour and other light, new in every clip.
    Room,
    /// Another arm: the published SO-101's meshes in place of the primitive shapes.
    Arm,
    /// Both.
    RoomAndArm,
}

impl Set {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Same, Self::Room, Self::Arm, Self::RoomAndArm];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same looks",
            Self::Room => "new table and light",
            Self::Arm => "another arm",
            Self::RoomAndArm => "both",
        }
    }

    fn body(self) -> Body {
        match self {
            Self::Same | Self::Room => Body::Primitive,
            Self::Arm | Self::RoomAndArm => Body::Published,
        }
    }

    fn is_redecorated(self) -> bool {
        matches!(self, Self::Room | Self::RoomAndArm)
    }
}

/// What a new room may be like: the colour of the table, where the light stands and how strong it is.
fn rooms() -> Randomisation {
    Randomisation {
        colour: Some(Range::new(-0.4, 0.2)),
        light: Some(Range::new(0.5, 1.5)),
        light_m: Some(Range::new(-0.4, 0.4)),
        ..Randomisation::default()
    }
}

/// Only the room changes: cubes, marks and the arm keep their colours.
fn is_of_the_room(change: &str) -> bool {
    change.starts_with("colour.table.") || change.starts_with("light")
}

/// One episode.
pub struct Take {
    /// Pictures by set and time.
    pub pictures: Vec<Vec<RgbImage>>,
    /// The hidden reward at those times.
    pub truth: Vec<f64>,
    /// Mean of the hidden reward over all steps of the episode: what the person judges by.
    pub hidden_return: f64,
    /// Whether the task was done at the end, by its own test.
    pub success: bool,
}

/// What is wanted of a take.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// How it is done.
    pub manner: Manner,
    /// Seed of start, hand and room.
    pub seed: u64,
}

/// How takes are filmed.
#[derive(Clone, Copy, Debug)]
pub struct Camera {
    /// Frames of a clip, the first and the last state among them.
    pub frames: usize,
    /// Side of the square pictures, pixels.
    pub side: u32,
}

/// A simulated task with its sets.
struct Studio {
    preferred: Preferred,
    env: Env,
    sets: Vec<(Set, Double)>,
    camera: Camera,
}

impl Studio {
    fn new(preferred: Preferred, sets: &[Set], camera: Camera) -> anyhow::Result<Self> {
        let env = Env::new(
            preferred.task(),
            EnvConfig {
                renderer: Backend::Cpu,
                ..EnvConfig::default()
            },
        )?;
        let sets = sets
            .iter()
            .map(|&set| {
                let scene = env.world().scene();
                let double = Double::new(scene, set.body(), Backend::Cpu, Quality::Fast)?;
                Ok((set, double))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            preferred,
            env,
            sets,
            camera,
        })
    }

    fn film(&mut self, order: Order) -> anyhow::Result<Take> {
        self.env.reset(order.seed)?;
        for (set, double) in &mut self.sets {
            if set.is_redecorated() {
                double.dress(&rooms(), order.seed, is_of_the_room);
            }
        }
        let mut hand = Hand::new(self.preferred, order.manner, order.seed)?;
        let (steps, frames) = (self.env.max_steps(), self.camera.frames);
        let shown: Vec<usize> = (0..frames)
            .map(|i| (i * steps) / (frames - 1).max(1))
            .collect();
        let mut take = Take {
            pictures: vec![Vec::with_capacity(frames); self.sets.len()],
            truth: Vec::with_capacity(frames),
            hidden_return: 0.0,
            success: false,
        };
        for t in 0..=steps {
            let reading = self.env.reading()?;
            let reward = self.env.task().reward(&reading);
            take.hidden_return += reward / (steps + 1) as f64;
            take.success = self.env.task().success(&reading);
            if shown.contains(&t) {
                take.truth.push(reward);
                for ((_, double), pictures) in self.sets.iter_mut().zip(&mut take.pictures) {
                    let mut picture = RgbImage::new(self.camera.side, self.camera.side);
                    double.render(self.env.world(), "front", &mut picture)?;
                    pictures.push(picture);
                }
            }
            if t < steps {
                self.env.step(&hand.action(&reading))?;
            }
        }
        Ok(take)
    }
}

/// Films all orders, on as many threads as there are cores. The result does not depend on their number.
pub fn film(
    preferred: Preferred,
    sets: &[Set],
    camera: Camera,
    orders: &[Order],
    tick: impl FnMut(),
) -> anyhow::Result<Vec<Take>> {
    side_by_side(orders, tick, || {
        let mut studio = Studio::new(preferred, sets, camera)?;
        Ok(move |order: &Order| studio.film(*order))
    })
}
