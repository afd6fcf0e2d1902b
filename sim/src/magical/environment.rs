//! The worlds of X-Magical as environments.

use image::RgbImage;
use rapport_robot::action::ActionError;

use super::draw::{CAMERAS, paint};
use super::robot::Embodiment;
use super::task::{Layout, Task};
use super::world::{POLICY_HZ, World};
use crate::env::{EnvConfig, EnvError};
use crate::environment::{Actions, Description, EnvState, Environment, Maker, Outcome};
use crate::world::WorldError;

/// A task, a body and a layout as an environment.
#[derive(Debug)]
pub struct Magical {
    description: Description,
    world: World,
    layout: Layout,
    step: usize,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    name: &'static str,
    task: Task,
    embodiment: Embodiment,
    layout: Layout,
}

/// Everything that has a name.
const NAMED: [Named; 12] = {
    use Embodiment::{Gripper, Longstick, Mediumstick, Shortstick};
    use Layout::{Demo, TestLayout};
    use Task::{Avoid, Group, Sweep};
    const fn named(name: &'static str, task: Task, body: Embodiment, layout: Layout) -> Named {
        Named {
            name,
            task,
            embodiment: body,
            layout,
        }
    }
    [
        named("x-magical-gripper", Sweep, Gripper, TestLayout),
        named("x-magical-shortstick", Sweep, Shortstick, TestLayout),
        named("x-magical-mediumstick", Sweep, Mediumstick, TestLayout),
        named("x-magical-longstick", Sweep, Longstick, TestLayout),
        named("x-magical-gripper-demo", Sweep, Gripper, Demo),
        named("x-magical-shortstick-demo", Sweep, Shortstick, Demo),
        named("x-magical-mediumstick-demo", Sweep, Mediumstick, Demo),
        named("x-magical-longstick-demo", Sweep, Longstick, Demo),
        named("x-magical-avoid-shortstick", Avoid, Shortstick, TestLayout),
        named(
            "x-magical-avoid-mediumstick",
            Avoid,
            Mediumstick,
            TestLayout,
        ),
        named("x-magical-group-shortstick", Group, Shortstick, TestLayout),
        named(
            "x-magical-group-mediumstick",
            Group,
            Mediumstick,
            TestLayout,
        ),
    ]
};

/// The names of the environments.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|named| named.name)
}

/// What makes the environment called `name`; None when it is not one of these. Of the configuration only the number of steps
/// matters.
pub fn maker(name: &str, config: &EnvConfig) -> Option<Maker> {
    let named = *NAMED.iter().find(|named| named.name == name)?;
    let max_steps = config.max_steps;
    Some(Maker::from_fn(move || {
        let mut env = Magical::new(named.task, named.embodiment, named.layout);
        env.description.name = named.name.into();
        if let Some(max_steps) = max_steps {
            env.description.max_steps = max_steps;
        }
        Ok(Box::new(env))
    }))
}

impl Magical {
    /// This task with this body, at its beginning.
    pub fn new(task: Task, embodiment: Embodiment, layout: Layout) -> Self {
        let world = World::begin(task, embodiment, layout, 0);
        let description = Description {
            name: format!("x-magical-{task:?}-{}-{layout:?}", embodiment.name()),
            instruction: task.instruction().into(),
            observation: world.observation_names(),
            action: Actions::Continuous(vec![(-1.0, 1.0); embodiment.action_len()]),
            max_steps: match embodiment {
                Embodiment::Longstick => 50,
                _ => 100,
            },
            policy_hz: POLICY_HZ,
            cameras: CAMERAS.map(String::from).to_vec(),
        };
        Self {
            description,
            world,
            layout,
            step: 0,
        }
    }

    /// The world behind it.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Begins an episode in a world that somebody else has set up.
    pub fn set_world(&mut self, world: World) {
        self.world = world;
        self.step = 0;
    }
}

/// What [`EnvState`] holds.
struct Saved {
    world: World,
    step: usize,
}

impl Environment for Magical {
    fn description(&self) -> &Description {
        &self.description
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvError> {
        let (task, embodiment) = (self.world.task(), self.world.robot().embodiment());
        self.set_world(World::begin(task, embodiment, self.layout, seed));
        Ok(())
    }

    fn observe(&self, out: &mut [f64]) {
        self.world.observe(out);
    }

    fn step(&mut self, action: &[f64]) -> Result<Outcome, EnvError> {
        let expected = self.description.action_len();
        if action.len() != expected {
            let found = action.len();
            return Err(ActionError::Length { expected, found }.into());
        }
        if let Some(index) = action.iter().position(|value| !value.is_finite()) {
            return Err(ActionError::NotFinite { index }.into());
        }
        self.world.step(action);
        self.step += 1;
        if !self.world.is_finite() {
            return Err(WorldError::Diverged {
                at_s: self.step as f64 / POLICY_HZ,
                what: "a body has left all numbers".into(),
            }
            .into());
        }
        let (reward, progress) = self.world.reward();
        Ok(Outcome {
            reward,
            progress,
            success: self.world.is_done(),
            terminated: false,
            truncated: self.step >= self.description.max_steps,
        })
    }

    fn render(&mut self, camera: &str, out: &mut RgbImage) -> Result<(), EnvError> {
        Ok(paint(&self.world, camera, out)?)
    }

    fn save(&self) -> Result<EnvState, EnvError> {
        let saved = Saved {
            world: self.world.clone(),
            step: self.step,
        };
        Ok(EnvState::new(&self.description.name, saved))
    }

    fn restore(&mut self, state: &EnvState) -> Result<(), EnvError> {
        let saved: &Saved = state.inner(&self.description)?;
        self.world.clone_from(&saved.world);
        self.step = saved.step;
        Ok(())
    }
}
