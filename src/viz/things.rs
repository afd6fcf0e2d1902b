//! What lies on the table, as blocks for the viewer.

use rapport::sim::Reading;
use rapport::sim::scene::{Colour, MarkShape, SceneConfig};

use super::Message;

/// A block for every object, mark and piece of furniture of a scene, and one where a handle is.
pub fn things(scene: &SceneConfig, reading: &Reading) -> Vec<Message> {
    let mut blocks = Vec::new();
    let mut block = |name: &str, centre: [f64; 3], half: [f64; 3], colour: Colour| {
        let colour = colour.map(|part| (255.0 * part) as u8);
        let path = format!("world/{name}");
        blocks.push(Message::Block(path, centre, half, colour));
    };
    for (config, object) in scene.objects.iter().zip(&reading.objects) {
        let half = config.shape.half_size();
        block(&config.name, object.position().into(), half, config.colour);
    }
    for (config, &mark) in scene.marks.iter().zip(&reading.marks) {
        let half = match config.shape {
            MarkShape::Disc { radius_m } => [radius_m, radius_m, 0.0005],
            MarkShape::Strip { size_m: [x, y] } => [0.5 * x, 0.5 * y, 0.0005],
            MarkShape::Ball { radius_m } => [radius_m; 3],
        };
        block(&config.name, mark.into(), half, config.colour);
    }
    for (config, fixture) in scene.fixtures.iter().zip(&reading.fixtures) {
        let [x, y, z] = config.kind.size_m().map(|size| 0.5 * size);
        let place = fixture.base_from_fixture.translation.vector;
        // Blocks stand along the axes: the box around the turned one.
        let (_, _, yaw) = fixture.base_from_fixture.rotation.euler_angles();
        let (sin, cos) = (yaw.sin().abs(), yaw.cos().abs());
        block(
            &config.name,
            [place.x, place.y, z],
            [cos * x + sin * y, sin * x + cos * y, z],
            config.colour,
        );
        let handle = format!("{}_handle", config.name);
        block(&handle, fixture.handle.into(), [0.004; 3], config.colour);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use rapport::sim::{Scene, World, tasks};

    #[test]
    fn every_task_has_its_things_where_they_are() {
        for task in tasks::all() {
            let scene = Scene::new(task.scene()).unwrap();
            let world = World::new(scene.clone()).unwrap();
            let config = scene.config();
            let blocks = things(config, &world.reading().unwrap());
            let count = config.objects.len() + config.marks.len() + 2 * config.fixtures.len();
            assert_eq!(blocks.len(), count);
            for message in blocks {
                let Message::Block(path, centre, half, _) = message else {
                    panic!("not a block");
                };
                assert!(path.starts_with("world/"));
                assert!(centre.iter().chain(&half).all(|v| v.is_finite()), "{path}");
            }
        }
    }
}
