use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};

use super::*;
use crate::model::{Clip, Context, RewardModel as _};
use crate::store::{RewardDir, StoredReward as _};

fn clip() -> Clip {
    let mut clip = Clip {
        fps: 10.0,
        ..Clip::default()
    };
    let state = [0.0, 0.0, 3.0, 4.0, 1.0, 0.5, 3.0, 4.0, 3.0, 3.5, 3.0, 4.0];
    clip.columns
        .insert("observation.state".into(), Features::new(4, state.to_vec()));
    clip.columns.insert(
        "action".into(),
        Features::new(2, vec![1.0, -1.0, 1.0, 2.0, 0.0, 0.0]),
    );
    clip.columns
        .insert("odd name/x".into(), Features::new(1, vec![1.0, 2.0, 4.0]));
    clip
}

fn value(text: &str) -> Result<Vec<f64>, String> {
    let reward = ProgramReward::parse(&format!("r = {text}")).map_err(|e| e.to_string())?;
    let signal = reward
        .score(&clip(), &Context::default())
        .map_err(|e| e.to_string())?;
    Ok(signal.per_step)
}

#[test]
fn expressions_have_the_values_of_arithmetic() {
    for (text, expected) in [
        ("1 + 2 * 3 - 4 / 2", [5.0; 3]),
        ("-(2 - 3) - -1", [2.0; 3]),
        ("8 / 4 / 2", [1.0; 3]),
        ("observation.state[0]", [0.0, 1.0, 3.0]),
        (
            "distance(observation.state[0..2], observation.state[2..4])",
            [5.0, 16.25f64.sqrt(), 0.5],
        ),
        ("norm(delta(action))", [0.0, 3.0, 5.0f64.sqrt()]),
        ("delta(`odd name/x`)", [0.0, 1.0, 2.0]),
        ("delta(delta(`odd name/x`))", [0.0, 1.0, 1.0]),
        ("sum([`odd name/x`, 1, action])", [2.0, 6.0, 5.0]),
        ("mean(action * 2)", [0.0, 3.0, 0.0]),
        ("dot(action, [2, 1])", [1.0, 4.0, 0.0]),
        ("if(`odd name/x` >= 2, `odd name/x`, -1)", [-1.0, 2.0, 4.0]),
        ("`odd name/x` > 1 && !(`odd name/x` > 3)", [0.0, 1.0, 0.0]),
        ("`odd name/x` < 2 || `odd name/x` > 3", [1.0, 0.0, 1.0]),
        (
            "max(`odd name/x`, 2) + min(`odd name/x`, 2)",
            [3.0, 4.0, 6.0],
        ),
        (
            "tanh(0) + sigmoid(0) + exp(0) + sqrt(4) + abs(-1)",
            [4.5; 3],
        ),
        ("1e-3 * 2E3 + .5", [2.5; 3]),
    ] {
        assert_eq!(value(text), Ok(expected.to_vec()), "{text}");
    }
}

#[test]
fn what_arithmetic_leaves_open_is_defined_and_finite() {
    for (text, expected) in [
        ("0 / 0", 0.0),
        ("1 / 0", 1e9),
        ("-1 / 0", -1e9),
        ("1 / -1e-30", -1e9),
        ("exp(1000)", 1e12),
        ("exp(1000) * exp(1000) - exp(1000)", 0.0),
        ("exp(-1e12)", 0.0),
        ("sqrt(-4)", 0.0),
        ("1e12 * -1e12", -1e12),
        ("norm([1e12, 1e12])", 1e12),
    ] {
        for found in value(text).unwrap() {
            assert!(
                (found - expected).abs() <= 1e-12 * f64::abs(expected),
                "{text}: {found}"
            );
        }
    }
}

#[test]
fn terms_are_named_and_sum_to_the_reward() {
    let reward = ProgramReward::parse(
        "# a comment\nlet hand = observation.state[0..2]\nlet far = distance(hand,\n  observation.state[2..4])\n\
         reach: -far # the old way to write `=`\ngentle = -0.5 * norm(delta(action)); there = if(far < 1, 10, 0)\n",
    )
    .unwrap();
    assert_eq!(reward.program().columns(), ["observation.state", "action"]);
    let signal = reward.score(&clip(), &Context::default()).unwrap();
    assert_eq!(
        signal.terms.keys().collect::<Vec<_>>(),
        ["gentle", "reach", "there"]
    );
    assert_eq!(signal.terms["there"], [0.0, 0.0, 10.0]);
    for t in 0..3 {
        let sum: f64 = signal.terms.values().map(|term| term[t]).sum();
        assert!((sum - signal.per_step[t]).abs() < 1e-12);
    }
    // A single row of features is enough, and one step too.
    let alone = Clip::from_features(Features::new(2, vec![3.0, 4.0]), 30.0);
    let norm = ProgramReward::parse("n = norm(features) + norm(delta(features))").unwrap();
    assert_eq!(
        norm.score(&alone, &Context::default()).unwrap().per_step,
        [5.0]
    );
}

#[test]
fn mistakes_are_said_with_their_place() {
    for (text, part) in [
        ("", "there is no term"),
        (
            "r = 1 +",
            "line 1, column 8: the end stands where a value belongs",
        ),
        ("r = (1 + 2", "`)`"),
        (
            "a = 1\nb = 2 $ 3",
            "line 2, column 7: `$` has no meaning here",
        ),
        (
            "r = cosh(1)",
            "line 1, column 5: there is no function `cosh`",
        ),
        ("r = if(1, 2)", "`if` takes 3 values, here are 2"),
        ("r = abs(1, 2)", "takes one value"),
        ("r = x[2..2]", "empty"),
        ("r = x[0.5]", "whole number"),
        ("r = []", "at least one number"),
        ("r = `x", "no closing"),
        ("r = 1e13", "numbers go up to 1e12"),
        (
            "r = 1 2",
            "the number 2 stands where the end of the line belongs",
        ),
        ("r = 1\nr = 2", "`r` is there already"),
        (
            "r = 1\nlet a = 2",
            "line 2, column 1: names are given before the first term",
        ),
        ("let = 3", "a name"),
        ("r 3", "`=`"),
    ] {
        let message = ProgramReward::parse(text).unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
    let deep = format!("r = {}1{}", "(".repeat(40), ")".repeat(40));
    assert!(
        ProgramReward::parse(&deep)
            .unwrap_err()
            .to_string()
            .contains("nest deeper")
    );
    let signs = format!("r = {}x", "-".repeat(10_000));
    assert!(
        ProgramReward::parse(&signs)
            .unwrap_err()
            .to_string()
            .contains("nest deeper")
    );
    let long = format!("r = 1{}", " + 1".repeat(600));
    assert!(
        ProgramReward::parse(&long)
            .unwrap_err()
            .to_string()
            .contains("more than 512 parts")
    );
    let huge = format!("r = 1{}", " ".repeat(40_000));
    assert!(
        ProgramReward::parse(&huge)
            .unwrap_err()
            .to_string()
            .contains("bytes long")
    );
}

#[test]
fn clips_that_do_not_suit_are_refused() {
    for (text, part) in [
        (
            "absent",
            "no column `absent`, which the reward program uses; it has action, observation.state, odd name/x",
        ),
        ("action[2]", "asks for more than the 2 numbers"),
        ("sum(action[1..9])", "asks for more"),
        ("action", "has 2 numbers at each step"),
        (
            "sum(action + observation.state)",
            "rows of 2 and 4 numbers meet",
        ),
        ("features[0]", "no column `features`"),
    ] {
        let message = value(text).unwrap_err();
        assert!(message.contains(part), "{text}: {message}");
    }
    let score = |text: &str, clip: &Clip| {
        let reward = ProgramReward::parse(text).unwrap();
        reward
            .score(clip, &Context::default())
            .map_err(|e| e.to_string())
    };
    assert!(
        score("r = 1", &Clip::default())
            .unwrap_err()
            .contains("no frames")
    );
    let mut uneven = clip();
    uneven
        .columns
        .insert("action".into(), Features::new(1, vec![0.0; 5]));
    assert!(
        score("r = action + `odd name/x`", &uneven)
            .unwrap_err()
            .contains("3 steps where the rest of the clip has 5")
    );
    let mut broken = clip();
    broken
        .columns
        .insert("action".into(), Features::new(1, vec![0.0, f32::NAN, 0.0]));
    assert!(
        score("r = action", &broken)
            .unwrap_err()
            .contains("`action` at step 1 is not finite")
    );
    let wide = Clip::from_features(Features::new(4000, vec![0.5; 4000 * 100]), 1.0);
    let costly = format!("r = sum(features{})", " * features".repeat(200));
    assert!(
        score(&costly, &wide)
            .unwrap_err()
            .contains("use shorter clips")
    );
}

#[test]
fn a_program_comes_back_from_a_directory_as_text() {
    let reward = ProgramReward::parse("let a = action[0]\nr = -a * `odd name/x`\n").unwrap();
    let root = tempfile::tempdir().unwrap();
    let dir = RewardDir::new(root.path());
    let encoder = EncoderSpec {
        name: "none".into(),
        dim: 1,
        fingerprint: "0".into(),
    };
    dir.save(&reward, &encoder, 0).unwrap();
    let header = std::fs::read_to_string(root.path().join("reward.toml")).unwrap();
    assert!(header.contains("r = -a * `odd name/x`"), "{header}");
    let loaded = dir.load().unwrap();
    assert_eq!(loaded.config, reward.config().unwrap());
    assert_eq!(
        loaded.model.score(&clip(), &Context::default()).unwrap(),
        reward.score(&clip(), &Context::default()).unwrap()
    );
}

#[test]
fn trees_too_are_kept_as_data() {
    let expression: Expression = "if(a[1] < 2, -b, [1, 2][0..1])"
        .parse()
        .unwrap_or_else(|_| "if(a[1] < 2, -b, norm([1, 2]))".parse().unwrap());
    let text = serde_json::to_string(&expression).unwrap();
    assert_eq!(
        serde_json::from_str::<Expression>(&text).unwrap(),
        expression
    );
}

#[test]
fn random_text_never_panics() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let pieces = [
        "let ",
        "r",
        " = ",
        "\n",
        "(",
        ")",
        "[",
        "]",
        "..",
        ".",
        "1",
        "1e",
        "9e999",
        "-",
        "+",
        "*",
        "/",
        "<",
        "=",
        "&",
        "&&",
        "||",
        "!",
        ",",
        "if(",
        "norm(",
        "delta(",
        "distance(",
        "observation.state",
        "action",
        "`",
        "#",
        "é",
        "\0",
        ";",
        "r = ",
        "[0]",
        "[0..2]",
        "0",
        " ",
    ];
    let mut read = 0;
    for round in 0..20_000 {
        let length = rng.random_range(0..12);
        let mut text = if round % 2 == 0 {
            String::new()
        } else {
            "r = ".into()
        };
        for _ in 0..length {
            text.push_str(pieces[rng.random_range(0..pieces.len())]);
        }
        if let Ok(reward) = ProgramReward::parse(&text) {
            read += 1;
            assert_eq!(
                reward.program().to_string().parse::<Program>().unwrap(),
                *reward.program()
            );
            if let Ok(signal) = reward.score(&clip(), &Context::default()) {
                assert!(signal.per_step.iter().all(|v| v.is_finite()));
            }
        }
    }
    assert!(read > 50, "only {read} of the texts were programs");
    for _ in 0..2_000 {
        let bytes: Vec<u8> = (0..rng.random_range(0..40))
            .map(|_| rng.random_range(0..=255))
            .collect();
        let _ = ProgramReward::parse(&String::from_utf8_lossy(&bytes));
    }
}

/// Expressions over the columns of [`clip`], most of which fit together.
fn expressions() -> impl Strategy<Value = Expression> {
    let name = prop_oneof![
        Just("observation.state"),
        Just("action"),
        Just("odd name/x"),
        Just("if"),
        Just("x.y_1")
    ];
    let part = prop_oneof![
        Just(Part::Whole),
        (0usize..5).prop_map(Part::At),
        (0usize..3, 1usize..3).prop_map(|(from, more)| Part::Range(from, from + more)),
    ];
    let leaf = prop_oneof![
        (-1e12f64..1e12).prop_map(Expression::Number),
        (-3.0f64..3.0).prop_map(Expression::Number),
        Just(Expression::Number(-0.0)),
        (name, part).prop_map(|(name, part)| Expression::Name {
            name: name.into(),
            part
        }),
    ];
    leaf.prop_recursive(5, 60, 3, |inner| {
        let unary = prop::sample::select(
            Unary::FUNCTIONS
                .into_iter()
                .chain([Unary::Negate, Unary::Not])
                .collect::<Vec<_>>(),
        );
        let binary = prop::sample::select(
            Binary::INFIX
                .into_iter()
                .chain(Binary::FUNCTIONS)
                .collect::<Vec<_>>(),
        );
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Expression::Row),
            (unary, inner.clone()).prop_map(|(op, x)| Expression::unary(op, x)),
            (binary, inner.clone(), inner.clone())
                .prop_map(|(op, a, b)| Expression::binary(op, a, b)),
            [inner.clone(), inner.clone(), inner].prop_map(|parts| Expression::If(Box::new(parts))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(value in expressions(), other in expressions()) {
        prop_assert_eq!(&value.to_string().parse::<Expression>().unwrap(), &value);
        let program = Program {
            definitions: vec![Definition { name: "a b".into(), value: other }],
            terms: vec![Term { name: "t".into(), value }],
        };
        prop_assert_eq!(&program.to_string().parse::<Program>().unwrap(), &program);
        prop_assert!(program.validate().is_ok());
    }

    #[test]
    fn a_value_is_finite_or_an_error(value in expressions()) {
        let program = Program::from_terms(vec![("r".into(), Expression::unary(Unary::Sum, value))]).unwrap();
        if let Ok(signal) = ProgramReward::new(program).unwrap().score(&clip(), &Context::default()) {
            prop_assert!(signal.per_step.iter().all(|v| v.is_finite()));
        }
    }
}
