//! Pictures that stay what they are: what was learned from them depends on it.

use std::path::Path;

use super::*;
use crate::scene::Scene;
use crate::tasks;

#[test]
fn pictures_of_the_tasks_stay_what_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/render/tests/golden");
    for (task, camera) in [("so101-push", "front"), ("so101-lift", "top")] {
        let found = tasks::by_name(task).expect("the task exists");
        let scene = Scene::new(found.scene()).expect("the scene is valid");
        let mut world = MjData::new(Arc::clone(scene.model()));
        world.forward();
        let camera_id = camera_index(scene.model(), camera).expect("the camera exists");
        let mut renderer =
            CpuRenderer::new(scene.model(), Quality::Fast, 48, 36).expect("the size is valid");
        let mut picture = RgbImage::new(48, 36);
        renderer
            .render(&mut world, camera_id, &mut picture)
            .expect("the camera exists");
        let file = folder.join(format!("{task}-{camera}.png"));
        let golden = image::open(&file).expect("the file is part of the repository");
        // Another mathematics library may round a pose otherwise and move an edge across a sample.
        let other = picture
            .pixels()
            .zip(golden.to_rgb8().pixels())
            .filter(|(a, b)| (0..3).any(|i| a[i].abs_diff(b[i]) > 1))
            .count();
        assert!(other <= 3, "{}: {other} pixels changed", file.display());
    }
}
