//! Which samples a box can touch: the outline of its projection, row by row.

use super::view::{Vec3, View};

/// Rows of the raster, each with the first and one-past-last column.
#[derive(Clone, Debug, Default)]
pub(super) struct Footprint {
    pub(super) first_row: usize,
    /// One span per row; an empty one has `start >= end`.
    pub(super) spans: Vec<[usize; 2]>,
}

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
    /// body inside that box. A box that reaches behind the near plane covers the whole raster.
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
        if corners.iter().any(|p| p[2] < view.near) {
            return self.cover(view);
        }

        let points = corners.map(|p| view.raster(p));
        let low = points.iter().map(|p| p[1]).fold(f32::INFINITY, f32::min);
        let high = points
            .iter()
            .map(|p| p[1])
            .fold(f32::NEG_INFINITY, f32::max);
        let row_of = |y: f32| (y.max(0.0) as usize).min(view.height);
        let (first, end) = (
            row_of((low - 0.5 - MARGIN).ceil()),
            row_of((high - 0.5 + MARGIN).floor() + 1.0),
        );
        if first >= end {
            return;
        }
        self.first_row = first;
        let empty = [view.width, 0];
        self.spans.resize(end - first, empty);
        let mut widen = |row: usize, x: f32| {
            let start = row_of_column((x - 0.5 - MARGIN).ceil(), view.width);
            let stop = row_of_column((x - 0.5 + MARGIN).floor() + 1.0, view.width);
            let span = &mut self.spans[row - first];
            *span = [span[0].min(start), span[1].max(stop)];
        };
        for corner in 0..8usize {
            for axis in 0..3 {
                if corner >> axis & 1 == 1 {
                    continue;
                }
                let (p, q) = (points[corner], points[corner | 1 << axis]);
                let (p, q) = if p[1] <= q[1] { (p, q) } else { (q, p) };
                // Rows whose sample line lies (almost) between the two ends.
                let from = row_of((p[1] - 0.5 - MARGIN).ceil()).max(first);
                let to = row_of((q[1] - 0.5 + MARGIN).floor() + 1.0).min(end);
                let slope = (q[0] - p[0]) / (q[1] - p[1]).max(1e-6);
                for row in from..to {
                    let y = (row as f32 + 0.5).clamp(p[1], q[1]);
                    let x = p[0] + slope * (y - p[1]);
                    let x = x.clamp(p[0].min(q[0]), p[0].max(q[0]));
                    widen(row, x);
                }
                // An edge along a row crosses no sample line in one place: both its ends count.
                for end_point in [p, q] {
                    let nearest = (end_point[1] - 0.5).round();
                    if (end_point[1] - 0.5 - nearest).abs() <= MARGIN
                        && nearest >= first as f32
                        && nearest < end as f32
                    {
                        widen(nearest as usize, end_point[0]);
                    }
                }
            }
        }
    }

    /// Sets the footprint of a plane: everything, as its test per sample is the cheapest.
    pub(super) fn everything(&mut self, view: &View) {
        self.cover(view);
    }
}

fn row_of_column(x: f32, width: usize) -> usize {
    (x.max(0.0) as usize).min(width)
}
