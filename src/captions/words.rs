//! The words that captions are made of, and which of them training never sees.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rapport::sim::scene::Colour;

use super::facts::{Fact, Relation, Thing};

/// What may be used: what training sees, or what was held out for measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// What training sees.
    Trained,
    /// What it never sees.
    HeldOut,
}

/// Colours that training sees, by name.
const TRAINED: [(&str, Colour); 10] = [
    ("red", [0.85, 0.10, 0.10]),
    ("green", [0.10, 0.65, 0.25]),
    ("blue", [0.10, 0.28, 0.80]),
    ("yellow", [0.92, 0.82, 0.12]),
    ("white", [0.92, 0.92, 0.90]),
    ("black", [0.07, 0.07, 0.08]),
    ("pink", [0.95, 0.45, 0.65]),
    ("brown", [0.45, 0.27, 0.12]),
    ("cyan", [0.15, 0.80, 0.85]),
    ("violet", [0.42, 0.14, 0.70]),
];

/// Colours that it never sees.
const HELD_OUT: [(&str, Colour); 3] = [
    ("orange", [0.95, 0.50, 0.08]),
    ("turquoise", [0.12, 0.68, 0.58]),
    ("magenta", [0.80, 0.12, 0.62]),
];

/// The colours of a split.
pub fn colours(split: Split) -> &'static [(&'static str, Colour)] {
    match split {
        Split::Trained => &TRAINED,
        Split::HeldOut => &HELD_OUT,
    }
}

/// Nouns of a kind of thing; the first is the usual one, the last is held out where there are several.
fn nouns(kind: &str) -> &'static [&'static str] {
    match kind {
        "cube" => &["cube", "block", "box", "brick"],
        "disc" => &["disc", "circle", "round mark", "pad"],
        "ball" => &["ball", "sphere", "globe"],
        "skittle" => &["skittle", "post"],
        "line" => &["line", "stripe"],
        "door" => &["door of the cabinet", "cabinet door", "door"],
        "drawer" => &["drawer"],
        "gripper" => &[
            "gripper",
            "tip of the gripper",
            "hand of the robot",
            "robot's fingers",
        ],
        _ => &["thing"],
    }
}

/// Ways of saying that a relation holds: those that training sees, and those that it never sees.
fn phrasings(relation: Relation) -> (&'static [&'static str], &'static [&'static str]) {
    match relation {
        Relation::On => (
            &[
                "the {a} is on the {b}",
                "the {a} lies on the {b}",
                "the {a} has arrived at the {b}",
                "the {b} is under the {a}",
                "the {a} rests upon the {b}",
                "the {a} is inside the {b}",
            ],
            &[
                "the {a} sits on top of the {b}",
                "the {a} has been pushed onto the {b}",
                "somebody put the {a} onto the {b}",
            ],
        ),
        Relation::Touching => (
            &[
                "the {a} touches the {b}",
                "the {a} is at the {b}",
                "the {a} has reached the {b}",
                "the {b} is touched by the {a}",
            ],
            &[
                "the {a} is in contact with the {b}",
                "the {a} made it to the {b}",
            ],
        ),
        Relation::Beside => (
            &[
                "the {a} is beside the {b}",
                "the {a} is next to the {b}",
                "the {a} is close to the {b}",
                "the {b} is near the {a}",
            ],
            &[
                "the {a} is right by the {b}",
                "hardly any way is left from the {a} to the {b}",
            ],
        ),
        Relation::Away => (
            &[
                "the {a} is some way from the {b}",
                "the {a} is not at the {b} yet",
                "there is a gap between the {a} and the {b}",
            ],
            &["the {a} and the {b} are some distance apart"],
        ),
        Relation::Far => (
            &[
                "the {a} is far from the {b}",
                "the {a} is a long way off the {b}",
                "the {a} and the {b} are far apart",
            ],
            &["the {a} is nowhere near the {b}"],
        ),
        Relation::Held => (
            &[
                "the {a} holds the {b}",
                "the {b} is in the {a}",
                "the {a} has lifted the {b}",
                "the {b} is up in the air",
                "the {b} was picked up",
            ],
            &[
                "the {a} carries the {b} above the table",
                "the {b} hangs in the {a}",
            ],
        ),
        Relation::Lying => (
            &[
                "the {a} lies on the table",
                "the {a} is on the table",
                "the {a} was not picked up",
            ],
            &["the {a} still stands on the ground"],
        ),
        Relation::Stacked => (
            &[
                "the {a} is on top of the {b}",
                "the {a} is stacked on the {b}",
                "the {b} carries the {a}",
            ],
            &["the {a} and the {b} make a tower"],
        ),
        Relation::Open => (
            &[
                "the {a} is open",
                "the {a} is wide open",
                "the {a} stands open",
            ],
            &["somebody opened the {a}"],
        ),
        Relation::HalfOpen => (
            &["the {a} is half open", "the {a} is partly open"],
            &["the {a} is ajar"],
        ),
        Relation::Closed => (
            &["the {a} is closed", "the {a} is shut"],
            &["nobody opened the {a}"],
        ),
        Relation::Scene => (
            &[
                "a robot arm, {all}",
                "a table with {all}",
                "{all} on a table before a robot",
                "a picture of a robot arm with {all}",
            ],
            &["a robot and {all}"],
        ),
    }
}

/// The fact as a sentence, with nouns and phrasing drawn from a split.
pub fn sentence(fact: &Fact, split: Split, rng: &mut ChaCha8Rng) -> String {
    let (trained, held_out) = phrasings(fact.relation);
    let from = match split {
        Split::Trained => trained,
        Split::HeldOut => held_out,
    };
    let mut text = from[rng.random_range(0..from.len())].to_owned();
    let mut name = |thing: &Thing| {
        let nouns = nouns(thing.kind);
        let trained = nouns.len().saturating_sub(1).max(1);
        let noun = match split {
            Split::Trained => nouns[rng.random_range(0..trained)],
            Split::HeldOut => nouns[nouns.len() - 1],
        };
        match thing.colour {
            Some(colour) => format!("{colour} {noun}"),
            None => noun.to_owned(),
        }
    };
    for (mark, thing) in ["{a}", "{b}"].iter().zip(&fact.things) {
        let name = name(thing);
        text = text.replace(mark, &name);
    }
    if text.contains("{all}") {
        let all: Vec<String> = fact
            .things
            .iter()
            .map(|t| format!("a {}", name(t)))
            .collect();
        text = text.replace("{all}", &all.join(" and "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn held_out_words_are_never_drawn_for_training() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let cube = Thing::coloured("cube", "red");
        let disc = Thing::coloured("disc", "green");
        let on = Fact::new(Relation::On, vec![cube, disc]);
        for _ in 0..300 {
            let text = sentence(&on, Split::Trained, &mut rng);
            assert!(!text.contains('{') && text.contains("red ") && text.contains("green "));
            for word in ["brick", "pad", "sits", "pushed", "somebody"] {
                assert!(!text.contains(word), "{text}");
            }
            let text = sentence(&on, Split::HeldOut, &mut rng);
            assert!(
                text.contains("red brick") && text.contains("green pad"),
                "{text}"
            );
        }
    }

    #[test]
    fn no_colour_is_in_both_splits() {
        for (word, colour) in colours(Split::HeldOut) {
            for (other, near) in colours(Split::Trained) {
                let apart: f64 = colour.iter().zip(near).map(|(a, b)| (a - b).powi(2)).sum();
                assert!(word != other && apart > 0.01, "{word} {other}");
            }
        }
    }
}
