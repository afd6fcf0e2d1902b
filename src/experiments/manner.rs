//! How a rollout is done: well, or with one of the faults that a person would mark it down for. A spread of hidden returns.

use nalgebra::Vector2;
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::sim::script::Operator;
use rapport::sim::tasks::{Avoid, Group};
use rapport::sim::{Reading, tasks};
use serde::{Deserialize, Serialize};

/// A task with a preference that the picture of the goal does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preferred {
    /// Push the cube onto the disc, but keep away from the zone.
    Avoid,
    /// Push both cubes over the line, but together.
    Group,
}

impl Preferred {
    /// Name of the simulated task.
    pub fn task(self) -> &'static str {
        match self {
            Self::Avoid => "so101-avoid",
            Self::Group => "so101-group",
        }
    }

    /// What should be seen, in words, and what is seen anyway. The preference itself cannot be said in the words that the image-text
    /// model knows.
    pub fn in_words(self) -> (&'static str, &'static str) {
        match self {
            Self::Avoid => (
                "the red cube is on the green disc",
                "a red cube, a green disc and a skittle on a table",
            ),
            Self::Group => (
                "the red cube is touching the blue cube",
                "a red cube and a blue cube on a table",
            ),
        }
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avoid => "avoid",
            Self::Group => "group",
        }
    }
}

/// What is wrong with a rollout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manner {
    /// How unsteady the hand is: standard deviation of what is added to each component of the action.
    noise: f64,
    /// Share of the episode after which the hand rests.
    stops: f64,
    /// How far the operator is from respecting the preference: 0 does, 1 does the rest of the task without regard to it.
    disregard: f64,
    /// Which way the operator errs, where both are possible.
    way: f64,
}

/// How far off the operator of avoid believes the zone, m, at most: then the cube goes through its middle.
const ZONE_OFF: f64 = 0.055;
/// How far off the operator of group believes the blue cube, m, at most; beyond half of it, the red cube is left behind.
const CUBE_OFF: f64 = 0.06;
/// Share of the wandering of the hand that is kept from one step to the next.
const PERSISTENCE: f64 = 0.8;

impl Manner {
    /// Without fault, as a demonstration is.
    pub fn good(rng: &mut impl Rng) -> Self {
        Self {
            noise: rng.random_range(0.03..0.12),
            stops: 1.0,
            disregard: 0.0,
            way: 1.0,
        }
    }

    /// One of everything: two in ten good, three without regard to the preference, two that stop on the way, one with a very
    /// unsteady hand, two that both disregard and stop.
    pub fn any(rng: &mut impl Rng) -> Self {
        let mut manner = Self::good(rng);
        manner.way = if rng.random() { 1.0 } else { -1.0 };
        let kind = rng.random_range(0..10);
        if matches!(kind, 2..=4 | 8..=9) {
            manner.disregard = rng.random_range(0.2..1.0);
        }
        if matches!(kind, 5..=6 | 8..=9) {
            manner.stops = rng.random_range(0.1..0.8);
        }
        if kind == 7 {
            manner.noise = rng.random_range(0.4..1.0);
        }
        manner
    }
}

/// An operator of a task who does it in some manner.
pub struct Hand {
    preferred: Preferred,
    manner: Manner,
    operator: Box<dyn Operator>,
    rng: ChaCha8Rng,
    wander: Vec<f64>,
    steps: usize,
    rests_after: usize,
    side: Option<f64>,
}

impl Hand {
    /// Begins an episode.
    pub fn new(preferred: Preferred, manner: Manner, seed: u64) -> anyhow::Result<Self> {
        let task = tasks::by_name(preferred.task())?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut operator = task.operator();
        operator.start(&mut rng);
        Ok(Self {
            preferred,
            manner,
            operator,
            rng,
            wander: Vec::new(),
            steps: 0,
            rests_after: (manner.stops * task.max_steps() as f64).round() as usize,
            side: None,
        })
    }

    /// The action for this moment, each component in `-1..=1`.
    pub fn action(&mut self, reading: &Reading) -> Vec<f32> {
        let mut believed = reading.clone();
        self.misread(&mut believed);
        let intended = self.operator.act(&believed);
        self.steps += 1;
        self.wander.resize(intended.len(), 0.0);
        let fresh = self.manner.noise * (1.0 - PERSISTENCE * PERSISTENCE).sqrt();
        let rests = self.steps > self.rests_after;
        let rng = &mut self.rng;
        intended
            .iter()
            .zip(&mut self.wander)
            .map(|(intended, wander)| {
                *wander = PERSISTENCE * *wander + fresh * normal(rng);
                let wanted = if rests { 0.0 } else { intended + *wander };
                wanted.clamp(-1.0, 1.0) as f32
            })
            .collect()
    }

    /// Makes the operator see what leads to the fault.
    fn misread(&mut self, reading: &mut Reading) {
        let how = self.manner.disregard;
        match self.preferred {
            Preferred::Avoid => {
                let zone = Avoid::zone(reading);
                let cube = reading.cube().map_or(zone, |cube| cube.position().xy());
                let side = *self
                    .side
                    .get_or_insert(if cube.x < zone.x { -1.0 } else { 1.0 });
                if let Some(mark) = reading.marks.get_mut(1) {
                    mark.x -= side * how * ZONE_OFF;
                }
            }
            Preferred::Group if how > 0.5 && reading.objects.len() > Group::BLUE => {
                // The blue cube is taken for the red one, and goes alone.
                reading.objects.swap(Group::RED, Group::BLUE);
            }
            Preferred::Group => {
                if let Some(blue) = reading.objects.get_mut(Group::BLUE) {
                    let off = Vector2::new(self.manner.way * how * 2.0 * CUBE_OFF, 0.0);
                    blue.base_from_object.translation.vector += off.push(0.0);
                }
            }
        }
    }
}

/// A standard normal number, by Box and Muller's method.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}
