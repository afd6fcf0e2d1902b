//! Furniture as MJCF: a cabinet with a door, a chest with a drawer, a tray. A fixture is a mocap body: it stands where a task
//! puts it and nothing moves it; what opens hangs on it by a joint that has its name.

use std::fmt::Write as _;

use super::config::{Colour, FixtureConfig, FixtureKind};
use super::mjcf::rgba;

/// Half the thickness of a wall, m.
const WALL: f64 = 0.002;
/// Half the thickness of a door or of a drawer's front, m.
const PANEL: f64 = 0.0025;
/// Space between a front and the bar of its handle, m: a finger turns in it by more than a quarter of a right angle.
const GAP: f64 = 0.040;
/// Half the length of a handle's bar, m.
const BAR: f64 = 0.027;
/// Distance of the middle of a door's handle from the door's free edge, m.
const FROM_EDGE: f64 = 0.034;
/// How far a door opens, rad.
const DOOR_RANGE: f64 = 1.6;
/// Share of a drawer's depth by which it comes out.
const DRAWER_RANGE: f64 = 0.8;

/// Name of the site between a fixture's front and the bar of its handle; in a tray, the middle of its floor.
pub(super) fn handle(name: &str) -> String {
    format!("{name}_handle")
}

pub(super) fn write(xml: &mut String, fixture: &FixtureConfig, i: usize) {
    let name = &fixture.name;
    let site = handle(name);
    let [depth, width, height] = fixture.kind.size_m();
    let (x, y, z) = (0.5 * depth, 0.5 * width, 0.5 * height);
    let still = Part::still(fixture.colour);
    let moves = Part::moving(fixture.colour);
    let _ = writeln!(
        xml,
        r#"<body name="{name}" mocap="true" pos="0.22 {} 0">"#,
        0.25 + 0.25 * i as f64
    );
    match fixture.kind {
        FixtureKind::Door { .. } => {
            still.shell(xml, [x, y, z]);
            let front = x + PANEL + 0.001;
            let _ = writeln!(
                xml,
                r#"<body name="{name}_door" pos="{front} {} 0"><joint name="{name}" type="hinge" axis="0 0 -1" range="0 {DOOR_RANGE}" damping="0.01" frictionloss="0.01" armature="0.0005"/>"#,
                -y
            );
            moves.block(xml, [0.0, y, z], [PANEL, y - 0.001, z]);
            moves.handle(xml, &site, width - FROM_EDGE, z);
            xml.push_str("</body>\n");
        }
        FixtureKind::Drawer { .. } => {
            still.shell(xml, [x, y, z]);
            let front = x + PANEL + 0.001;
            let _ = writeln!(
                xml,
                r#"<body name="{name}_drawer" pos="{front} 0 0"><joint name="{name}" type="slide" axis="1 0 0" range="0 {}" damping="2" frictionloss="0.3" armature="0.02"/>"#,
                DRAWER_RANGE * depth
            );
            moves.block(xml, [0.0, 0.0, z], [PANEL, y, z]);
            // The box behind the front: floor, sides and back, clear of the chest's walls.
            let (long, inner, tall) = (x - 0.006, y - 2.0 * WALL - 0.003, 0.6 * z);
            let (middle, low) = (-long - PANEL, 2.0 * WALL + 0.003);
            moves.block(xml, [middle, 0.0, low + WALL], [long, inner, WALL]);
            for side in [-1.0, 1.0] {
                let out = side * (inner - WALL);
                moves.block(xml, [middle, out, low + tall], [long, WALL, tall]);
            }
            let back = middle - long + WALL;
            moves.block(xml, [back, 0.0, low + tall], [WALL, inner, tall]);
            moves.handle(xml, &site, 0.0, z);
            xml.push_str("</body>\n");
        }
        FixtureKind::Tray { .. } => {
            still.block(xml, [0.0, 0.0, WALL], [x, y, WALL]);
            for side in [-1.0, 1.0] {
                still.block(xml, [side * (x - WALL), 0.0, z], [WALL, y, z]);
                still.block(xml, [0.0, side * (y - WALL), z], [x, WALL, z]);
            }
            let _ = writeln!(
                xml,
                r#"<site name="{site}" pos="0 0 {}" size="0.003" rgba="0 0 0 0"/>"#,
                2.0 * WALL
            );
        }
    }
    xml.push_str("</body>\n");
}

/// How the blocks of a part look and collide.
struct Part {
    attributes: String,
}

impl Part {
    fn still(colour: Colour) -> Self {
        Self {
            attributes: format!(
                r#"contype="4" conaffinity="2" rgba="{}""#,
                rgba(shade(colour, 0.72))
            ),
        }
    }

    fn moving(colour: Colour) -> Self {
        Self {
            attributes: format!(
                r#"mass="0.015" contype="8" conaffinity="2" rgba="{}""#,
                rgba(colour)
            ),
        }
    }

    /// A box in the middle of `at` with these half edges, m.
    fn block(&self, xml: &mut String, [x, y, z]: [f64; 3], [a, b, c]: [f64; 3]) {
        let _ = writeln!(
            xml,
            r#"<geom type="box" pos="{x} {y} {z}" size="{a} {b} {c}" {}/>"#,
            self.attributes
        );
    }

    /// Back, sides, floor and roof, open to the front; half the outer sizes, m.
    fn shell(&self, xml: &mut String, [x, y, z]: [f64; 3]) {
        self.block(xml, [WALL - x, 0.0, z], [WALL, y, z]);
        for side in [-1.0, 1.0] {
            self.block(xml, [0.0, side * (y - WALL), z], [x, WALL, z]);
        }
        for level in [WALL, 2.0 * z - WALL] {
            self.block(xml, [0.0, 0.0, level], [x, y, WALL]);
        }
    }

    /// A bar before a front at x = 0, on two stalks, and the site where a finger goes.
    fn handle(&self, xml: &mut String, site: &str, y: f64, z: f64) {
        let steel = Self::moving([0.75, 0.76, 0.78]);
        let bar = PANEL + GAP + 0.003;
        steel.block(xml, [bar, y, z], [0.003, BAR, 0.004]);
        for side in [-1.0, 1.0] {
            let at = y + side * (BAR - 0.002);
            steel.block(xml, [0.5 * bar, at, z], [0.5 * bar, 0.002, 0.003]);
        }
        let _ = writeln!(
            xml,
            r#"<site name="{site}" pos="{} {y} {z}" size="0.003" rgba="0 0 0 0"/>"#,
            PANEL + 0.5 * GAP
        );
    }
}

fn shade(colour: Colour, share: f64) -> Colour {
    colour.map(|part| part * share)
}
