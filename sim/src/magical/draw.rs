//! Pictures of a world: flat colours, as x-magical draws them, with smooth edges.

use image::RgbImage;

use super::block::{ZONE_SIZE, side, zone_centre};
use super::canvas::{Figure, Rgb, cover, fill};
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
const OUTLINE: f64 = 2.0;
/// Rim of the fingers, m.
const RIM: f64 = 0.01;
/// Corners of a circle in a picture whose pixels are not square.
const CIRCLE: usize = 64;

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

    fn pixel(&self, world: Vec2) -> Vec2 {
        let view = self.view_from_world.point(world);
        let (x, y) = self.pixels_from_view;
        // The original rounds to whole pixels, of which the middle is what is meant.
        let half = 0.5;
        vec2(view.x * x + half, self.height - view.y * y + half)
    }
}

/// A picture with a view on the world.
struct Easel<'a> {
    picture: &'a mut RgbImage,
    view: View,
}

impl Easel<'_> {
    fn draw(&mut self, figure: &Figure, colour: Rgb, outline: Option<Rgb>) {
        match outline {
            Some(outline) => {
                fill(self.picture, figure, OUTLINE / 2.0, outline);
                fill(self.picture, figure, -OUTLINE / 2.0, colour);
            }
            // The original's polygons hold the pixels of their edges, which makes them half a pixel larger all around.
            None => fill(self.picture, figure, 0.5, colour),
        }
    }

    fn polygon(&mut self, at: &Placement, corners: &[Vec2; 4], colour: Rgb, outline: Option<Rgb>) {
        let corners = corners.map(|corner| self.view.pixel(at.point(corner)));
        self.draw(&Figure::polygon(&corners), colour, outline);
    }

    fn rectangle(&mut self, at: &Placement, size: (f64, f64), colour: Rgb, outline: Rgb) {
        let (w, h) = (size.0 / 2.0, size.1 / 2.0);
        let corners = [vec2(-w, h), vec2(w, h), vec2(w, -h), vec2(-w, -h)];
        self.polygon(at, &corners, colour, Some(outline));
    }

    fn disc(
        &mut self,
        at: &Placement,
        middle: Vec2,
        radius: f64,
        colour: Rgb,
        outline: Option<Rgb>,
    ) {
        let (x, y) = self.view.pixels_from_view;
        if x == y {
            let middle = self.view.pixel(at.point(middle));
            return self.draw(&Figure::disc(middle, radius * x), colour, outline);
        }
        let corners: [Vec2; CIRCLE] = std::array::from_fn(|i| {
            let angle = std::f64::consts::TAU * i as f64 / CIRCLE as f64;
            let corner = middle + Vec2::from_angle(angle) * radius;
            self.view.pixel(at.point(corner))
        });
        self.draw(&Figure::polygon(&corners), colour, outline);
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
                    self.polygon(&at, &bar, colour, None);
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

/// Draws what a camera sees of a world.
///
/// Errors: [`RenderError::NoCameraNamed`], [`RenderError::Size`].
pub fn paint(world: &World, camera: &str, out: &mut RgbImage) -> Result<(), RenderError> {
    let (width, height) = out.dimensions();
    if width == 0 || height == 0 {
        return Err(RenderError::Size { width, height });
    }
    let view = View::new(world, camera, (width, height))?;
    cover(out, colour::BACKGROUND);
    Easel { picture: out, view }.scene(world);
    Ok(())
}
