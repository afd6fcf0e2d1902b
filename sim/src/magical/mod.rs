//! X-Magical: pushing blocks in the plane with robots of four bodies, on the physics of Chipmunk.
//!
//! The physics is a subset of Chipmunk 7.0.2 as pymunk 5.6.0 has it (MIT, Scott Lembcke and Howling Moon Software), the tasks
//! are those of x-magical 0.0.4 (ISC, Kevin Zakka), written anew in f64 from their formulas, constants and orders of operation.
//! Only what the tasks need is here: no gravity, no damping, no elasticity, no sleeping.
//!
//! | name | task | starts |
//! | --- | --- | --- |
//! | `x-magical-BODY` | SweepToTop: three blocks to the top | at random (TestLayout) |
//! | `x-magical-BODY-demo` | the same | always the same (Demo) |
//! | `x-magical-avoid-BODY` | RAPL's avoid: a block to the top round a forbidden place | at random |
//! | `x-magical-group-BODY` | RAPL's group: two blocks to the top together | at random |
//!
//! with `BODY` one of `gripper`, `shortstick`, `mediumstick` and `longstick` (RAPL's tasks: `shortstick` and `mediumstick`).
//! Random starts come from the same distribution as x-magical's, not from the same generator.
//!
//! ## Confirmed and not confirmed
//! SweepToTop (geometry, physics, state vector, rewards, score, lengths of episodes) is compared number by number with the
//! original. Of avoid and group only the idea is confirmed; the rewards are the forms that they are remembered to have, and
//! places, sizes and the distance that is safe are ours.

mod arbiter;
mod block;
mod body;
mod canvas;
mod collide;
mod constraint;
mod draw;
mod environment;
mod expert;
mod gjk;
mod robot;
mod shape;
mod space;
mod task;
mod tree;
mod vector;
mod world;

#[cfg(test)]
mod tests;

pub use block::Block;
pub use environment::{Magical, maker, names};
pub use expert::Expert;
pub use robot::{Embodiment, Robot};
pub use space::Space;
pub use task::{Layout, Task};
pub use vector::{Vec2, vec2};
pub use world::World;
