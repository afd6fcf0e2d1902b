//! Expressions that serve often: agreement with what was annotated, overlap of boxes, and what not to touch.

use super::expression::{Binary, Expression, Part, Unary};

/// `weight · exp(-distance(stated, true) / scale)`: pays for stating where things are, beside the task's own reward
/// (Perception-R1, arXiv 2506.07218, where a judge compares stated facts).
pub fn percept_match(
    stated: Expression,
    annotated: Expression,
    weight: f64,
    scale: f64,
) -> Expression {
    let off = Expression::binary(Binary::Distance, stated, annotated);
    let share = Expression::binary(Binary::Divide, off, Expression::Number(scale));
    let near = Expression::unary(Unary::Exp, Expression::unary(Unary::Negate, share));
    Expression::binary(Binary::Multiply, Expression::Number(weight), near)
}

/// Intersection over union of two boxes `[left, top, right, bottom]` in columns of those names, from number `at` on. 0 where both
/// are empty.
fn overlap(a: &str, b: &str, at: usize) -> Expression {
    let side = |column: &str, k: usize| Expression::Name {
        name: column.into(),
        part: Part::At(at + k),
    };
    let minus = |x, y| Expression::binary(Binary::Subtract, x, y);
    let zero = || Expression::Number(0.0);
    let times = |x, y| Expression::binary(Binary::Multiply, x, y);
    let length = |low, high| Expression::binary(Binary::Max, zero(), minus(high, low));
    let shared = |k: usize| {
        let low = Expression::binary(Binary::Max, side(a, k), side(b, k));
        let high = Expression::binary(Binary::Min, side(a, k + 2), side(b, k + 2));
        length(low, high)
    };
    let area = |column: &str| {
        times(
            length(side(column, 0), side(column, 2)),
            length(side(column, 1), side(column, 3)),
        )
    };
    let both = || times(shared(0), shared(1));
    let either = minus(Expression::binary(Binary::Add, area(a), area(b)), both());
    Expression::binary(Binary::Divide, both(), either)
}

/// `Σ w_i IoU_i / Σ w_i` over the boxes that lie one after another in two columns, `[time, 4 · boxes]`: a key object counts more than
/// what stands around it (the salience-weighted overlap of GRiP). None without boxes, or with weights that sum to nothing.
pub fn weighted_overlap(found: &str, wanted: &str, weights: &[f64]) -> Option<Expression> {
    let sum: f64 = weights.iter().sum();
    if !sum.is_finite() || sum <= 0.0 {
        return None;
    }
    weights
        .iter()
        .enumerate()
        .map(|(i, w)| {
            Expression::binary(
                Binary::Multiply,
                Expression::Number(w / sum),
                overlap(found, wanted, 4 * i),
            )
        })
        .reduce(|a, b| Expression::binary(Binary::Add, a, b))
}

/// `-cost · Σ_i tag_i · [distance_i < reach]`: what bears a tag (fragile, hot) is not to be come near. Tags and distances are columns
/// with one number for each object, `[time, objects]`.
pub fn avoid_tagged(tags: &str, distances: &str, reach: f64, cost: f64) -> Expression {
    let near = Expression::binary(
        Binary::Less,
        Expression::name(distances),
        Expression::Number(reach),
    );
    let touched = Expression::binary(Binary::Dot, Expression::name(tags), near);
    Expression::binary(Binary::Multiply, Expression::Number(-cost), touched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Clip, Context, RewardModel as _};
    use crate::program::{Program, ProgramReward};
    use rapport_perception::Features;

    fn value(expression: Expression, columns: &[(&str, &[f32])]) -> f64 {
        let columns = columns
            .iter()
            .map(|(name, row)| (name.to_string(), Features::new(row.len(), row.to_vec())));
        let clip = Clip {
            columns: columns.collect(),
            ..Clip::default()
        };
        let program = Program::from_terms(vec![("r".into(), expression)]).unwrap();
        let signal = ProgramReward::new(program)
            .unwrap()
            .score(&clip, &Context::default());
        signal.unwrap().per_step[0]
    }

    #[test]
    fn overlap_is_intersection_over_union() {
        let iou = |a: &[f32], b: &[f32]| {
            value(
                weighted_overlap("a", "b", &[1.0]).unwrap(),
                &[("a", a), ("b", b)],
            )
        };
        let square = [0.0, 0.0, 2.0, 2.0];
        assert!((iou(&square, &square) - 1.0).abs() < 1e-12);
        assert!((iou(&square, &[1.0, 1.0, 3.0, 3.0]) - 1.0 / 7.0).abs() < 1e-12);
        assert_eq!(iou(&square, &[5.0, 5.0, 6.0, 6.0]), 0.0);
        assert_eq!(iou(&[0.0; 4], &[0.0; 4]), 0.0);
        assert_eq!(iou(&[2.0, 2.0, 0.0, 0.0], &square), 0.0);
        assert!(
            weighted_overlap("a", "b", &[]).is_none()
                && weighted_overlap("a", "b", &[0.0]).is_none()
        );
    }

    #[test]
    fn misplacing_the_key_object_costs_more_in_the_stated_ratio() {
        let wanted = [0.0, 0.0, 1.0, 1.0, 4.0, 4.0, 5.0, 5.0];
        let with = |found: [f32; 8]| {
            value(
                weighted_overlap("f", "w", &[3.0, 1.0]).unwrap(),
                &[("f", &found), ("w", &wanted)],
            )
        };
        let (key, other) = (
            [9.0, 9.0, 10.0, 10.0, 4.0, 4.0, 5.0, 5.0],
            [0.0, 0.0, 1.0, 1.0, 9.0, 9.0, 10.0, 10.0],
        );
        let (key, other) = (1.0 - with(key), 1.0 - with(other));
        assert!((key / other - 3.0).abs() < 1e-9, "{key} {other}");
    }

    #[test]
    fn a_rule_about_fragile_things_changes_which_grasp_is_best() {
        // Two grasps: one nearer to the goal but close to the glass.
        let grasps: [(&[f32], &[f32]); 2] = [(&[0.9], &[0.02, 0.3]), (&[0.7], &[0.4, 0.03])];
        let tags: &[f32] = &[1.0, 0.0];
        let reward = |avoid: bool, (quality, distances): (&[f32], &[f32])| {
            let mut expression = Expression::name("quality");
            if avoid {
                expression = Expression::binary(
                    Binary::Add,
                    expression,
                    avoid_tagged("tag.fragile", "distance", 0.1, 1.0),
                );
            }
            value(
                expression,
                &[
                    ("quality", quality),
                    ("tag.fragile", tags),
                    ("distance", distances),
                ],
            )
        };
        assert!(reward(false, grasps[0]) > reward(false, grasps[1]));
        assert!(reward(true, grasps[0]) < reward(true, grasps[1]));
    }

    #[test]
    fn paying_for_stated_percepts_makes_them_true_at_equal_success() {
        // A policy acts and says where the block is; the task pays for acting alone. Hill climbing on both numbers.
        let block = 0.6;
        let learn = |weight: f64| {
            let reward = |action: f64, said: f64| {
                let percept = percept_match(
                    Expression::name("said"),
                    Expression::name("block"),
                    weight,
                    0.3,
                );
                let task = -(action - block).abs();
                task + value(
                    percept,
                    &[("said", &[said as f32]), ("block", &[block as f32])],
                )
            };
            let (mut action, mut said, mut step) = (0.0, -0.5, 0.4);
            for i in 0..200 {
                let (a, s) = match i % 4 {
                    0 => (action + step, said),
                    1 => (action - step, said),
                    2 => (action, said + step),
                    _ => (action, said - step),
                };
                if reward(a, s) > reward(action, said) {
                    (action, said) = (a, s);
                } else if i % 4 == 3 {
                    step *= 0.9;
                }
            }
            ((action - block).abs(), (said - block).abs())
        };
        let ((task, percept), (task_paid, percept_paid)) = (learn(0.0), learn(0.2));
        assert!(task < 0.05 && task_paid < 0.05, "{task} {task_paid}");
        assert!(
            percept > 1.0 && percept_paid < 0.05,
            "{percept} {percept_paid}"
        );
    }
}
