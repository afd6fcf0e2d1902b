//! Generalised advantages (Schulman et al. 2016, arXiv:1506.02438, equation 16).

/// What advantages are made of, each `[steps]`, consecutive.
pub(super) struct Course<'a> {
    pub(super) rewards: &'a [f32],
    /// Value of each observation.
    pub(super) values: &'a [f32],
    /// Value of each next observation.
    pub(super) next_values: &'a [f32],
    /// No value after this step.
    pub(super) terminated: &'a [bool],
    /// The next step is of another episode, or is not there.
    pub(super) last: &'a [bool],
}

/// `A_t = delta_t + gamma lambda A_{t+1}`, `delta_t = r_t + gamma V(s_{t+1}) - V(s_t)`. Where the clock or the buffer ends an episode the
/// value goes on, where the task ends it does not; the sum over later steps ends at both.
pub(super) fn advantages(course: &Course, discount: f32, decay: f32, target: &mut Vec<f32>) {
    target.clear();
    target.resize(course.rewards.len(), 0.0);
    let mut later = 0.0;
    for t in (0..course.rewards.len()).rev() {
        let next = if course.terminated[t] {
            0.0
        } else {
            course.next_values[t]
        };
        let delta = course.rewards[t] + discount * next - course.values[t];
        if course.last[t] {
            later = 0.0;
        }
        later = delta + discount * decay * later;
        target[t] = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `delta_t + (gamma lambda) delta_{t+1} + ...` summed as it is written.
    #[test]
    fn advantages_are_sums_of_later_surprises() {
        let (discount, decay) = (0.9, 0.8);
        let rewards = [1.0, -2.0, 0.5, 3.0, 1.0];
        let values = [0.3, 0.1, -0.4, 2.0, 0.7];
        let next_values = [0.1, -0.4, 5.0, 0.7, 9.0];
        // Two episodes: the clock ends the first after three steps, the task the second after two.
        let course = Course {
            rewards: &rewards,
            values: &values,
            next_values: &next_values,
            terminated: &[false, false, false, false, true],
            last: &[false, false, true, false, true],
        };
        let mut found = Vec::new();
        advantages(&course, discount, decay, &mut found);
        let delta = |t: usize| {
            let next = if t == 4 { 0.0 } else { next_values[t] };
            rewards[t] + discount * next - values[t]
        };
        let c = discount * decay;
        let expected = [
            delta(0) + c * delta(1) + c * c * delta(2),
            delta(1) + c * delta(2),
            delta(2),
            delta(3) + c * delta(4),
            delta(4),
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn decay_of_one_compares_returns_with_values_and_of_zero_looks_one_step_ahead() {
        let (rewards, values) = ([1.0, 1.0, 1.0], [0.5, 0.4, 0.3]);
        let course = Course {
            rewards: &rewards,
            values: &values,
            next_values: &[0.4, 0.3, 0.0],
            terminated: &[false, false, true],
            last: &[false, false, true],
        };
        let mut found = Vec::new();
        advantages(&course, 1.0, 1.0, &mut found);
        let expected: [f32; 3] = [3.0 - 0.5, 2.0 - 0.4, 1.0 - 0.3];
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(f, e)| (f - e).abs() < 1e-6)
        );
        advantages(&course, 1.0, 0.0, &mut found);
        let expected: [f32; 3] = [1.0 + 0.4 - 0.5, 1.0 + 0.3 - 0.4, 1.0 - 0.3];
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(f, e)| (f - e).abs() < 1e-6)
        );
    }
}
