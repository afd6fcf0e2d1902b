//! The border to LeRobot: names and units of `observation.state` and `action` in a dataset.
//!
//! Inside, hinges are in radians and the gripper is an opening fraction; in a LeRobot dataset of an SO arm recorded since 2026,
//! hinges are in degrees and the gripper goes from 0 to 100. Nothing is clamped on the way, in either direction.

use crate::arm::{ArmSpec, JointKind, JointSpec};

/// A vector whose length is not the arm's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{arm} has {expected} joints, the dataset row {found} values")]
pub struct LengthError {
    /// The arm.
    pub arm: String,
    /// Its joints.
    pub expected: usize,
    /// Values given.
    pub found: usize,
}

/// LeRobot's feature names: `shoulder_pan.pos`, ..., in the order of the joints.
pub fn lerobot_names(spec: &ArmSpec) -> Vec<String> {
    spec.joints
        .iter()
        .map(|joint| format!("{}.pos", joint.name))
        .collect()
}

/// A dataset row for positions (rad, gripper: fraction): degrees, gripper 0 to 100, `[dof]`, single precision as LeRobot stores it.
///
/// Errors: [`LengthError`].
pub fn lerobot_from_positions(spec: &ArmSpec, positions: &[f64]) -> Result<Vec<f32>, LengthError> {
    check(spec, positions.len())?;
    let pairs = spec.joints.iter().zip(positions);
    Ok(pairs
        .map(|(joint, q)| (q * lerobot_scale(joint)) as f32)
        .collect())
}

/// Positions (rad, gripper: fraction) of a dataset row, `[dof]`.
///
/// Errors: [`LengthError`].
pub fn positions_from_lerobot(spec: &ArmSpec, row: &[f32]) -> Result<Vec<f64>, LengthError> {
    check(spec, row.len())?;
    let pairs = spec.joints.iter().zip(row);
    Ok(pairs
        .map(|(joint, v)| f64::from(*v) / lerobot_scale(joint))
        .collect())
}

/// LeRobot's number for 1 rad, or for a fully open gripper.
fn lerobot_scale(joint: &JointSpec) -> f64 {
    match joint.kind {
        JointKind::Revolute => 1_f64.to_degrees(),
        JointKind::Gripper => 100.0,
    }
}

fn check(spec: &ArmSpec, found: usize) -> Result<(), LengthError> {
    if found == spec.dof() {
        Ok(())
    } else {
        Err(LengthError {
            arm: spec.name.clone(),
            expected: spec.dof(),
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so101;
    use proptest::prelude::*;
    use std::f64::consts::FRAC_PI_2;

    #[test]
    fn hinges_become_degrees_and_the_gripper_a_percentage() {
        let row = lerobot_from_positions(
            &so101::spec(),
            &[FRAC_PI_2, 0.0, -FRAC_PI_2, 0.0, 0.0, 0.25],
        );
        assert_eq!(row.unwrap(), [90.0, 0.0, -90.0, 0.0, 0.0, 25.0]);
        let names = lerobot_names(&so101::spec());
        assert_eq!(
            (names[0].as_str(), names[5].as_str()),
            ("shoulder_pan.pos", "gripper.pos")
        );
    }

    #[test]
    fn a_row_of_another_arm_is_refused() {
        let error = positions_from_lerobot(&so101::spec(), &[0.0; 7]).unwrap_err();
        assert_eq!((error.expected, error.found), (6, 7));
        assert!(lerobot_from_positions(&so101::spec(), &[]).is_err());
    }

    proptest! {
        #[test]
        fn a_dataset_row_survives_the_way_there_and_back(row in prop::collection::vec(-200.0..200.0_f32, 6)) {
            let spec = so101::spec();
            let back = lerobot_from_positions(&spec, &positions_from_lerobot(&spec, &row).unwrap()).unwrap();
            prop_assert_eq!(back, row);
        }
    }
}
