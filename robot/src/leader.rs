//! The [`Leader`]: an arm moved by hand whose joints the follower copies.

use crate::arm::{Arm, ArmError, ArmSpec, ArmState};
use crate::teleop::{TeleopError, TeleopEvent, Teleoperator};

/// Reads another arm, with torque off, and gives its joints as goals. Joints are matched by name; where the follower has a
/// joint that the leader has not, it stays where it is.
pub struct Leader {
    arm: Box<dyn Arm>,
    follower: ArmSpec,
    /// For each joint of the follower, the leader's.
    sources: Vec<Option<usize>>,
}

impl std::fmt::Debug for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leader")
            .field("arm", &self.arm.spec().name)
            .field("follower", &self.follower.name)
            .finish_non_exhaustive()
    }
}

impl Leader {
    /// Turns the leader's torque off and makes sure that it is.
    ///
    /// Errors: [`ArmError::Mismatch`] where torque stays on or no joint has a name in common; what the arm says otherwise.
    pub fn new(mut arm: Box<dyn Arm>, follower: ArmSpec) -> Result<Self, ArmError> {
        arm.disable()?;
        if arm.torque_enabled()?.contains(&true) {
            return Err(ArmError::Mismatch(format!(
                "the torque of leader {} stays on; it cannot be moved by hand",
                arm.spec().name
            )));
        }
        let leader = &arm.spec().joints;
        let sources: Vec<_> = follower
            .joints
            .iter()
            .map(|joint| {
                leader
                    .iter()
                    .position(|other| other.name == joint.name && other.kind == joint.kind)
            })
            .collect();
        if sources.iter().all(Option::is_none) {
            return Err(ArmError::Mismatch(format!(
                "leader {} has no joint in common with {}",
                arm.spec().name,
                follower.name
            )));
        }
        Ok(Self {
            arm,
            follower,
            sources,
        })
    }
}

impl Teleoperator for Leader {
    fn name(&self) -> &str {
        "leader"
    }

    /// The leader's joints, inside the follower's limits.
    fn next_goal(
        &mut self,
        follower: &ArmState,
    ) -> Result<(Vec<f64>, Option<TeleopEvent>), TeleopError> {
        let failed = |cause: String| TeleopError {
            name: "leader".into(),
            cause,
        };
        let state = self.arm.read().map_err(|error| failed(error.to_string()))?;
        let joints = self.follower.joints.iter().zip(&self.sources).enumerate();
        let goal = joints
            .map(|(i, (joint, source))| {
                let position = match source {
                    Some(source) => state.positions.get(*source),
                    None => follower.positions.get(i),
                };
                match position {
                    Some(q) if q.is_finite() => Ok(q.clamp(joint.min, joint.max)),
                    _ => Err(failed(format!("{} was not measured", joint.name))),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok((goal, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock as _;
    use crate::control::Control;
    use crate::guard::{Guard, GuardConfig};
    use crate::so101;
    use crate::testing::Bench;
    use std::time::Duration;

    #[test]
    fn the_follower_goes_where_the_leader_is_moved() {
        let (hand, bench) = (Bench::new(), Bench::new());
        let mut leader = Leader::new(hand.arm(), so101::spec()).unwrap();
        let guard = Guard::with_chain(bench.arm(), so101::chain(), GuardConfig::so101()).unwrap();
        let clock = Box::new(bench.clone());
        let mut control = Control::new(guard, clock, Duration::from_millis(10)).unwrap();
        control.enable().unwrap();
        hand.world().positions[0] += 0.2;
        hand.world().positions[5] = 0.1;
        while bench.now() < Duration::from_secs(3) {
            let state = control.guard().measured().unwrap().clone();
            let (goal, event) = leader.next_goal(&state).unwrap();
            assert_eq!(event, None);
            control.tick(Some(&goal));
        }
        let (hand, bench) = (hand.world(), bench.world());
        for (a, b) in hand.positions.iter().zip(&bench.positions) {
            assert!((a - b).abs() < 1e-3);
        }
        assert!(hand.torque.iter().all(|on| !on) && hand.commands.is_empty());
    }

    #[test]
    fn goals_stay_inside_the_follower_and_missing_joints_stay_where_they_are() {
        let hand = Bench::at(&[2.5, 0.0, 0.0, 0.0, 0.0, 0.5]);
        let mut spec = so101::spec();
        spec.joints[1].name = "hip".into();
        let mut leader = Leader::new(hand.arm(), spec.clone()).unwrap();
        let state = ArmState {
            positions: vec![0.7; 6],
            ..ArmState::default()
        };
        let (goal, _) = leader.next_goal(&state).unwrap();
        assert_eq!(goal[0], spec.joints[0].max);
        assert_eq!(goal[1], 0.7);
        hand.world().unplugged = true;
        assert!(
            leader
                .next_goal(&state)
                .unwrap_err()
                .to_string()
                .contains("gone")
        );
    }

    #[test]
    fn a_leader_whose_torque_stays_on_is_refused() {
        let hand = Bench::new();
        hand.world().welded = Some(0);
        hand.world().torque = vec![true; 6];
        assert!(matches!(
            Leader::new(hand.arm(), so101::spec()),
            Err(ArmError::Mismatch(_))
        ));
    }
}
