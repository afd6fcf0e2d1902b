//! What is true of a state, by rule.

use rand_chacha::ChaCha8Rng;
use rapport::sim::Reading;
use rapport::sim::scene::{FixtureKind, MarkShape, ObjectShape, SceneConfig};

use super::words::{self, Split};

/// A thing that a sentence speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Thing {
    /// What it is: `cube`, `disc`, ...
    pub kind: &'static str,
    /// The word for its colour, where it is told apart by one.
    pub colour: Option<&'static str>,
}

impl Thing {
    /// A thing without a colour.
    pub fn plain(kind: &'static str) -> Self {
        Self { kind, colour: None }
    }

    /// A thing with one.
    #[cfg(test)]
    pub fn coloured(kind: &'static str, colour: &'static str) -> Self {
        let colour = Some(colour);
        Self { kind, colour }
    }
}

/// How things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// A thing lies on a mark.
    On,
    /// Middles nearer than 2 cm (a cube: 3.5 cm).
    Touching,
    /// Near, without touching.
    Beside,
    /// At a middling distance.
    Away,
    /// Further than 15 cm.
    Far,
    /// The gripper has it, above the table.
    Held,
    /// It lies on the table.
    Lying,
    /// A thing lies on another.
    Stacked,
    /// Wide open.
    Open,
    /// Half open.
    HalfOpen,
    /// Closed.
    Closed,
    /// What there is, whatever its state.
    Scene,
}

/// One thing that is true of a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fact {
    /// How.
    pub relation: Relation,
    /// What, in the order of the sentence.
    pub things: Vec<Thing>,
}

impl Fact {
    /// A fact.
    pub fn new(relation: Relation, things: Vec<Thing>) -> Self {
        Self { relation, things }
    }

    /// It as a sentence, phrasing and nouns drawn from a split.
    pub fn sentence(&self, split: Split, rng: &mut ChaCha8Rng) -> String {
        words::sentence(self, split, rng)
    }
}

/// Words for the colours of a scene's objects, marks and fixtures, in the scene's order; `None` where nobody would mention it.
#[derive(Clone, Debug, Default)]
pub struct Colouring {
    /// Of the objects.
    pub objects: Vec<Option<&'static str>>,
    /// Of the marks.
    pub marks: Vec<Option<&'static str>>,
    /// Of the furniture.
    pub fixtures: Vec<Option<&'static str>>,
}

/// The things of a scene: objects, marks, fixtures.
pub fn things(scene: &SceneConfig, colouring: &Colouring) -> [Vec<Thing>; 3] {
    let thing = |kind, colour: Option<&Option<&'static str>>| Thing {
        kind,
        colour: colour.copied().flatten(),
    };
    let objects = scene.objects.iter().enumerate().map(|(i, object)| {
        let kind = match object.shape {
            ObjectShape::Box { size_m } if size_m[2] > 1.5 * size_m[0] => "skittle",
            ObjectShape::Box { .. } => "cube",
            ObjectShape::Ball { .. } => "ball",
            ObjectShape::Cup { .. } => "cup",
        };
        thing(kind, colouring.objects.get(i))
    });
    let marks = scene.marks.iter().enumerate().map(|(i, mark)| {
        let kind = match mark.shape {
            MarkShape::Disc { .. } => "disc",
            MarkShape::Strip { .. } => "line",
            MarkShape::Ball { .. } => "ball",
        };
        thing(kind, colouring.marks.get(i))
    });
    let fixtures = scene.fixtures.iter().enumerate().map(|(i, fixture)| {
        let kind = match fixture.kind {
            FixtureKind::Door { .. } => "door",
            FixtureKind::Drawer { .. } => "drawer",
            FixtureKind::Tray { .. } => "tray",
        };
        thing(kind, colouring.fixtures.get(i))
    });
    [objects.collect(), marks.collect(), fixtures.collect()]
}

/// Which of the distances that have a name this is, m; `touch` is the largest that counts as touching. Between two names lies a
/// stretch that has none.
fn distance(d: f64, touch: f64, touching: Relation) -> Option<Relation> {
    if d < touch {
        Some(touching)
    } else if (touch + 0.01..touch + 0.05).contains(&d) {
        Some(Relation::Beside)
    } else if (touch + 0.06..0.14).contains(&d) {
        Some(Relation::Away)
    } else if d > 0.15 {
        Some(Relation::Far)
    } else {
        None
    }
}

/// Everything that is true of a state, the scene itself last.
pub fn facts(scene: &SceneConfig, colouring: &Colouring, reading: &Reading) -> Vec<Fact> {
    let [objects, marks, fixtures] = things(scene, colouring);
    let tool = reading.tool();
    let gripper = Thing::plain("gripper");
    let mut facts = Vec::new();
    let mut say = |relation, things: &[&Thing]| {
        facts.push(Fact::new(
            relation,
            things.iter().map(|&t| t.clone()).collect(),
        ));
    };
    for (i, object) in objects.iter().enumerate() {
        let place = reading.objects[i].position();
        let half = scene.objects[i].shape.half_size()[2];
        let held = (place - tool).norm() < 0.02 && place.z > half + 0.01;
        if held {
            say(Relation::Held, &[&gripper, object]);
        } else if let Some(how) = distance((place - tool).norm(), 0.035, Relation::Touching) {
            say(how, &[&gripper, object]);
        }
        if place.z < half + 0.005 {
            say(Relation::Lying, &[object]);
        }
        for (j, mark) in marks.iter().enumerate() {
            if !matches!(scene.marks[j].shape, MarkShape::Disc { .. }) || held {
                continue;
            }
            let apart = (place.xy() - reading.marks[j].xy()).norm();
            if let Some(how) = distance(apart, 0.032, Relation::On) {
                say(how, &[object, mark]);
            }
        }
        for (j, other) in objects.iter().enumerate() {
            let off = place - reading.objects[j].position();
            if i == j || held {
                continue;
            }
            if off.xy().norm() < 0.015 && off.z > 0.02 {
                say(Relation::Stacked, &[object, other]);
            } else if i < j
                && off.z.abs() < 0.01
                && let Some(how) = distance(off.norm(), 0.036, Relation::Touching)
            {
                say(how, &[object, other]);
            }
        }
    }
    for (j, mark) in marks.iter().enumerate() {
        if matches!(scene.marks[j].shape, MarkShape::Ball { .. })
            && let Some(how) = distance((reading.marks[j] - tool).norm(), 0.018, Relation::Touching)
        {
            say(how, &[&gripper, mark]);
        }
    }
    for (k, fixture) in fixtures.iter().enumerate() {
        // A door's angle, rad; a drawer opens 6 cm.
        let widest = match scene.fixtures[k].kind {
            FixtureKind::Door { .. } => 1.3,
            FixtureKind::Drawer { .. } => 0.06,
            FixtureKind::Tray { .. } => continue,
        };
        match reading.fixtures[k].opening / widest {
            share if share < 0.08 => say(Relation::Closed, &[fixture]),
            share if (0.3..0.6).contains(&share) => say(Relation::HalfOpen, &[fixture]),
            share if share > 0.75 => say(Relation::Open, &[fixture]),
            _ => {}
        }
    }
    let all: Vec<&Thing> = objects.iter().chain(&marks).chain(&fixtures).collect();
    say(Relation::Scene, &all);
    facts
}
