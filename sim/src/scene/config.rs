//! What a scene is made of: free objects, furniture that opens, marks, and how finely time is cut.

use serde::{Deserialize, Serialize};

use super::SceneError;

/// Red, green and blue, each in `0..=1`.
pub type Colour = [f64; 3];

/// The colour of the cube that most tasks are about.
pub const RED: Colour = [0.85, 0.10, 0.10];
/// The colour of a second cube.
pub const BLUE: Colour = [0.10, 0.28, 0.80];
/// The colour of places to go to.
pub const GREEN: Colour = [0.10, 0.65, 0.25];
/// The colour of places to keep away from.
pub const BLACK: Colour = [0.07, 0.07, 0.08];
/// The colour of furniture.
pub const OAK: Colour = [0.55, 0.38, 0.22];
/// The colour of cups and skittles.
pub const WHITE: Colour = [0.92, 0.92, 0.90];

/// What lies on the table, and how finely time is cut. Things are known by their number in these lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneConfig {
    /// Length of a physics step, s. 4 to 5 ms hold a grasp as well as 2 ms does.
    pub timestep_s: f64,
    /// Things that can be moved, in the order of [`Reading::objects`](crate::Reading::objects).
    pub objects: Vec<ObjectConfig>,
    /// Furniture that stays where it is put, in the order of [`Reading::fixtures`](crate::Reading::fixtures).
    pub fixtures: Vec<FixtureConfig>,
    /// Marks that nothing collides with, in the order of [`Reading::marks`](crate::Reading::marks).
    pub marks: Vec<MarkConfig>,
}

impl Default for SceneConfig {
    fn default() -> Self {
        Self {
            timestep_s: 0.005,
            objects: Vec::new(),
            fixtures: Vec::new(),
            marks: Vec::new(),
        }
    }
}

/// A thing that can be pushed and lifted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectConfig {
    /// Its name in the model: letters, digits and underscores.
    pub name: String,
    /// Its shape.
    pub shape: ObjectShape,
    /// Mass, kg.
    pub mass_kg: f64,
    /// Sliding friction against the table and other objects; a ball has none. Against the fingers it is 1.
    pub friction: f64,
    /// Colour.
    pub colour: Colour,
}

impl Default for ObjectConfig {
    /// The red cube, 3 cm wide, 30 g.
    fn default() -> Self {
        Self {
            name: "cube".into(),
            shape: ObjectShape::Box {
                size_m: [Self::CUBE_SIDE; 3],
            },
            mass_kg: 0.03,
            friction: 0.5,
            colour: RED,
        }
    }
}

impl ObjectConfig {
    /// Length of an edge of the usual cube, m.
    pub const CUBE_SIDE: f64 = 0.03;

    /// The usual cube in another colour.
    pub fn cube(name: &str, colour: Colour) -> Self {
        Self {
            name: name.into(),
            colour,
            ..Self::default()
        }
    }
}

/// The shape of an object. Its frame is in the middle, z up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ObjectShape {
    /// A box.
    Box {
        /// Lengths of the edges, m.
        size_m: [f64; 3],
    },
    /// A ball. It slides without friction, which at this size looks like rolling and costs half as much time.
    Ball {
        /// Radius, m.
        radius_m: f64,
    },
    /// A square cup, open above.
    Cup {
        /// Outer width, m.
        width_m: f64,
        /// Height, m.
        height_m: f64,
        /// Thickness of walls and floor, m.
        wall_m: f64,
    },
}

impl ObjectShape {
    /// Half the lengths of its bounding box, m.
    pub fn half_size(&self) -> [f64; 3] {
        match *self {
            Self::Box { size_m } => size_m.map(|edge| 0.5 * edge),
            Self::Ball { radius_m } => [radius_m; 3],
            Self::Cup {
                width_m, height_m, ..
            } => [0.5 * width_m, 0.5 * width_m, 0.5 * height_m],
        }
    }
}

/// A piece of furniture. Its frame is on the table below its middle; the side that opens looks along x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixtureConfig {
    /// Its name in the model: letters, digits and underscores.
    pub name: String,
    /// What it is.
    pub kind: FixtureKind,
    /// Colour.
    #[serde(default = "oak")]
    pub colour: Colour,
}

fn oak() -> Colour {
    OAK
}

/// What a piece of furniture is. Sizes: depth along x, width along y, height along z, m.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FixtureKind {
    /// A cabinet with a door, hinged at its right (seen from the front), a bar as its handle. Opening: the angle, rad.
    Door {
        /// Depth, width and height of the cabinet.
        size_m: [f64; 3],
    },
    /// A chest with one drawer, a bar as its handle. Opening: how far it is out, m.
    Drawer {
        /// Depth, width and height of the chest.
        size_m: [f64; 3],
    },
    /// A square tray with low walls. It does not open.
    Tray {
        /// Depth, width and height.
        size_m: [f64; 3],
    },
}

impl FixtureKind {
    /// Depth, width and height, m.
    pub fn size_m(&self) -> [f64; 3] {
        match *self {
            Self::Door { size_m } | Self::Drawer { size_m } | Self::Tray { size_m } => size_m,
        }
    }
}

/// A mark that nothing collides with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkConfig {
    /// Its name in the model: letters, digits and underscores.
    pub name: String,
    /// Its shape.
    pub shape: MarkShape,
    /// Colour.
    #[serde(default = "green")]
    pub colour: Colour,
}

fn green() -> Colour {
    GREEN
}

impl MarkConfig {
    /// The green mark called `target`.
    pub fn target(shape: MarkShape) -> Self {
        Self {
            name: "target".into(),
            shape,
            colour: GREEN,
        }
    }
}

/// The shape of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MarkShape {
    /// A flat disc on the table.
    Disc {
        /// Radius, m.
        radius_m: f64,
    },
    /// A flat strip on the table.
    Strip {
        /// Lengths along x and y, m.
        size_m: [f64; 2],
    },
    /// A ball in the air.
    Ball {
        /// Radius, m.
        radius_m: f64,
    },
}

impl MarkShape {
    /// Whether it lies on the table, wherever it is moved.
    pub fn is_flat(&self) -> bool {
        !matches!(self, Self::Ball { .. })
    }
}

/// Whether a scene can be built from these numbers.
pub(super) fn check(config: &SceneConfig) -> Result<(), SceneError> {
    if !(1e-4..=0.01).contains(&config.timestep_s) {
        return Err(SceneError::Config(format!(
            "timestep_s must be within 0.0001..=0.01, it is {}",
            config.timestep_s
        )));
    }
    let mut names: Vec<&str> = Vec::new();
    for ObjectConfig {
        name,
        shape,
        mass_kg,
        friction,
        colour,
    } in &config.objects
    {
        named(&mut names, name, colour)?;
        positive(name, "mass_kg", &[*mass_kg])?;
        positive(name, "friction", &[*friction])?;
        match shape {
            ObjectShape::Box { size_m } => positive(name, "size_m", size_m)?,
            ObjectShape::Ball { radius_m } => positive(name, "radius_m", &[*radius_m])?,
            ObjectShape::Cup {
                width_m,
                height_m,
                wall_m,
            } => {
                positive(name, "wall_m", &[*wall_m])?;
                positive(name, "width_m less its walls", &[width_m - 2.0 * wall_m])?;
                positive(name, "height_m less its floor", &[height_m - wall_m])?;
            }
        }
    }
    for fixture in &config.fixtures {
        named(&mut names, &fixture.name, &fixture.colour)?;
        // Thinner than this the walls of a cabinet would not leave a space between them.
        let inside = fixture.kind.size_m().map(|size| size - 0.02);
        positive(&fixture.name, "each number of size_m less 0.02", &inside)?;
    }
    for mark in &config.marks {
        named(&mut names, &mark.name, &mark.colour)?;
        match &mark.shape {
            MarkShape::Disc { radius_m } | MarkShape::Ball { radius_m } => {
                positive(&mark.name, "radius_m", &[*radius_m])?;
            }
            MarkShape::Strip { size_m } => positive(&mark.name, "size_m", size_m)?,
        }
    }
    Ok(())
}

fn named<'a>(names: &mut Vec<&'a str>, name: &'a str, colour: &Colour) -> Result<(), SceneError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(SceneError::Config(format!(
            "the name {name:?} must be letters, digits and underscores"
        )));
    }
    if names.contains(&name) {
        return Err(SceneError::Config(format!("two things are named {name}")));
    }
    names.push(name);
    if colour.iter().all(|part| (0.0..=1.0).contains(part)) {
        Ok(())
    } else {
        Err(SceneError::Config(format!(
            "{name}: colour must be three numbers within 0..=1"
        )))
    }
}

fn positive(name: &str, what: &str, values: &[f64]) -> Result<(), SceneError> {
    if values.iter().all(|&value| value.is_finite() && value > 0.0) {
        Ok(())
    } else {
        Err(SceneError::Config(format!(
            "{name}: {what} must be above 0"
        )))
    }
}
