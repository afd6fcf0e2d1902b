//! The guard's states and the one function that changes them.

use serde::{Deserialize, Serialize};

/// What the guard lets happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardState {
    /// Torque is off, or nothing is known yet. No goal reaches the arm.
    #[default]
    Limp,
    /// Three coherent measurements inside the limits; torque may be turned on.
    Verified,
    /// Torque on, holding the measured position, waiting for the first goal.
    Armed,
    /// On the way to the first goal at reduced speed.
    SoftStart,
    /// Following goals.
    Running,
    /// Torque on, braked and holding; goals are refused until the guard is armed again.
    Hold,
    /// The stop order is under way; the goal writer is closed.
    Stopping,
    /// Latched: only an operator's acknowledgement leaves it, and only through the stop order.
    Fault,
}

impl GuardState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Limp,
        Self::Verified,
        Self::Armed,
        Self::SoftStart,
        Self::Running,
        Self::Hold,
        Self::Stopping,
        Self::Fault,
    ];

    /// Whether goals are followed.
    pub fn follows_goals(self) -> bool {
        matches!(self, Self::Armed | Self::SoftStart | Self::Running)
    }
}

/// What can happen to a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GuardEvent {
    /// The arm was measured and is where it may be.
    Verified,
    /// The arm was measured and may not be energised.
    Refused,
    /// Torque is on and the goal is the measured position.
    Energised,
    /// A valid goal came.
    Goal,
    /// The commanded position has caught up with the goal.
    Reached,
    /// No fresh goal for too long.
    Starved,
    /// Somebody, or a supervisor, wants the arm to stand still with torque on.
    HoldRequested,
    /// The goal was set to the measured position again.
    Rearmed,
    /// The stop order begins.
    StopRequested,
    /// Every torque switch was read back as off.
    Stopped,
    /// A torque switch could not be read back as off.
    StopIncomplete,
    /// Something is wrong that must not heal by itself.
    Fault,
    /// An operator has seen the fault and wants to go on; the stop order begins.
    Acknowledged,
}

impl GuardEvent {
    /// All events.
    pub const ALL: [Self; 13] = [
        Self::Verified,
        Self::Refused,
        Self::Energised,
        Self::Goal,
        Self::Reached,
        Self::Starved,
        Self::HoldRequested,
        Self::Rearmed,
        Self::StopRequested,
        Self::Stopped,
        Self::StopIncomplete,
        Self::Fault,
        Self::Acknowledged,
    ];
}

/// The state after an event; `None` where the event is refused in this state.
pub fn transition(state: GuardState, event: GuardEvent) -> Option<GuardState> {
    use GuardEvent as E;
    use GuardState as S;
    Some(match (state, event) {
        (S::Fault, E::Acknowledged) => S::Stopping,
        (S::Fault, E::Fault) => S::Fault,
        (S::Fault, _) => return None,
        (S::Stopping, E::Stopped) => S::Limp,
        (S::Stopping, E::StopIncomplete) => S::Fault,
        // A stop under way is finished before anything else is looked at.
        (S::Stopping, E::Fault | E::StopRequested) => S::Stopping,
        (S::Stopping, _) => return None,
        (_, E::Fault) => S::Fault,
        (_, E::StopRequested) => S::Stopping,
        (S::Limp, E::Verified) => S::Verified,
        (S::Verified, E::Energised) => S::Armed,
        (S::Verified, E::Refused) => S::Limp,
        (S::Armed, E::Goal) => S::SoftStart,
        (S::SoftStart, E::Goal) => S::SoftStart,
        (S::SoftStart, E::Reached) => S::Running,
        (S::Running, E::Goal) => S::Running,
        (S::SoftStart | S::Running, E::Starved) => S::Hold,
        (S::Armed | S::SoftStart | S::Running | S::Hold, E::HoldRequested) => S::Hold,
        (S::Armed | S::SoftStart | S::Running | S::Hold, E::Rearmed) => S::Armed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state reachable from `start`, by any events that `allow` lets through.
    fn reachable(start: GuardState, allow: impl Fn(GuardEvent) -> bool) -> Vec<GuardState> {
        let mut seen = vec![start];
        let mut next = 0;
        while let Some(&state) = seen.get(next) {
            for event in GuardEvent::ALL.into_iter().filter(|&event| allow(event)) {
                if let Some(to) = transition(state, event)
                    && !seen.contains(&to)
                {
                    seen.push(to);
                }
            }
            next += 1;
        }
        seen
    }

    #[test]
    fn the_table_of_all_states_and_events_is_this_one() {
        use GuardState::*;
        // Columns in the order of GuardEvent::ALL; a dot is a refusal.
        let table = [
            (Limp, "Verified . . . . . . . Stopping . . Fault ."),
            (Verified, ". Limp Armed . . . . . Stopping . . Fault ."),
            (Armed, ". . . SoftStart . . Hold Armed Stopping . . Fault ."),
            (
                SoftStart,
                ". . . SoftStart Running Hold Hold Armed Stopping . . Fault .",
            ),
            (
                Running,
                ". . . Running . Hold Hold Armed Stopping . . Fault .",
            ),
            (Hold, ". . . . . . Hold Armed Stopping . . Fault ."),
            (Stopping, ". . . . . . . . Stopping Limp Fault Stopping ."),
            (Fault, ". . . . . . . . . . . Fault Stopping"),
        ];
        assert_eq!(table.map(|row| row.0), GuardState::ALL);
        for (state, row) in table {
            let cells: Vec<_> = row.split(' ').collect();
            assert_eq!(cells.len(), GuardEvent::ALL.len());
            for (event, cell) in GuardEvent::ALL.into_iter().zip(cells) {
                let found = transition(state, event).map_or(".".into(), |to| format!("{to:?}"));
                assert_eq!(found, cell, "{state:?} on {event:?}");
            }
        }
    }

    #[test]
    fn a_fault_is_left_only_by_acknowledgement_and_only_through_the_stop_order() {
        let without = reachable(GuardState::Fault, |event| event != GuardEvent::Acknowledged);
        assert_eq!(without, [GuardState::Fault]);
        for event in GuardEvent::ALL {
            let to = transition(GuardState::Fault, event);
            assert!(matches!(
                to,
                None | Some(GuardState::Fault | GuardState::Stopping)
            ));
        }
    }

    #[test]
    fn nothing_moves_without_verification_torque_and_a_goal() {
        for needed in [
            GuardEvent::Verified,
            GuardEvent::Energised,
            GuardEvent::Goal,
        ] {
            let seen = reachable(GuardState::Limp, |event| event != needed);
            assert!(!seen.contains(&GuardState::SoftStart) && !seen.contains(&GuardState::Running));
        }
    }

    #[test]
    fn a_stop_always_begins_and_ends_limp_or_in_a_fault() {
        for state in GuardState::ALL
            .into_iter()
            .filter(|&state| state != GuardState::Fault)
        {
            assert_eq!(
                transition(state, GuardEvent::StopRequested),
                Some(GuardState::Stopping)
            );
        }
        for event in GuardEvent::ALL {
            let to = transition(GuardState::Stopping, event);
            let fine = [GuardState::Stopping, GuardState::Limp, GuardState::Fault];
            assert!(to.is_none_or(|to| fine.contains(&to)), "{event:?}");
        }
    }

    #[test]
    fn every_state_is_reachable_and_none_is_a_trap() {
        for state in GuardState::ALL {
            assert_eq!(reachable(state, |_| true).len(), GuardState::ALL.len());
        }
    }
}
