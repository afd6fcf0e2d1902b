//! Pictures of a world: flat colours, as x-magical draws them, with smooth edges.

use image::RgbImage;
use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Stroke, Transform};

use super::block::{ZONE_SIZE, side, zone_centre};
use super::robot::{Embodiment, ROBOT_RADIUS, finger_bars};
use super::task::{FORBIDDEN, Task};
use super::vector::{Placement, Vec2, vec2};
use super::world::{ARENA, World};
use crate::render::RenderError;

/// The cameras: from above on the whole arena, and from above on the robot, which looks up.
pub const CAMERAS: [&str; 2] = ["allo", "ego"];

/// How much more than the arena is seen.
const ZOOM_OUT: f64 = 1.02;
/// Where the robot is in its own picture, from the left and from below.
const EGO_PLACE: (f64, f64) = (0.5, 0.15);
/// Width of outlines at every size of picture, pixels.
const OUTLINE: f32 = 2.0;
/// Rim of the fingers, m.
const RIM: f64 = 0.01;
/// Corners of a circle.
const CIRCLE: usize = 64;

type Rgb = [u8; 3];

/// x-magical's palette: Berkeley colours and a grey, lightened and darkened.
mod colour {
    use super::Rgb;
    pub const BACKGROUND: Rgb = [231, 231, 234];
    pub const WHITE: Rgb = [255; 3];
    pub const PUPIL: Rgb = [26; 3];
    pub const GREY: Rgb = [162, 163, 175];
    pub const DARK_GREY: Rgb = [144, 145, 159];
    pub const LIGHT_GREY: Rgb = [231, 231, 234];
    pub const RED: Rgb = [245, 129, 165];
    pub const DARK_RED: Rgb = [243, 94, 141];
    pub const LIGHT_RED: Rgb = [250, 190, 209];
    pub const YELLOW: Rgb = [254, 213, 123];
    pub const LIGHT_YELLOW: Rgb = [254, 234, 188];
}

/// From the world to pixels.
struct View {
    pixels_from_view: (f64, f64),
    view_from_world: Placement,
    height: f64,
}

impl View {
    fn new(world: &World, camera: &str, (width, height): (u32, u32)) -> Result<Self, RenderError> {
        let extent = 2.0 * ARENA * ZOOM_OUT;
        let view_from_world = match camera {
            "allo" => Placement::new(vec2(extent / 2.0, extent / 2.0), 0.0),
            "ego" => {
                let (at, angle) = world.robot_pose();
                let turn = Vec2::from_angle(-angle);
                let corner = vec2(extent * EGO_PLACE.0, extent * EGO_PLACE.1);
                Placement::new(corner - at.rotate(turn), -angle)
            }
            _ => {
                return Err(RenderError::NoCameraNamed {
                    name: camera.into(),
                    known: CAMERAS.join(", "),
                });
            }
        };
        let (width, height) = (f64::from(width), f64::from(height));
        Ok(Self {
            pixels_from_view: (width / extent, height / extent),
            view_from_world,
            height,
        })
    }

    fn pixel(&self, world: Vec2) -> (f32, f32) {
        let view = self.view_from_world.point(world);
        let (x, y) = self.pixels_from_view;
        // The original rounds to whole pixels, of which the middle is what is meant.
        let half = 0.5;
        (
            (view.x * x + half) as f32,
            (self.height - view.y * y + half) as f32,
        )
    }
}

/// Draws worlds. Keeps its canvas from picture to picture.
#[derive(Debug, Default)]
pub struct Painter {
    canvas: Option<Pixmap>,
}

/// A canvas with a view on the world.
struct Easel<'a> {
    canvas: &'a mut Pixmap,
    view: View,
}

impl Easel<'_> {
    fn path(&self, at: &Placement, corners: impl Iterator<Item = Vec2>) -> Option<Path> {
        let mut path = PathBuilder::new();
        for (i, corner) in corners.enumerate() {
            let (x, y) = self.view.pixel(at.point(corner));
            if i == 0 {
                path.move_to(x, y);
            } else {
                path.line_to(x, y);
            }
        }
        path.close();
        path.finish()
    }

    fn fill(
        &mut self,
        at: &Placement,
        corners: impl Iterator<Item = Vec2>,
        fill: Rgb,
        outline: Option<Rgb>,
    ) {
        // Nothing is drawn of what has no area.
        let Some(path) = self.path(at, corners) else {
            return;
        };
        let paint = |[r, g, b]: Rgb| {
            let mut paint = Paint::default();
            paint.set_color_rgba8(r, g, b, 255);
            paint
        };
        let still = Transform::identity();
        self.canvas
            .fill_path(&path, &paint(fill), FillRule::Winding, still, None);
        // The original's polygons hold the pixels of their edges, which makes them half a pixel larger all around.
        let (colour, width) = outline.map_or((fill, 1.0), |outline| (outline, OUTLINE));
        let stroke = Stroke {
            width,
            ..Stroke::default()
        };
        self.canvas
            .stroke_path(&path, &paint(colour), &stroke, still, None);
    }

    fn rectangle(&mut self, at: &Placement, size: (f64, f64), fill: Rgb, outline: Rgb) {
        let (w, h) = (size.0 / 2.0, size.1 / 2.0);
        let corners = [vec2(-w, h), vec2(w, h), vec2(w, -h), vec2(-w, -h)];
        self.fill(at, corners.into_iter(), fill, Some(outline));
    }

    fn disc(&mut self, at: &Placement, middle: Vec2, radius: f64, fill: Rgb, outline: Option<Rgb>) {
        let corners = (0..CIRCLE).map(|i| {
            let angle = std::f64::consts::TAU * i as f64 / CIRCLE as f64;
            middle + Vec2::from_angle(angle) * radius
        });
        self.fill(at, corners, fill, outline);
    }

    fn scene(&mut self, world: &World) {
        let middle = Placement::new(Vec2::ZERO, 0.0);
        let arena = (2.0 * ARENA, 2.0 * ARENA);
        self.rectangle(&middle, arena, colour::WHITE, colour::GREY);
        let zone = Placement::new(zone_centre(), 0.0);
        self.rectangle(&zone, ZONE_SIZE, colour::LIGHT_RED, colour::RED);
        if world.task() == Task::Avoid {
            let (at, radius) = FORBIDDEN;
            let outline = Some(colour::YELLOW);
            self.disc(&middle, at, radius, colour::LIGHT_YELLOW, outline);
        }
        for i in 0..world.block_count() {
            let block = world.block(i);
            let at = Placement::new(block.at, block.angle);
            self.rectangle(&at, (side(), side()), colour::RED, colour::DARK_RED);
        }
        self.robot(world);
    }

    fn robot(&mut self, world: &World) {
        let (robot, space) = (world.robot(), world.space());
        for (inset, colour) in [(0.0, colour::GREY), (RIM, colour::LIGHT_GREY)] {
            for (finger, side) in robot.fingers() {
                for bar in finger_bars(side, inset) {
                    let at = space.body(finger).placement;
                    self.fill(&at, bar.into_iter(), colour, None);
                }
            }
        }
        let body = space.body(robot.body());
        let at = body.placement;
        let (fill, outline) = (colour::GREY, colour::DARK_GREY);
        match robot.embodiment().stick() {
            None => self.disc(&at, Vec2::ZERO, ROBOT_RADIUS, fill, Some(outline)),
            Some(size) => self.rectangle(&at, size, fill, outline),
        }
        let eye = match robot.embodiment() {
            Embodiment::Gripper => vec2(0.4 * ROBOT_RADIUS, 0.3 * ROBOT_RADIUS),
            _ => vec2(0.3 * ROBOT_RADIUS, 0.0),
        };
        for (sign, pupil) in [-1.0, 1.0].into_iter().zip(robot.pupils()) {
            let eye = vec2(sign * eye.x, eye.y);
            self.disc(&at, eye, 0.2 * ROBOT_RADIUS, colour::WHITE, None);
            let look = Vec2::from_angle(space.body(pupil).angle - body.angle);
            let middle = eye + vec2(0.0, 0.07 * ROBOT_RADIUS).rotate(look);
            self.disc(&at, middle, 0.12 * ROBOT_RADIUS, colour::PUPIL, None);
        }
    }
}

impl Painter {
    /// Draws what a camera sees of a world.
    ///
    /// Errors: [`RenderError::NoCameraNamed`], [`RenderError::Size`].
    pub fn paint(
        &mut self,
        world: &World,
        camera: &str,
        out: &mut RgbImage,
    ) -> Result<(), RenderError> {
        let (width, height) = out.dimensions();
        let view = View::new(world, camera, (width, height))?;
        let fits = |canvas: &Pixmap| (canvas.width(), canvas.height()) == (width, height);
        if !self.canvas.as_ref().is_some_and(fits) {
            self.canvas = Pixmap::new(width, height);
        }
        let Some(canvas) = &mut self.canvas else {
            return Err(RenderError::Size { width, height });
        };
        let [r, g, b] = colour::BACKGROUND;
        canvas.fill(Color::from_rgba8(r, g, b, 255));
        Easel { canvas, view }.scene(world);
        for (to, from) in out.chunks_exact_mut(3).zip(canvas.data().chunks_exact(4)) {
            to.copy_from_slice(&from[..3]);
        }
        Ok(())
    }
}
