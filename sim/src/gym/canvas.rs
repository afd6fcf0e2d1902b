//! [`Canvas`]: flat, smooth-edged shapes for the pictures of the classic problems.

use image::RgbImage;
use tiny_skia::{Color, FillRule, LineCap, Paint, Path, PathBuilder, Pixmap, Stroke, Transform};

use crate::render::RenderError;

/// A white sheet to draw on, in the pixels of a picture of a standard size, with y upwards. What is drawn is stretched to the
/// size of the picture that is wanted.
#[derive(Debug, Default)]
pub struct Canvas {
    pixels: Option<Pixmap>,
    pixels_from_screen: Transform,
}

impl Canvas {
    /// A new sheet for a picture of `size` pixels that shows `screen`.
    ///
    /// Errors: [`RenderError::Size`] for a picture without pixels or with too many.
    pub(super) fn begin(
        &mut self,
        (width, height): (u32, u32),
        screen: (f64, f64),
    ) -> Result<(), RenderError> {
        let kept = self.pixels.take();
        let mut pixels = kept
            .filter(|pixels| (pixels.width(), pixels.height()) == (width, height))
            .or_else(|| Pixmap::new(width, height))
            .ok_or(RenderError::Size { width, height })?;
        pixels.fill(Color::WHITE);
        self.pixels = Some(pixels);
        let across = (f64::from(width) / screen.0) as f32;
        let up = (f64::from(height) / screen.1) as f32;
        self.pixels_from_screen = Transform::from_row(across, 0.0, 0.0, -up, 0.0, height as f32);
        Ok(())
    }

    /// Writes what was drawn to `out`, whose size is the one the sheet was made for.
    pub(super) fn finish(&self, out: &mut RgbImage) {
        let Some(pixels) = &self.pixels else {
            return;
        };
        // Everything is opaque, so that the colours are not scaled by the alpha.
        for (to, from) in out.pixels_mut().zip(pixels.pixels()) {
            to.0 = [from.red(), from.green(), from.blue()];
        }
    }

    /// A filled polygon.
    pub fn polygon(&mut self, corners: &[(f64, f64)], colour: [u8; 3]) {
        let path = trace(corners, Ends::Joined);
        self.fill(path, colour);
    }

    /// A filled rectangle of `x` by `y`, turned by `turn` rad about its origin, which lies at `at`.
    pub fn rectangle(
        &mut self,
        at: (f64, f64),
        turn: f64,
        x: (f64, f64),
        y: (f64, f64),
        colour: [u8; 3],
    ) {
        let (sin, cos) = turn.sin_cos();
        let corners = [(x.0, y.0), (x.0, y.1), (x.1, y.1), (x.1, y.0)]
            .map(|(x, y)| (at.0 + x * cos - y * sin, at.1 + x * sin + y * cos));
        self.polygon(&corners, colour);
    }

    /// A filled circle.
    pub fn disc(&mut self, centre: (f64, f64), radius: f64, colour: [u8; 3]) {
        let path = PathBuilder::from_circle(centre.0 as f32, centre.1 as f32, radius as f32);
        self.fill(path, colour);
    }

    /// A line through points.
    pub fn line(&mut self, points: &[(f64, f64)], width: f64, colour: [u8; 3]) {
        let stroke = Stroke {
            width: width as f32,
            line_cap: LineCap::Round,
            ..Stroke::default()
        };
        if let (Some(pixels), Some(path)) = (&mut self.pixels, trace(points, Ends::Free)) {
            let paint = paint(colour);
            pixels.stroke_path(&path, &paint, &stroke, self.pixels_from_screen, None);
        }
    }

    /// An arrow three quarters around a point, counter-clockwise for a positive `sign`.
    pub fn turning_arrow(&mut self, centre: (f64, f64), radius: f64, sign: f64) {
        let on = |radius: f64, angle: f64| {
            (
                centre.0 + radius * angle.cos(),
                centre.1 + radius * angle.sin(),
            )
        };
        let last = sign * 1.5 * std::f64::consts::PI;
        let arc: Vec<_> = (0..=32)
            .map(|i| on(radius, last * f64::from(i) / 32.0))
            .collect();
        self.line(&arc, 2.0, [0, 0, 0]);
        let tip = [
            on(1.25 * radius, last),
            on(0.75 * radius, last),
            on(radius, last + 0.5 * sign),
        ];
        self.polygon(&tip, [0, 0, 0]);
    }

    fn fill(&mut self, path: Option<Path>, colour: [u8; 3]) {
        if let (Some(pixels), Some(path)) = (&mut self.pixels, path) {
            let paint = paint(colour);
            pixels.fill_path(
                &path,
                &paint,
                FillRule::Winding,
                self.pixels_from_screen,
                None,
            );
        }
    }
}

/// Whether a line returns to where it began.
enum Ends {
    Joined,
    Free,
}

fn trace(points: &[(f64, f64)], ends: Ends) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        if i == 0 {
            path.move_to(x as f32, y as f32);
        } else {
            path.line_to(x as f32, y as f32);
        }
    }
    if let Ends::Joined = ends {
        path.close();
    }
    path.finish()
}

fn paint(colour: [u8; 3]) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(colour[0], colour[1], colour[2], 255);
    paint.anti_alias = true;
    paint
}
