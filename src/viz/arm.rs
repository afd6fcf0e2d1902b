//! The arm as solid capsules that move with its links.

use rapport::robot::kinematics::Chain;
use rerun::{Capsules3D, Color, FillMode, RecordingStream, RecordingStreamResult, Transform3D};

/// Draws a chain under `world/arm`.
pub struct ArmView {
    chain: Chain,
}

impl ArmView {
    /// Logs the links' shapes once: from each link's origin to the next one's.
    pub fn new(stream: &RecordingStream, chain: Chain) -> RecordingStreamResult<Self> {
        let next = chain.links.iter().skip(1).chain([&chain.tool]);
        for (i, (link, next)) in chain.links.iter().zip(next).enumerate() {
            let end = next.parent_from_link.translation.vector;
            let z = nalgebra::Vector3::z();
            let turn = nalgebra::UnitQuaternion::rotation_between(&z, &end).unwrap_or_default();
            let q = turn.coords;
            let color = if i % 2 == 0 {
                Color::from_rgb(240, 150, 30)
            } else {
                Color::from_rgb(250, 190, 60)
            };
            stream.log_static(
                format!("world/arm/{}/shape", link.name),
                &Capsules3D::from_lengths_and_radii([end.norm() as f32], [0.014])
                    .with_quaternions([rerun::Quaternion::from_xyzw([
                        q.x as f32, q.y as f32, q.z as f32, q.w as f32,
                    ])])
                    .with_colors([color])
                    .with_fill_mode(FillMode::Solid),
            )?;
        }
        stream.log_static(
            "world/arm/base",
            &rerun::Boxes3D::from_centers_and_half_sizes(
                [(0.02, 0.0, 0.03)],
                [(0.05, 0.035, 0.03)],
            )
            .with_colors([Color::from_rgb(70, 70, 80)])
            .with_fill_mode(FillMode::Solid),
        )?;
        Ok(Self { chain })
    }

    /// Moves the links. `joints`: rad, at least one per link.
    pub fn pose(&self, stream: &RecordingStream, joints: &[f64]) -> RecordingStreamResult<()> {
        let poses = self
            .chain
            .base_from_links(&joints[..self.chain.links.len()]);
        for (link, pose) in self.chain.links.iter().zip(&poses) {
            let (t, q) = (pose.translation.vector, pose.rotation.coords);
            stream.log(
                format!("world/arm/{}", link.name),
                &Transform3D::from_translation_rotation(
                    [t.x as f32, t.y as f32, t.z as f32],
                    rerun::Quaternion::from_xyzw([q.x as f32, q.y as f32, q.z as f32, q.w as f32]),
                ),
            )?;
        }
        Ok(())
    }
}
