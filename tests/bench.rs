//! The measured experiments, small: the whole way from rollouts to tables. What they measure at full size is in `docs/results.md`.

use assert_cmd::Command;
use serde_json::Value;

fn bench(words: &[&str]) -> Value {
    let output = Command::cargo_bin("rapport")
        .unwrap()
        .arg("bench")
        .args(words)
        .arg("--json")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "bench {words:?} said: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_claim_is_measured_from_rollouts_to_page_and_the_seed_decides_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("claim");
    let words = [
        "claim",
        "--quick",
        "--tasks",
        "avoid",
        "--encoder",
        "pixels@16",
    ];
    let found = bench(&[&words[..], &["--out", out.to_str().unwrap()]].concat());
    for name in ["claim.html", "claim.json", "claim.png"] {
        assert!(out.join(name).exists(), "{name}");
    }
    let rows = found["rows"].as_array().unwrap();
    let sets = found["config"]["sets"].as_array().unwrap().len();
    // Three rewards at two numbers of answers, the others once.
    let others = found["config"]["methods"].as_array().unwrap().len() - 3;
    assert_eq!(rows.len(), sets * (3 * 2 + others));
    for row in rows {
        for what in ["triplets", "between", "within"] {
            let value = row[what]["value"].as_f64().unwrap();
            assert!((-1.0..=1.0).contains(&value), "{row}");
        }
    }
    // The clips are of different worth, and those done well are successes more often.
    let clips = &found["clips"][0];
    let returns = clips["returns"].as_array().unwrap().iter();
    let returns: Vec<f64> = returns.map(|r| r.as_f64().unwrap()).collect();
    let least = returns.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = returns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(least + 0.03 < greatest, "{returns:?}");
    let success = |what: &str| clips[what].as_f64().unwrap();
    assert!(success("exemplar_success") > success("success"));
    // One seed at a time, put together, is the same.
    let parts: Vec<String> = ["0", "1"]
        .iter()
        .map(|seed| {
            let part = folder.path().join(format!("part-{seed}"));
            let path = part.to_str().unwrap();
            bench(&[&words[..], &["--seeds", "1", "--seed", seed, "--out", path]].concat());
            part.join("claim.json").display().to_string()
        })
        .collect();
    let together = bench(&["claim", "--from", &parts[0], &parts[1]]);
    for what in ["measurements", "rows", "differences", "config"] {
        assert!(same(&found[what], &together[what]), "{what}");
    }
}

/// Equal but for the last digit, which a number can lose on its way through JSON.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-12 * a.abs().max(1.0)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn steps_are_measured_from_demonstrations_to_tables() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("steps");
    let words = ["steps", "--quick", "--encoder", "pixels@16"];
    let found = bench(&[&words[..], &["--out", out.to_str().unwrap()]].concat());
    assert!(out.join("steps.html").exists() && out.join("steps.json").exists());
    let rows = found["rows"].as_array().unwrap();
    // 2 and 3 steps, each looked for in two ways.
    assert_eq!(rows.len(), 4);
    for row in rows {
        let steps = row["steps"].as_u64().unwrap() as usize;
        for table in [
            "found",
            "found_at_random",
            "found_anywhere",
            "rewarded",
            "rewarded_at_random",
        ] {
            assert_eq!(row[table]["per_step"].as_array().unwrap().len(), steps);
            let mean = row[table]["mean"]["value"].as_f64().unwrap();
            assert!((1.0..=100.0).contains(&mean), "{row}");
        }
    }
    assert_eq!(found["measurements"], bench(&words)["measurements"]);
}

#[test]
fn imitation_by_an_adversary_is_measured_with_and_without_what_keeps_it_from_being_steep() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sam");
    let found = bench(&["sam", "--quick", "--out", out.to_str().unwrap()]);
    for name in ["sam.md", "sam.json", "sam.png"] {
        assert!(out.join(name).exists(), "{name}");
    }
    let lines = found["lines"].as_array().unwrap();
    assert_eq!(
        (lines.len(), found["runs"].as_array().unwrap().len()),
        (4, 4)
    );
    let gradient = |at: usize| lines[at]["gradient"]["value"].as_f64().unwrap();
    // Nothing, a penalty, spectral normalisation, both.
    assert!(gradient(0) > 1.5, "{}", gradient(0));
    assert!((1..4).all(|at| gradient(at) < 1.2), "{lines:?}");
}
