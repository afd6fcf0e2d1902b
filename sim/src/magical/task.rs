//! The tasks: what lies where, what a policy sees of it, and what it is worth.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::block::Block;
use super::vector::{Vec2, vec2};

/// Height above which a block counts as brought, m.
const BROUGHT: f64 = 0.88;
/// The height that blocks are brought to, m.
pub const GOAL_HEIGHT: f64 = 1.0;
/// Reference length of distances in observations: the arena's diagonal, m.
pub const DIAGONAL: f64 = 2.8284271247461903;
/// The place that blocks must not touch: where it is, and its radius, m.
pub const FORBIDDEN: (Vec2, f64) = (vec2(0.0, 0.35), 0.2);
/// A block's centre that is nearer than this to the forbidden place's touches it, m.
pub const SAFE_DISTANCE: f64 = 0.3;
/// Two blocks whose centres are nearer than this are together, m.
pub const TOGETHER: f64 = 0.35;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Bring three blocks to the top: SweepToTop.
    Sweep,
    /// Bring a block to the top round a place that it must not touch.
    Avoid,
    /// Bring two blocks to the top together.
    Group,
}

/// How the blocks lie when an episode begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Always the same.
    Demo,
    /// At random.
    TestLayout,
}

/// Where along x a block can begin, m.
const COLUMNS: [f64; 4] = [-0.8, -0.32, 0.16, 0.64];

impl Task {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sweep, Self::Avoid, Self::Group];

    /// In words.
    pub fn instruction(self) -> &'static str {
        match self {
            Self::Sweep => "Push all blocks into the zone at the top.",
            Self::Avoid => {
                "Push the block into the zone at the top without touching the yellow disc."
            }
            Self::Group => "Push both blocks into the zone at the top together.",
        }
    }

    /// How many blocks there are.
    pub fn blocks(self) -> usize {
        match self {
            Self::Sweep => 3,
            Self::Avoid => 1,
            Self::Group => 2,
        }
    }

    /// Where the blocks begin. `seed` does not matter for [`Layout::Demo`].
    pub fn starts(self, layout: Layout, seed: u64) -> Vec<Vec2> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        match (self, layout) {
            (Self::Sweep, Layout::Demo) => {
                vec![vec2(-0.5, 0.0), vec2(0.0, 0.0), vec2(0.5, 0.0)]
            }
            (Self::Avoid, Layout::Demo) => vec![vec2(0.0, -0.1)],
            (Self::Group, Layout::Demo) => vec![vec2(-0.25, 0.0), vec2(0.25, 0.0)],
            (Self::Avoid, Layout::TestLayout) => {
                vec![vec2(
                    rng.random_range(-0.25..0.25),
                    rng.random_range(-0.2..0.0),
                )]
            }
            (Self::Group, Layout::TestLayout) => {
                let (x, y) = (rng.random_range(-0.2..0.2), rng.random_range(-0.1..0.3));
                let half = rng.random_range(0.4..0.55) / 2.0;
                vec![vec2(x - half, y), vec2(x + half, y)]
            }
            (Self::Sweep, Layout::TestLayout) => {
                let y = rng.random_range(-0.1..0.5);
                let mut columns = COLUMNS;
                for i in 0..self.blocks() {
                    let j = rng.random_range(i..columns.len());
                    columns.swap(i, j);
                }
                let columns = &columns[..self.blocks()];
                columns.iter().map(|&x| vec2(x, y)).collect()
            }
        }
    }

    /// The reward of a state, and how far it is from done.
    ///
    /// Sweep: the share of blocks that are wholly in the zone, X-Magical's sparse reward and score; progress is its dense
    /// reward, less the mean distance to the top. Avoid and group: the forms that RAPL's hidden rewards are remembered to
    /// have, `-d(block, goal) - 2 [d(block, obstacle) < d_safe]` and `-max(d1, d2) - |p1 - p2|`; neither the constants nor
    /// the geometry could be confirmed from a source.
    pub fn reward(self, blocks: &[Block]) -> (f64, f64) {
        match self {
            Self::Sweep => {
                let done = blocks.iter().filter(|block| block.in_zone).count();
                let sum: f64 = blocks.iter().map(|block| distance_to_goal(block.at)).sum();
                let count = blocks.len() as f64;
                (done as f64 / count, -(sum / count))
            }
            Self::Avoid => {
                let distance = distance_to_goal(blocks[0].at);
                let touches = touches_forbidden(blocks[0].at);
                (-distance - if touches { 2.0 } else { 0.0 }, -distance)
            }
            Self::Group => {
                let (a, b) = (blocks[0].at, blocks[1].at);
                let farthest = distance_to_goal(a).max(distance_to_goal(b));
                let apart = a.distance(b);
                (-farthest - apart, -farthest - (apart - TOGETHER).max(0.0))
            }
        }
    }

    /// Whether the blocks lie as they should. Avoid asks besides that the block never touched the forbidden place.
    pub fn is_done(self, blocks: &[Block]) -> bool {
        let in_zone = blocks.iter().all(|block| block.in_zone);
        in_zone && (self != Self::Group || blocks[0].at.distance(blocks[1].at) < TOGETHER)
    }
}

/// How far a block is below the top, m; 0 where it counts as brought.
fn distance_to_goal(at: Vec2) -> f64 {
    if at.y > BROUGHT {
        0.0
    } else {
        (GOAL_HEIGHT - at.y).abs()
    }
}

/// Whether a block with its centre at this point touches the forbidden place.
pub fn touches_forbidden(at: Vec2) -> bool {
    at.distance(FORBIDDEN.0) < SAFE_DISTANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(x: f64, y: f64) -> Block {
        Block {
            at: vec2(x, y),
            angle: 0.0,
            in_zone: y > 0.87,
        }
    }

    #[test]
    fn sweep_counts_blocks_in_the_zone_and_measures_those_below() {
        let blocks = [block(-0.5, 0.9), block(0.0, 0.5), block(0.5, 0.0)];
        let (reward, progress) = Task::Sweep.reward(&blocks);
        assert_eq!(reward, 1.0 / 3.0);
        assert!((progress + 0.5).abs() < 1e-15);
        assert!(!Task::Sweep.is_done(&blocks));
    }

    #[test]
    fn avoid_costs_two_in_the_forbidden_place_and_group_wants_both_near() {
        let (outside, _) = Task::Avoid.reward(&[block(0.5, 0.35)]);
        let (inside, _) = Task::Avoid.reward(&[block(0.1, 0.35)]);
        assert!((outside - inside - 2.0).abs() < 1e-15);
        let near = Task::Group.reward(&[block(0.0, 0.5), block(0.2, 0.5)]).0;
        let apart = Task::Group.reward(&[block(0.0, 0.5), block(0.8, 0.5)]).0;
        assert!((near - apart - 0.6).abs() < 1e-12);
        assert!(Task::Group.is_done(&[block(0.0, 0.95), block(0.25, 0.95)]));
        assert!(!Task::Group.is_done(&[block(-0.4, 0.95), block(0.25, 0.95)]));
    }

    #[test]
    fn random_starts_are_distinct_columns_at_one_height() {
        for seed in 0..50 {
            let starts = Task::Sweep.starts(Layout::TestLayout, seed);
            assert!((-0.1..0.5).contains(&starts[0].y));
            for (i, a) in starts.iter().enumerate() {
                assert!(a.y == starts[0].y && COLUMNS.contains(&a.x));
                assert!(starts[..i].iter().all(|b| a.x != b.x));
            }
            assert_eq!(starts, Task::Sweep.starts(Layout::TestLayout, seed));
        }
    }
}
