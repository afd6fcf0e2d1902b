//! The measures against other people's software: numpy and scipy (`tests/peers/goldens/evaluate.py`).

use serde_json::Value;

use super::*;

fn golden(name: &str) -> Value {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/evaluate.json"
    ));
    serde_json::from_str::<Value>(text).unwrap()[name].clone()
}

fn list(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|v| v.as_f64().unwrap()).collect()
}

fn near(found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn correlations_are_those_of_scipy() {
    for case in golden("correlation").as_array().unwrap() {
        let (x, y) = (list(&case["x"]), list(&case["y"]));
        near(pearson(&x, &y).unwrap(), &case["pearson"]);
        near(spearman(&x, &y).unwrap(), &case["spearman"]);
        near(kendall(&x, &y).unwrap(), &case["kendall"]);
    }
}

#[test]
fn the_canonical_form_is_that_of_explicit_sums() {
    let case = golden("epic");
    let (one, other) = (list(&case["one"]), list(&case["other"]));
    let coverage = Coverage {
        states: list(&case["states"]),
        actions: list(&case["actions"]),
    };
    let (states, actions) = (coverage.states.len(), coverage.actions.len());
    let gamma = case["gamma"].as_f64().unwrap();
    let of =
        |table: Vec<f64>| move |s: usize, a: usize, n: usize| table[(s * actions + a) * states + n];
    let all: Vec<Transition> = (0..states)
        .flat_map(|s| (0..actions).flat_map(move |a| (0..states).map(move |n| (s, a, n))))
        .collect();
    let form = canonical(of(one.clone()), &all, &coverage, gamma).unwrap();
    for (found, expected) in form.iter().zip(case["canonical_one"].as_array().unwrap()) {
        near(*found, expected);
    }
    let distance = canonical_distance(of(one), of(other), &all, &coverage, gamma).unwrap();
    near(distance.unwrap(), &case["distance"]);
}

#[test]
fn calibration_is_that_of_scipy() {
    let case = golden("calibration");
    let found = calibration(&list(&case["errors"]), &list(&case["deviations"])).unwrap();
    let kept: Vec<f64> = found.coverage.iter().map(|c| c.1).collect();
    assert_eq!(kept, list(&case["kept"]));
    near(found.error, &case["error"]);
    near(found.knows_where.unwrap(), &case["knows_where"]);
    near(found.ratio.unwrap(), &case["ratio"]);

    let case = golden("chances");
    let happened: Vec<bool> = case["happened"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_bool().unwrap())
        .collect();
    near(
        chance_calibration(&list(&case["p"]), &happened).unwrap(),
        &case["error"],
    );

    let case = golden("line");
    let (slope, offset) = line(&list(&case["x"]), &list(&case["y"])).unwrap();
    near(slope, &case["slope"]);
    near(offset, &case["offset"]);
}

#[test]
fn separation_is_the_mann_whitney_statistic() {
    let case = golden("separation");
    let area = separation(&list(&case["good"]), &list(&case["poor"])).unwrap();
    near(area, &case["area"]);
}

#[test]
fn the_best_of_n_is_that_of_order_statistics() {
    let case = golden("best_of");
    let (proxy, truth) = (list(&case["proxy"]), list(&case["truth"]));
    let choices: Vec<Choice> = proxy
        .iter()
        .zip(&truth)
        .enumerate()
        .map(|(clip, (&proxy, &truth))| Choice { proxy, truth, clip })
        .collect();
    let points = best_of_n(&choices, 0);
    assert_eq!(points.len(), 3);
    for point in points {
        near(
            point.truth.value,
            &case["truth_of_best"][point.candidates.to_string()],
        );
    }
}
