//! Which samples a box can touch: the outline of its projection, row by row.

use super::view::{Vec3, View};

/// Rows of the raster, each with the first and one-past-last column.
#[derive(Clone, Debug, Default)]
pub(super) struct Footprint {
    pub(super) first_row: usize,
    /// One span per row; an empty one has `start >= end`.
    pub(super) spans: Vec<[usize; 2]>,
}

/// Up to so many rows the bounding rectangle is as good as the outline.
const FEW: usize = 5;

/// Or up to so many columns: two groups of lanes.
const NARROW: usize = 2 * super::lanes::LANES;

/// Safety margin in samples against rounding of the projected corners.
const MARGIN: f32 = 0.02;

impl Footprint {
    /// Every sample.
    fn cover(&mut self, view: &View) {
        self.first_row = 0;
        self.spans.clear();
        self.spans.resize(view.height, [0, view.width]);
    }

    /// Sets the footprint of the box with half sizes `half` around `centre`, both in geom coordinates. Sound for any convex
    /// body inside that box. Of a box that reaches behind the near plane it is the rectangle around the part in front.
    pub(super) fn project(
        &mut self,
        view: &View,
        map: &([Vec3; 3], Vec3),
        centre: Vec3,
        half: Vec3,
    ) {
        self.first_row = 0;
        self.spans.clear();
        let corners: [Vec3; 8] = std::array::from_fn(|corner| {
            let p: Vec3 = std::array::from_fn(|i| {
                centre[i]
                    + if corner >> i & 1 == 1 {
                        half[i]
                    } else {
                        -half[i]
                    }
            });
            std::array::from_fn(|row| super::view::dot(map.0[row], p) + map.1[row])
        });
        let (right, bottom) = (
            view.left + view.step_x * view.width as f32,
            view.top - view.step_y * view.height as f32,
        );
        let beyond = |test: &dyn Fn(&Vec3) -> bool| corners.iter().all(test);
        if beyond(&|p| p[2] < view.near)
            || beyond(&|p| p[2] > view.far)
            || beyond(&|p| p[0] < view.left * p[2])
            || beyond(&|p| p[0] > right * p[2])
            || beyond(&|p| p[1] > view.top * p[2])
            || beyond(&|p| p[1] < bottom * p[2])
        {
            return;
        }
        let cut = corners.iter().any(|p| p[2] < view.near);
        let points = corners.map(|p| view.raster(p));
        let [low, high] = extent(&corners, &points, view);
        let (first, end) = (begin(low[1], view.height), stop(high[1], view.height));
        let columns = [begin(low[0], view.width), stop(high[0], view.width)];
        if first >= end || columns[0] >= columns[1] {
            return;
        }
        self.first_row = first;
        let narrow = columns[1] - columns[0] <= NARROW;
        if cut || narrow || end - first <= FEW {
            self.spans.resize(end - first, columns);
            return;
        }
        self.spans.resize(end - first, [view.width, 0]);
        for (p, q) in edges().map(|(i, j)| (points[i], points[j])) {
            let (p, q) = if p[1] <= q[1] { (p, q) } else { (q, p) };
            self.trace(p, q, view);
        }
    }

    /// Makes the rows' spans reach the edge from `p` down to `q`.
    fn trace(&mut self, p: [f32; 2], q: [f32; 2], view: &View) {
        let (first, end) = (self.first_row, self.first_row + self.spans.len());
        // Rows whose sample line lies (almost) between the two ends.
        let from = begin(p[1], view.height).max(first);
        let to = stop(q[1], view.height).min(end);
        let slope = (q[0] - p[0]) / (q[1] - p[1]).max(1e-6);
        for row in from..to {
            let y = (row as f32 + 0.5).clamp(p[1], q[1]);
            let x = p[0] + slope * (y - p[1]);
            let x = x.clamp(p[0].min(q[0]), p[0].max(q[0]));
            widen(&mut self.spans[row - first], x, view.width);
        }
        // An edge along a row crosses no sample line in one place: both its ends count.
        for end_point in [p, q] {
            let nearest = (end_point[1] - 0.5).round();
            if (end_point[1] - 0.5 - nearest).abs() <= MARGIN
                && nearest >= first as f32
                && nearest < end as f32
            {
                let span = &mut self.spans[nearest as usize - first];
                widen(span, end_point[0], view.width);
            }
        }
    }

    /// Sets the footprint of a plane: everything, as its test per sample is the cheapest.
    pub(super) fn everything(&mut self, view: &View) {
        self.cover(view);
    }
}

/// Smallest and largest raster coordinates of the part of a box in front of the near plane.
fn extent(corners: &[Vec3; 8], points: &[[f32; 2]; 8], view: &View) -> [[f32; 2]; 2] {
    let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
    let mut reach = |p: [f32; 2]| {
        for axis in 0..2 {
            low[axis] = low[axis].min(p[axis]);
            high[axis] = high[axis].max(p[axis]);
        }
    };
    let in_front = |p: &Vec3| p[2] >= view.near;
    for (corner, &point) in corners.iter().zip(points) {
        if in_front(corner) {
            reach(point);
        }
    }
    if !corners.iter().all(in_front) {
        // It ends where edges meet that plane.
        for (p, q) in edges().map(|(i, j)| (corners[i], corners[j])) {
            if in_front(&p) != in_front(&q) {
                let k = (view.near - p[2]) / (q[2] - p[2]);
                let at = |i: usize| p[i] + (q[i] - p[i]) * k;
                reach(view.raster([at(0), at(1), view.near]));
            }
        }
    }
    [low, high]
}

/// The twelve edges of a box, as numbers of corners: bit `i` of a number says on which side of axis `i` the corner is.
fn edges() -> impl Iterator<Item = (usize, usize)> {
    (0..8usize).flat_map(|corner| {
        (0..3)
            .filter(move |axis| corner >> axis & 1 == 0)
            .map(move |axis| (corner, corner | 1 << axis))
    })
}

/// Makes a span of a row of `width` samples reach `x`.
#[inline(always)]
fn widen(span: &mut [usize; 2], x: f32, width: usize) {
    *span = [span[0].min(begin(x, width)), span[1].max(stop(x, width))];
}

/// The first of `count` sample lines that is not (clearly) before `x`. Lines lie at half numbers.
#[inline(always)]
fn begin(x: f32, count: usize) -> usize {
    let x = (x - 0.5 - MARGIN).clamp(-1.0, count as f32);
    let cut = x as i32;
    (cut + i32::from((cut as f32) < x)).max(0) as usize
}

/// One past the last of `count` sample lines that is not (clearly) after `x`.
#[inline(always)]
fn stop(x: f32, count: usize) -> usize {
    let x = (x - 0.5 + MARGIN).clamp(-1.0, count as f32);
    let cut = x as i32;
    ((cut - i32::from((cut as f32) > x) + 1).max(0) as usize).min(count)
}
