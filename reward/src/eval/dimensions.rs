//! Things about a clip that a person has words for: how fast it moves, how smoothly, how near to done it is.

use std::collections::BTreeMap;

use rapport_perception::Features;

/// Speed and smoothness of a motion, from positions `[time, dim]` at `fps` steps a second. Speed is the length of the first
/// difference in units a second; smoothness is minus the length of the third (the jerk). Steps at the edges repeat the nearest
/// value. Nothing for fewer than four steps.
pub fn motion(positions: &Features, fps: f64) -> BTreeMap<String, Vec<f64>> {
    let steps = positions.len();
    if steps < 4 || !(fps.is_finite() && fps > 0.0) {
        return BTreeMap::new();
    }
    let at = |t: usize, d: usize| f64::from(positions.row(t)[d]);
    let length = |of: &dyn Fn(usize) -> f64| -> f64 {
        (0..positions.dim())
            .map(|d| of(d).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let speed = |t: usize| {
        let t = t.clamp(1, steps - 1);
        length(&|d| (at(t, d) - at(t - 1, d)) * fps)
    };
    let jerk = |t: usize| {
        let t = t.clamp(3, steps - 1);
        length(&|d| {
            (at(t, d) - 3.0 * at(t - 1, d) + 3.0 * at(t - 2, d) - at(t - 3, d)) * fps.powi(3)
        })
    };
    BTreeMap::from([
        ("speed".into(), (0..steps).map(speed).collect()),
        ("smoothness".into(), (0..steps).map(|t| -jerk(t)).collect()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_motion_has_its_speed_and_no_jerk() {
        let straight: Vec<f32> = (0..6)
            .flat_map(|t| [3.0 * t as f32, 4.0 * t as f32])
            .collect();
        let found = motion(&Features::new(2, straight), 10.0);
        assert!(found["speed"].iter().all(|v| (v - 50.0).abs() < 1e-9));
        assert!(found["smoothness"].iter().all(|v| v.abs() < 1e-9));
    }

    #[test]
    fn a_jolt_is_not_smooth_and_too_short_a_clip_has_no_motion() {
        let jolt = Features::new(1, vec![0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let found = motion(&jolt, 1.0);
        assert_eq!(found["speed"][4], 1.0);
        assert!(found["smoothness"][5] < -1.5);
        assert!(motion(&Features::new(1, vec![0.0; 3]), 1.0).is_empty());
        assert!(motion(&Features::new(1, vec![0.0; 9]), 0.0).is_empty());
    }
}
