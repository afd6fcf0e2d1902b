//! Looks at what the arm measures about itself: temperature, supply, joints that do not follow.

use std::time::Duration;

use crate::arm::{ArmSpec, ArmState, JointKind};
use crate::guard::config::Supervision;
use crate::guard::report::Reason;

/// What a measurement asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Fine,
    Warm,
    Hold(Reason),
    TorqueOff(Reason),
}

#[derive(Clone, Debug)]
pub(super) struct Supervisor {
    config: Supervision,
    voltage_since: Option<Duration>,
    blocked_since: Option<Duration>,
}

impl Supervisor {
    pub fn new(config: Supervision) -> Self {
        Self {
            config,
            voltage_since: None,
            blocked_since: None,
        }
    }

    pub fn restart(&mut self) {
        self.voltage_since = None;
        self.blocked_since = None;
    }

    /// `command`: what the arm was last sent, or what it measures where nothing was sent.
    pub fn look(
        &mut self,
        now: Duration,
        spec: &ArmSpec,
        state: &ArmState,
        command: &[f64],
    ) -> Verdict {
        let name = |i: usize| {
            spec.joints
                .get(i)
                .map_or(String::new(), |joint| joint.name.clone())
        };
        let hottest = state
            .temperatures
            .iter()
            .copied()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((joint, celsius)) = hottest
            && celsius >= self.config.hot
        {
            let reason = Reason::Hot {
                joint: name(joint),
                celsius,
            };
            return if celsius >= self.config.too_hot {
                Verdict::TorqueOff(reason)
            } else {
                Verdict::Hold(reason)
            };
        }
        let range = self.config.min_voltage..=self.config.max_voltage;
        let bad_supply = state.voltages.iter().position(|volt| !range.contains(volt));
        if let Some(joint) = bad_supply {
            let since = *self.voltage_since.get_or_insert(now);
            if (now.saturating_sub(since)).as_secs_f64() >= self.config.voltage_s {
                let volt = state.voltages[joint];
                return Verdict::Hold(Reason::Voltage {
                    joint: name(joint),
                    volt,
                });
            }
        } else {
            self.voltage_since = None;
        }
        let gaps = state
            .positions
            .iter()
            .zip(command)
            .map(|(q, c)| (q - c).abs());
        // A gripper that holds something is meant to stay away from its command.
        let blocked = gaps
            .zip(&spec.joints)
            .enumerate()
            .find(|(_, (gap, joint))| {
                joint.kind == JointKind::Revolute && *gap > self.config.blocked
            });
        if let Some((joint, (gap, _))) = blocked {
            let since = *self.blocked_since.get_or_insert(now);
            if (now.saturating_sub(since)).as_secs_f64() >= self.config.blocked_s {
                return Verdict::Hold(Reason::Blocked {
                    joint: name(joint),
                    gap,
                });
            }
        } else {
            self.blocked_since = None;
        }
        if hottest.is_some_and(|(_, celsius)| celsius >= self.config.warm) {
            Verdict::Warm
        } else {
            Verdict::Fine
        }
    }
}
