//! Convex shapes with smooth edges on an 8-bit picture.
//!
//! A pixel takes as much of a shape's colour as its centre is inside, by the signed distance to the edge: full from half a pixel
//! inside on, nothing from half a pixel outside on. Rows between full pixels are filled without looking.

use image::RgbImage;

use super::vector::{Vec2, vec2};

/// 8-bit red, green, blue.
pub type Rgb = [u8; 3];

/// Most corners of a polygon.
pub const MAX_CORNERS: usize = 64;

/// A convex shape, in pixels from the top left.
#[derive(Clone, Debug)]
pub struct Figure {
    form: Form,
    /// Least and greatest y.
    rows: (f64, f64),
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // It lives for one drawing, on the stack.
enum Form {
    /// Half planes that hold the shape: outward normals and distances from the origin along them.
    Polygon([(Vec2, f64); MAX_CORNERS], usize),
    /// Centre and radius.
    Disc(Vec2, f64),
}

impl Figure {
    /// A polygon with 3 to [`MAX_CORNERS`] corners in either direction; more are left out.
    pub fn polygon(corners: &[Vec2]) -> Self {
        let count = corners.len().min(MAX_CORNERS);
        let corners = &corners[..count];
        let mut area = 0.0;
        for i in 0..count {
            area += corners[i].cross(corners[(i + 1) % count]);
        }
        let sign = if area < 0.0 { -1.0 } else { 1.0 };
        let mut planes = [(Vec2::ZERO, 0.0); MAX_CORNERS];
        for (i, plane) in planes.iter_mut().take(count).enumerate() {
            let (a, b) = (corners[i], corners[(i + 1) % count]);
            let normal = (b - a).right_perp().normalize() * sign;
            *plane = (normal, normal.dot(a));
        }
        let least = corners.iter().map(|at| at.y).fold(f64::INFINITY, f64::min);
        let most = corners.iter().map(|at| at.y);
        let most = most.fold(f64::NEG_INFINITY, f64::max);
        Self {
            form: Form::Polygon(planes, count),
            rows: (least, most),
        }
    }

    /// A disc.
    pub fn disc(centre: Vec2, radius: f64) -> Self {
        Self {
            form: Form::Disc(centre, radius),
            rows: (centre.y - radius, centre.y + radius),
        }
    }

    /// Signed distance from the edge, below 0 inside.
    fn distance(&self, at: Vec2) -> f64 {
        match &self.form {
            Form::Polygon(planes, count) => planes[..*count]
                .iter()
                .map(|&(normal, offset)| normal.dot(at) - offset)
                .fold(f64::NEG_INFINITY, f64::max),
            Form::Disc(centre, radius) => at.distance(*centre) - radius,
        }
    }

    /// From where to where along the row at `y` the distance is at most `limit`; the first is the greater where nowhere.
    fn span(&self, y: f64, limit: f64) -> (f64, f64) {
        const NOWHERE: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);
        match &self.form {
            Form::Polygon(planes, count) => {
                let (mut from, mut to) = (f64::NEG_INFINITY, f64::INFINITY);
                for &(normal, offset) in &planes[..*count] {
                    let rest = limit + offset - normal.y * y;
                    if normal.x > 1e-9 {
                        to = to.min(rest / normal.x);
                    } else if normal.x < -1e-9 {
                        from = from.max(rest / normal.x);
                    } else if rest < 0.0 {
                        return NOWHERE;
                    }
                }
                (from, to)
            }
            Form::Disc(centre, radius) => {
                let (reach, away) = (radius + limit, y - centre.y);
                if reach <= away.abs() {
                    return NOWHERE;
                }
                let half = (reach * reach - away * away).sqrt();
                (centre.x - half, centre.x + half)
            }
        }
    }
}

/// Fills a shape, made larger by `grow` pixels all around.
pub fn fill(picture: &mut RgbImage, figure: &Figure, grow: f64, colour: Rgb) {
    let width = picture.width() as usize;
    if width == 0 {
        return;
    }
    // Pixels whose centres are in a span.
    let pixels = |(from, to): (f64, f64)| {
        let first = (from - 0.5).ceil().max(0.0) as usize;
        let end = ((to - 0.5).floor() + 1.0).clamp(0.0, width as f64) as usize;
        first..end.max(first)
    };
    // Pointed corners grow farther than their sides.
    let (least, most) = figure.rows;
    let margin = 1.0 + 2.0 * grow.max(0.0);
    let first = (least - margin).max(0.0) as usize;
    let count = (most + margin).max(0.0) as usize + 1;
    let rows = picture.chunks_exact_mut(3 * width).enumerate();
    for (row, line) in rows.take(count).skip(first) {
        let y = row as f64 + 0.5;
        let touched = pixels(figure.span(y, grow + 0.5));
        if touched.is_empty() {
            continue;
        }
        let full = pixels(figure.span(y, grow - 0.5));
        let full = if full.is_empty() {
            touched.end..touched.end
        } else {
            full
        };
        cover(&mut line[3 * full.start..3 * full.end], colour);
        for x in (touched.start..full.start).chain(full.end..touched.end) {
            let distance = figure.distance(vec2(x as f64 + 0.5, y)) - grow;
            let share = (0.5 - distance).clamp(0.0, 1.0);
            for (old, new) in line[3 * x..3 * x + 3].iter_mut().zip(colour) {
                let mixed = f64::from(*old) + (f64::from(new) - f64::from(*old)) * share;
                *old = mixed.round() as u8;
            }
        }
    }
}

/// Writes one colour over a row of pixels.
pub fn cover(pixels: &mut [u8], colour: Rgb) {
    let Some(first) = pixels.get_mut(..3) else {
        return;
    };
    first.copy_from_slice(&colour);
    let mut done = 3;
    while done < pixels.len() {
        let more = done.min(pixels.len() - done);
        pixels.copy_within(..more, done);
        done += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inked(figure: &Figure, grow: f64) -> f64 {
        let mut picture = RgbImage::new(40, 30);
        fill(&mut picture, figure, grow, [255; 3]);
        picture.pixels().map(|p| f64::from(p.0[0]) / 255.0).sum()
    }

    #[test]
    fn as_much_is_inked_as_the_shape_has_area() {
        let square = |cx: f64, cy: f64, angle: f64| {
            let corners = [(-5.0, -4.0), (5.0, -4.0), (5.0, 4.0), (-5.0, 4.0)];
            let turn = Vec2::from_angle(angle);
            Figure::polygon(&corners.map(|(x, y)| vec2(x, y).rotate(turn) + vec2(cx, cy)))
        };
        for (cx, cy, angle) in [(20.0, 15.0, 0.0), (20.3, 14.6, 0.0), (19.7, 15.2, 0.5)] {
            assert!((inked(&square(cx, cy, angle), 0.0) - 80.0).abs() < 1.5);
        }
        assert!((inked(&square(20.0, 15.0, 0.0), 1.0) - 120.0).abs() < 1.5);
        let disc = Figure::disc(vec2(20.2, 14.7), 6.0);
        assert!((inked(&disc, 0.0) - std::f64::consts::PI * 36.0).abs() < 1.0);
    }

    #[test]
    fn a_shape_over_the_border_or_outside_is_cut_off() {
        let over = Figure::disc(vec2(0.0, 15.0), 6.0);
        assert!((inked(&over, 0.0) - std::f64::consts::PI * 18.0).abs() < 1.0);
        assert_eq!(inked(&Figure::disc(vec2(-50.0, 15.0), 6.0), 0.0), 0.0);
        assert_eq!(inked(&Figure::disc(vec2(20.0, 90.0), 6.0), 0.0), 0.0);
    }
}
