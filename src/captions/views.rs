//! States of the simulator's scenes as pictures with facts.

use std::sync::Arc;

use image::RgbImage;
use nalgebra::{Translation3, UnitQuaternion, Vector3};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rapport::sim::render::{Backend, Eyes, Quality};
use rapport::sim::scene::{Colour, ObjectConfig};
use rapport::sim::{Reading, Scene, Task, World, tasks};

use super::facts::{Colouring, Fact, Relation, Thing, facts, things};
use super::words::{Split, colours};

/// Tasks whose scenes training sees.
pub const TASKS: [&str; 5] = [
    "so101-reach",
    "so101-push",
    "so101-lift",
    "so101-stack",
    "so101-door",
];

/// Tasks whose scenes it never sees.
pub const UNSEEN_TASKS: [&str; 3] = ["so101-drawer", "so101-avoid", "so101-sort"];

/// The camera of every picture, and its size, pixels.
const CAMERA: &str = "front";
const SIDE: u32 = 112;

/// Where things are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where the task puts them when arm and object are independent.
    AsInTask,
    /// Marks too, and the goal more often than chance reaches it.
    Anywhere,
}

/// One state.
pub struct View {
    /// What the camera sees.
    pub picture: RgbImage,
    /// What is true, the scene itself last.
    pub facts: Vec<Fact>,
    /// How far the task is from done: a negative distance.
    pub progress: f64,
}

/// A scene in colours of its own.
pub struct Scenery {
    task: Arc<dyn Task>,
    world: World,
    eyes: Eyes,
    colouring: Colouring,
    place: Place,
}

impl Scenery {
    /// The scene of a task in colours drawn from a split: no two things have the same, but a cube to be sorted has its disc's.
    pub fn new(
        task: &str,
        split: Split,
        place: Place,
        rng: &mut ChaCha8Rng,
    ) -> anyhow::Result<Self> {
        let task = tasks::by_name(task)?;
        let mut config = task.scene();
        let mut colouring = Colouring::default();
        let sorts = task.name() == "so101-sort";
        let mut left: Vec<_> = colours(split).to_vec();
        if split == Split::HeldOut {
            // Few are held out: the rest of a scene keeps to those that are known.
            left.extend(colours(Split::Trained).iter().take(2));
        }
        let mut first = true;
        let mut draw = |rng: &mut ChaCha8Rng, colour: &mut Colour| {
            let among = match (split, first) {
                (Split::HeldOut, true) => colours(split).len(),
                _ => left.len(),
            };
            first = false;
            let (word, base) = left.remove(rng.random_range(0..among));
            *colour = base.map(|part| (part + rng.random_range(-0.05..0.05)).clamp(0.0, 1.0));
            Some(word)
        };
        for object in &mut config.objects {
            let word = draw(rng, &mut object.colour);
            colouring.objects.push(word);
        }
        for (i, mark) in config.marks.iter_mut().enumerate() {
            let word = match colouring.objects.get(i).filter(|_| sorts) {
                Some(word) => {
                    // Darker than its cube, which must be seen on it.
                    mark.colour = config.objects[i].colour.map(|part| 0.65 * part);
                    *word
                }
                None => draw(rng, &mut mark.colour),
            };
            colouring.marks.push(word);
        }
        colouring.fixtures.resize(config.fixtures.len(), None);
        let world = World::new(Scene::new(config)?)?;
        let eyes = Eyes::new(world.scene().model().clone(), Backend::Cpu, Quality::Fast);
        Ok(Self {
            task,
            world,
            eyes,
            colouring,
            place,
        })
    }

    /// What the task asks for, as facts that all hold when it is done, and what its scene is anyway.
    pub fn goal(&self) -> (Vec<Fact>, Fact) {
        let scene = self.world.scene().config();
        let [objects, marks, fixtures] = things(scene, &self.colouring);
        let gripper = Thing::plain("gripper");
        let two = |relation, a: &Thing, b: &Thing| Fact::new(relation, vec![a.clone(), b.clone()]);
        let goals = match self.task.name() {
            "so101-reach" => vec![two(Relation::Touching, &gripper, &marks[0])],
            "so101-lift" => vec![two(Relation::Held, &gripper, &objects[0])],
            "so101-stack" => vec![two(Relation::Stacked, &objects[0], &objects[1])],
            "so101-sort" => (0..2)
                .map(|i| two(Relation::On, &objects[i], &marks[i]))
                .collect(),
            "so101-door" | "so101-drawer" => {
                vec![Fact::new(Relation::Open, vec![fixtures[0].clone()])]
            }
            _ => vec![two(Relation::On, &objects[0], &marks[0])],
        };
        let all = [objects, marks, fixtures].concat();
        (goals, Fact::new(Relation::Scene, all))
    }

    /// Another state.
    pub fn view(&mut self, rng: &mut ChaCha8Rng) -> anyhow::Result<View> {
        self.world.reset();
        self.task.reset_independently(&self.world, rng)?;
        if self.place == Place::Anywhere {
            self.scatter(rng)?;
        }
        let reading = self.world.reading()?;
        let mut picture = RgbImage::new(SIDE, SIDE);
        self.eyes.render(&self.world, CAMERA, &mut picture)?;
        Ok(View {
            picture,
            facts: facts(self.world.scene().config(), &self.colouring, &reading),
            progress: self.progress(&reading),
        })
    }

    /// The task's own measure, for a mark wherever it is and a cube however it got there.
    fn progress(&self, reading: &Reading) -> f64 {
        match self.task.name() {
            "so101-push" | "so101-avoid" => {
                let way = reading.objects[0].position().xy() - reading.marks[0].xy();
                -way.norm()
            }
            _ => self.task.progress(reading),
        }
    }

    /// Moves marks, and brings about the goal or nearly so in a part of all states.
    fn scatter(&self, rng: &mut ChaCha8Rng) -> anyhow::Result<()> {
        let world = &self.world;
        let mut within = |low: f64, high: f64| rng.random_range(low..high);
        let tool = world.base_from_tool()?.translation.vector;
        match self.task.name() {
            "so101-reach" if within(0.0, 1.0) < 0.55 => {
                let reach = if within(0.0, 1.0) < 0.5 { 0.012 } else { 0.06 };
                let off = Vector3::from_fn(|_, _| within(-reach, reach));
                let mut ball = tool + off;
                ball.z = ball.z.max(0.015);
                world.place_target(ball)?;
            }
            "so101-push" => {
                if within(0.0, 1.0) < 0.6 {
                    world.place_target(Vector3::new(
                        within(0.17, 0.27),
                        within(-0.13, 0.14),
                        0.0,
                    ))?;
                }
                let reading = world.reading()?;
                let disc = reading.marks[0];
                let far = if within(0.0, 1.0) < 0.5 { 0.02 } else { 0.09 };
                let (x, y) = (disc.x + within(-far, far), disc.y + within(-far, far));
                let clear = (tool.xy() - nalgebra::Vector2::new(x, y)).norm() > 0.042;
                if within(0.0, 1.0) < 0.5 && clear {
                    world.place_object(0, x, y, within(-0.7, 0.7))?;
                }
            }
            "so101-lift" if within(0.0, 1.0) < 0.5 => {
                let off = Vector3::from_fn(|_, _| within(-0.004, 0.004));
                world.put_object(
                    0,
                    &nalgebra::Isometry3::from_parts(
                        Translation3::from(tool + off),
                        UnitQuaternion::from_euler_angles(0.0, 0.0, within(-0.3, 0.3)),
                    ),
                )?;
            }
            "so101-stack" => {
                let reading = world.reading()?;
                let below = reading.objects[1].position();
                match within(0.0, 1.0) {
                    share if share < 0.35 => {
                        let place = Vector3::new(
                            below.x + within(-0.008, 0.008),
                            below.y + within(-0.008, 0.008),
                            below.z + ObjectConfig::CUBE_SIDE,
                        );
                        world.put_object(
                            0,
                            &nalgebra::Isometry3::from_parts(
                                Translation3::from(place),
                                UnitQuaternion::from_euler_angles(0.0, 0.0, within(-0.7, 0.7)),
                            ),
                        )?;
                    }
                    share if share < 0.5 => {
                        let angle = within(0.0, std::f64::consts::TAU);
                        let apart = within(0.04, 0.075);
                        world.place_object(
                            0,
                            below.x + apart * angle.cos(),
                            below.y + apart * angle.sin(),
                            within(-0.2, 0.2),
                        )?;
                    }
                    share if share < 0.65 => {
                        world.put_object(
                            0,
                            &nalgebra::Isometry3::translation(tool.x, tool.y, tool.z),
                        )?;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn a_cube_that_was_put_on_the_disc_is_said_to_be_there_and_one_far_away_is_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut scenery =
            Scenery::new("so101-push", Split::Trained, Place::Anywhere, &mut rng).unwrap();
        let (goal, scene) = scenery.goal();
        let (mut on, mut off) = (0, 0);
        for _ in 0..60 {
            let view = scenery.view(&mut rng).unwrap();
            assert_eq!(view.facts.last(), Some(&scene));
            let said = view.facts.contains(&goal[0]);
            assert_eq!(said, -view.progress < 0.032);
            if said { on += 1 } else { off += 1 }
        }
        assert!(on > 5 && off > 20, "{on} {off}");
    }

    #[test]
    fn every_scene_has_a_goal_that_some_state_fulfils() {
        for task in TASKS {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let mut scenery =
                Scenery::new(task, Split::Trained, Place::Anywhere, &mut rng).unwrap();
            let (goal, _) = scenery.goal();
            let done = (0..80)
                .filter(|_| scenery.view(&mut rng).unwrap().facts.contains(&goal[0]))
                .count();
            assert!(done > 4, "{task}: {done}");
        }
        for task in UNSEEN_TASKS {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let mut scenery =
                Scenery::new(task, Split::HeldOut, Place::AsInTask, &mut rng).unwrap();
            assert!(
                !scenery.goal().0.is_empty() && !scenery.view(&mut rng).unwrap().facts.is_empty()
            );
        }
    }
}
