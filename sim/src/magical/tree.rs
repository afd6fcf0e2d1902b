//! Which shapes may touch: two trees of bounding boxes, one for what moves and one for what does not, and a list of pairs for
//! each leaf that stays valid while the leaf is within its widened box.
//!
//! The order in which pairs are found is the order in which contacts are solved, so it is part of the physics; so are the
//! trees, which depend on everything that happened before. Chipmunk's rules are kept to the letter.

use super::gjk::ClosestId;
use super::vector::{Bounds, Vec2, vec2};

/// Index of a node or a pair; [`NONE`] where there is none.
type Link = u32;
const NONE: Link = u32::MAX;
/// Room for nodes and pairs, so that none has to be made while things move.
const ROOM: usize = 64;

/// Part of the extent, and of a second's motion, by which the boxes of moving shapes are widened. Chipmunk writes it in single
/// precision.
const MARGIN: f64 = 0.1_f32 as f64;

#[derive(Clone, Debug, PartialEq)]
struct Node {
    bounds: Bounds,
    parent: Link,
    children: [Link; 2],
    /// Of a leaf: the shape.
    shape: Option<u32>,
    /// Of a leaf: when it was last put into the tree.
    stamp: u64,
    /// Of a leaf: its first pair.
    pairs: Link,
}

/// One side of a pair: a leaf, and the pair's neighbours in the leaf's list.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Thread {
    prev: Link,
    leaf: Link,
    next: Link,
}

#[derive(Clone, Debug, PartialEq)]
struct Pair {
    a: Thread,
    b: Thread,
    id: ClosestId,
}

/// The two trees.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    nodes: Vec<Node>,
    free_nodes: Vec<Link>,
    pairs: Vec<Pair>,
    free_pairs: Vec<Link>,
    moving: Link,
    fixed: Link,
    /// Leaves of the moving shapes in the order of the shapes.
    leaves: Vec<Link>,
    stamp: u64,
}

/// How far two boxes are apart, twice. Decides between equal costs, so its rounding matters where things lie symmetrically: this
/// is the order of operations of pymunk's compiled library, not that of its source.
fn distance(a: &Bounds, b: &Bounds) -> f64 {
    (a.left + a.right - b.right - b.left).abs() + (a.bottom + a.top - b.top - b.bottom).abs()
}

fn widened(bounds: &Bounds, velocity: Vec2) -> Bounds {
    let x = (bounds.right - bounds.left) * MARGIN;
    let y = (bounds.top - bounds.bottom) * MARGIN;
    let way = vec2(velocity.x * MARGIN, velocity.y * MARGIN);
    Bounds {
        left: bounds.left + (-x).min(way.x),
        bottom: bounds.bottom + (-y).min(way.y),
        right: bounds.right + x.max(way.x),
        top: bounds.top + y.max(way.y),
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// Without any shapes.
    pub fn new() -> Self {
        Self {
            nodes: Vec::with_capacity(ROOM),
            free_nodes: Vec::with_capacity(ROOM),
            pairs: Vec::with_capacity(ROOM),
            free_pairs: Vec::with_capacity(ROOM),
            moving: NONE,
            fixed: NONE,
            leaves: Vec::with_capacity(ROOM),
            stamp: 0,
        }
    }

    fn node(&self, link: Link) -> &Node {
        &self.nodes[link as usize]
    }

    fn node_mut(&mut self, link: Link) -> &mut Node {
        &mut self.nodes[link as usize]
    }

    fn take_node(&mut self, node: Node) -> Link {
        if let Some(link) = self.free_nodes.pop() {
            *self.node_mut(link) = node;
            return link;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as Link
    }

    fn leaf(&mut self, shape: u32, bounds: Bounds) -> Link {
        self.take_node(Node {
            bounds,
            parent: NONE,
            children: [NONE; 2],
            shape: Some(shape),
            stamp: 0,
            pairs: NONE,
        })
    }

    /// Adds a shape that does not move.
    pub fn insert_fixed(&mut self, shape: u32, bounds: &Bounds) {
        let leaf = self.leaf(shape, *bounds);
        self.fixed = self.insert(self.fixed, leaf);
        self.node_mut(leaf).stamp = self.stamp;
        if self.moving != NONE {
            self.pair_with(self.moving, leaf);
        }
        self.stamp += 1;
    }

    /// Adds a shape that moves.
    pub fn insert_moving(&mut self, shape: u32, bounds: &Bounds, velocity: Vec2) {
        let leaf = self.leaf(shape, widened(bounds, velocity));
        self.leaves.push(leaf);
        self.moving = self.insert(self.moving, leaf);
        self.node_mut(leaf).stamp = self.stamp;
        self.mark_leaf(leaf, &mut |_, _, id| id);
        self.stamp += 1;
    }

    /// Brings the trees up to date with `place`, which gives a shape's box and velocity, and calls `meet` with every two shapes
    /// whose boxes overlap and where their closest points were; it returns where they are.
    pub fn update(
        &mut self,
        place: impl Fn(u32) -> (Bounds, Vec2),
        mut meet: impl FnMut(u32, u32, ClosestId) -> ClosestId,
    ) {
        if self.moving == NONE {
            return;
        }
        for i in 0..self.leaves.len() {
            let leaf = self.leaves[i];
            let Some(shape) = self.node(leaf).shape else {
                continue;
            };
            let (bounds, velocity) = place(shape);
            if !self.node(leaf).bounds.contains(&bounds) {
                self.node_mut(leaf).bounds = widened(&bounds, velocity);
                let root = self.remove(self.moving, leaf);
                self.moving = self.insert(root, leaf);
                self.clear_pairs(leaf);
                self.node_mut(leaf).stamp = self.stamp;
            }
        }
        self.mark(self.moving, &mut meet);
        self.stamp += 1;
    }

    // Trees.

    fn adopt(&mut self, parent: Link, side: usize, child: Link) {
        self.node_mut(parent).children[side] = child;
        self.node_mut(child).parent = parent;
    }

    fn merged(&self, a: Link, b: Link) -> Bounds {
        self.node(a).bounds.merge(&self.node(b).bounds)
    }

    fn insert(&mut self, subtree: Link, leaf: Link) -> Link {
        if subtree == NONE {
            return leaf;
        }
        if self.node(subtree).shape.is_some() {
            let inner = self.take_node(Node {
                bounds: self.merged(leaf, subtree),
                parent: NONE,
                children: [NONE; 2],
                shape: None,
                stamp: 0,
                pairs: NONE,
            });
            self.adopt(inner, 0, leaf);
            self.adopt(inner, 1, subtree);
            return inner;
        }
        let [a, b] = self.node(subtree).children;
        let new = self.node(leaf).bounds;
        let (in_a, in_b) = (self.node(a).bounds, self.node(b).bounds);
        let mut cost_a = in_b.area() + in_a.merge(&new).area();
        let mut cost_b = in_a.area() + in_b.merge(&new).area();
        if cost_a == cost_b {
            cost_a = distance(&in_a, &new);
            cost_b = distance(&in_b, &new);
        }
        let (side, child) = if cost_b < cost_a { (1, b) } else { (0, a) };
        let grown = self.insert(child, leaf);
        self.adopt(subtree, side, grown);
        self.node_mut(subtree).bounds = self.merged(subtree, leaf);
        subtree
    }

    fn remove(&mut self, root: Link, leaf: Link) -> Link {
        if leaf == root {
            return NONE;
        }
        let parent = self.node(leaf).parent;
        let [a, b] = self.node(parent).children;
        let other = if a == leaf { b } else { a };
        let grandparent = self.node(parent).parent;
        self.free_nodes.push(parent);
        if parent == root {
            self.node_mut(other).parent = grandparent;
            return other;
        }
        let side = usize::from(self.node(grandparent).children[0] != parent);
        self.adopt(grandparent, side, other);
        let mut node = grandparent;
        while node != NONE {
            let [a, b] = self.node(node).children;
            self.node_mut(node).bounds = self.merged(a, b);
            node = self.node(node).parent;
        }
        root
    }

    // Pairs.

    fn thread(&mut self, pair: Link, leaf: Link) -> &mut Thread {
        let pair = &mut self.pairs[pair as usize];
        if pair.a.leaf == leaf {
            &mut pair.a
        } else {
            &mut pair.b
        }
    }

    fn unlink(&mut self, thread: Thread) {
        if thread.next != NONE {
            self.thread(thread.next, thread.leaf).prev = thread.prev;
        }
        if thread.prev != NONE {
            self.thread(thread.prev, thread.leaf).next = thread.next;
        } else {
            self.node_mut(thread.leaf).pairs = thread.next;
        }
    }

    fn clear_pairs(&mut self, leaf: Link) {
        let mut link = std::mem::replace(&mut self.node_mut(leaf).pairs, NONE);
        while link != NONE {
            let Pair { a, b, .. } = self.pairs[link as usize];
            let (own, other) = if a.leaf == leaf { (a, b) } else { (b, a) };
            self.unlink(other);
            self.free_pairs.push(link);
            link = own.next;
        }
    }

    fn pair(&mut self, a: Link, b: Link) {
        let (next_a, next_b) = (self.node(a).pairs, self.node(b).pairs);
        let thread = |leaf: Link, next: Link| Thread {
            prev: NONE,
            leaf,
            next,
        };
        let pair = Pair {
            a: thread(a, next_a),
            b: thread(b, next_b),
            id: 0,
        };
        let link = if let Some(link) = self.free_pairs.pop() {
            self.pairs[link as usize] = pair;
            link
        } else {
            self.pairs.push(pair);
            (self.pairs.len() - 1) as Link
        };
        self.node_mut(a).pairs = link;
        self.node_mut(b).pairs = link;
        if next_a != NONE {
            self.thread(next_a, a).prev = link;
        }
        if next_b != NONE {
            self.thread(next_b, b).prev = link;
        }
    }

    // Marking.

    /// Pairs `leaf`, as the first, with every leaf of `subtree` that it overlaps.
    fn pair_with(&mut self, subtree: Link, leaf: Link) {
        if !self
            .node(leaf)
            .bounds
            .intersects(&self.node(subtree).bounds)
        {
            return;
        }
        if self.node(subtree).shape.is_some() {
            self.pair(leaf, subtree);
        } else {
            let [a, b] = self.node(subtree).children;
            self.pair_with(a, leaf);
            self.pair_with(b, leaf);
        }
    }

    /// As [`Tree::pair_with`] with `leaf` as the second, and reports each meeting.
    fn meet_with<F>(&mut self, subtree: Link, leaf: Link, meet: &mut F)
    where
        F: FnMut(u32, u32, ClosestId) -> ClosestId,
    {
        if !self
            .node(leaf)
            .bounds
            .intersects(&self.node(subtree).bounds)
        {
            return;
        }
        if let (Some(other), Some(own)) = (self.node(subtree).shape, self.node(leaf).shape) {
            if self.node(subtree).stamp < self.node(leaf).stamp {
                self.pair(subtree, leaf);
            }
            meet(own, other, 0);
        } else {
            let [a, b] = self.node(subtree).children;
            self.meet_with(a, leaf, meet);
            self.meet_with(b, leaf, meet);
        }
    }

    fn mark_leaf<F>(&mut self, leaf: Link, meet: &mut F)
    where
        F: FnMut(u32, u32, ClosestId) -> ClosestId,
    {
        if self.node(leaf).stamp == self.stamp {
            if self.fixed != NONE {
                self.meet_with(self.fixed, leaf, meet);
            }
            let mut node = leaf;
            while self.node(node).parent != NONE {
                let parent = self.node(node).parent;
                let [a, b] = self.node(parent).children;
                if node == a {
                    self.pair_with(b, leaf);
                } else {
                    self.meet_with(a, leaf, meet);
                }
                node = parent;
            }
            return;
        }
        let mut link = self.node(leaf).pairs;
        while link != NONE {
            let Pair { a, b, id } = self.pairs[link as usize];
            if leaf == b.leaf {
                if let (Some(first), Some(second)) =
                    (self.node(a.leaf).shape, self.node(leaf).shape)
                {
                    self.pairs[link as usize].id = meet(first, second, id);
                }
                link = b.next;
            } else {
                link = a.next;
            }
        }
    }

    fn mark<F>(&mut self, subtree: Link, meet: &mut F)
    where
        F: FnMut(u32, u32, ClosestId) -> ClosestId,
    {
        if self.node(subtree).shape.is_some() {
            self.mark_leaf(subtree, meet);
        } else {
            let [a, b] = self.node(subtree).children;
            self.mark(a, meet);
            self.mark(b, meet);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn boxed(x: f64, y: f64) -> Bounds {
        Bounds {
            left: x - 0.1,
            bottom: y - 0.1,
            right: x + 0.1,
            top: y + 0.1,
        }
    }

    #[test]
    fn every_overlap_is_met_once_a_step_however_things_move() {
        let place = |i: u32, t: f64| {
            let phase = f64::from(i) * 1.7;
            vec2(
                (t * 0.9 + phase).sin() * 0.4,
                (t * 0.7 + 2.0 * phase).cos() * 0.4,
            )
        };
        let wall = boxed(0.0, 0.35);
        let mut tree = Tree::new();
        tree.insert_fixed(0, &wall);
        for i in 1..8 {
            let p = place(i, 0.0);
            tree.insert_moving(i, &boxed(p.x, p.y), Vec2::ZERO);
        }
        for step in 1..400 {
            let t = f64::from(step) * 0.02;
            let bounds = |i: u32| {
                if i == 0 {
                    wall
                } else {
                    let p = place(i, t);
                    boxed(p.x, p.y)
                }
            };
            let mut found = BTreeSet::new();
            tree.update(
                |i| (bounds(i), Vec2::ZERO),
                |a, b, id| {
                    if bounds(a).intersects(&bounds(b)) {
                        assert!(found.insert((a.min(b), a.max(b))), "{a} and {b} met twice");
                    }
                    id
                },
            );
            let mut expected = BTreeSet::new();
            for a in 0..8 {
                for b in a + 1..8 {
                    if bounds(a).intersects(&bounds(b)) {
                        expected.insert((a, b));
                    }
                }
            }
            assert_eq!(found, expected, "step {step}");
        }
    }
}
