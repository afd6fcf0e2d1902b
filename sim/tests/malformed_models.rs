//! A thousand damaged models and task files: each is an error with a file, or loads and can be stepped. Nothing crashes, hangs,
//! takes the machine's memory or prints.
//!
//! They are read in a process of their own, so that a crash of MuJoCo itself would be seen as one.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_sim::environment::{Actions, make};
use rapport_sim::{EnvConfig, EnvError};

/// Says to the child which files to make and where to write its report: `FIRST COUNT PATH`.
const CHILD: &str = "RAPPORT_MALFORMED";

const NAME: &str = "a_thousand_malformed_files_are_errors_or_models_and_nothing_worse";

const FILES: u64 = 1000;

/// Something of everything that a model can ask for.
const MJCF: &str = include_str!("malformed_models/zoo.xml");

const ARM: &str = include_str!("malformed_models/arm.xml");

const URDF: &str = include_str!("malformed_models/pointer.urdf");

const TASK: &str = include_str!("malformed_models/task.toml");

/// A tetrahedron as binary STL.
fn stone() -> Vec<u8> {
    let corners = [
        [0.0_f32; 3],
        [0.1, 0.0, 0.0],
        [0.0, 0.1, 0.0],
        [0.0, 0.0, 0.1],
    ];
    let mut stl = vec![0; 80];
    stl.extend(4_u32.to_le_bytes());
    for face in [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]] {
        stl.extend([0; 12]);
        for corner in face {
            stl.extend(
                corners[corner as usize]
                    .iter()
                    .flat_map(|x| x.to_le_bytes()),
            );
        }
        stl.extend([0; 2]);
    }
    stl
}

/// What is between quotes.
fn values(text: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut start) = (Vec::new(), None);
    for (i, &byte) in text.iter().enumerate() {
        match (byte, start) {
            (b'"', None) => start = Some(i + 1),
            (b'"', Some(from)) => {
                found.push(from..i);
                start = None;
            }
            (b'\n', _) => start = None,
            _ => {}
        }
    }
    found
}

fn numbers(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let digit = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    let mut i = 0;
    while i < text.len() {
        let end = i + text[i..].iter().take_while(|&&byte| digit(byte)).count();
        if end > i && (i == 0 || !text[i - 1].is_ascii_alphanumeric()) {
            found.push(i..end);
        }
        i = end.max(i + 1);
    }
    found
}

/// Names of XML elements.
fn tags(text: &[u8]) -> Vec<Range<usize>> {
    let starts = text
        .windows(2)
        .enumerate()
        .filter(|(_, w)| w[0] == b'<' && w[1].is_ascii_alphabetic());
    starts
        .map(|(i, _)| {
            let name = text[i + 1..]
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric());
            i + 1..i + 1 + name.count()
        })
        .collect()
}

fn pick(list: &[Range<usize>], rng: &mut ChaCha8Rng) -> Option<Range<usize>> {
    (!list.is_empty()).then(|| list[rng.random_range(0..list.len())].clone())
}

/// Numbers that nobody writes on purpose.
const ODD: [&str; 20] = [
    "nan",
    "inf",
    "-1",
    "0",
    "1e308",
    "1e999",
    "-1e12",
    "1e9",
    "2147483648",
    "-2147483649",
    "1e-300",
    "",
    "x",
    "1 2 3 4 5 6 7 8 9",
    "9999999",
    "-nan",
    "100000",
    "0.5",
    "18446744073709551616",
    "NaN(1)",
];

/// Files that are not there, are not files, or are the wrong ones.
const PATHS: [&str; 7] = [
    "missing.xml",
    "model.xml",
    "arm.xml",
    "/dev/zero",
    ".",
    "stone.stl",
    "\0",
];

fn damage(text: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let length = text.len();
    match rng.random_range(0..11) {
        0 => {
            for _ in 0..rng.random_range(1..8) {
                let i = rng.random_range(0..length);
                text[i] ^= 1 << rng.random_range(0..8);
            }
        }
        1 => text.truncate(rng.random_range(0..length)),
        2 => {
            if let (Some(one), Some(other)) = (pick(&tags(text), rng), pick(&tags(text), rng)) {
                let new = text[other].to_vec();
                text.splice(one, new);
            }
        }
        3..=6 => {
            if let Some(range) = pick(&numbers(text), rng) {
                text.splice(range, ODD[rng.random_range(0..ODD.len())].bytes());
            }
        }
        7 => {
            let start = rng.random_range(0..length);
            let end = (start + rng.random_range(1..200)).min(length);
            let piece: Vec<u8> = text.drain(start..end).collect();
            if rng.random_range(0..2) == 0 {
                let there = rng.random_range(0..=text.len());
                text.splice(there..there, piece.iter().chain(&piece).copied());
            }
        }
        8 => {
            let mut all = values(text);
            let named = |range: &Range<usize>| {
                let value = &text[range.clone()];
                value.ends_with(b".xml") || value.ends_with(b".stl")
            };
            if all.iter().any(named) {
                all.retain(named);
            }
            if let Some(range) = pick(&all, rng) {
                text.splice(range, PATHS[rng.random_range(0..PATHS.len())].bytes());
            }
        }
        9 => {
            if let (Some(one), Some(other)) = (pick(&values(text), rng), pick(&values(text), rng)) {
                let new = text[other].to_vec();
                text.splice(one, new);
            }
        }
        _ => {
            let there = rng.random_range(0..length);
            let deep = "<body>".repeat(rng.random_range(1..3000));
            let odd = [
                "<",
                ">",
                "\"",
                "&",
                "&#0;",
                "<!--",
                "]]>",
                "[[",
                "=",
                "\n",
                "<!DOCTYPE x [<!ENTITY a \"b\">]>",
                &deep,
            ];
            text.splice(there..there, odd[rng.random_range(0..odd.len())].bytes());
        }
    }
}

/// What became of one file.
enum Fate {
    Loaded,
    /// Whether the line was known.
    Refused(bool),
}

/// Writes model number `number` with its files into `folder` and returns the environment's name and its configuration.
fn write(folder: &Path, number: u64, rng: &mut ChaCha8Rng) -> (String, EnvConfig) {
    let mut files = [
        ("model.xml", MJCF.as_bytes().to_vec()),
        ("arm.xml", ARM.as_bytes().to_vec()),
        ("model.urdf", URDF.as_bytes().to_vec()),
        ("task.toml", TASK.as_bytes().to_vec()),
        ("stone.stl", stone()),
    ];
    let (victim, name, with_task) = match number % 8 {
        0..=2 => (0, "mjcf:", false),
        3 if number.is_multiple_of(3) => (4, "mjcf:", false),
        3 => (1, "mjcf:", false),
        4 | 5 => (2, "urdf:", false),
        _ => (3, "mjcf:", true),
    };
    // A few are whole, so that it is known that whole ones load.
    if number >= 8 {
        for _ in 0..rng.random_range(1..=3) {
            if files[victim].1.len() > 10 {
                damage(&mut files[victim].1, rng);
            }
        }
    }
    for (name, content) in &files {
        fs::write(folder.join(name), content).unwrap();
    }
    let model = if name == "urdf:" {
        "model.urdf"
    } else {
        "model.xml"
    };
    let config = EnvConfig {
        task_file: with_task.then(|| folder.join("task.toml")),
        ..EnvConfig::default()
    };
    (format!("{name}{}", folder.join(model).display()), config)
}

fn try_one(folder: &Path, number: u64) -> Result<Fate, String> {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let (name, config) = write(folder, number, &mut rng);
    let refused = |error: EnvError| match error {
        EnvError::Model(error) if error.file.starts_with(folder) => {
            Ok(Fate::Refused(error.line.is_some()))
        }
        EnvError::World(_) => Ok(Fate::Refused(true)),
        other => Err(format!("an error without a file: {other}")),
    };
    let mut env = match make(&name, &config) {
        Ok(env) => env,
        Err(error) => return refused(error),
    };
    if let Err(error) = env.reset(number) {
        return refused(error);
    }
    let Actions::Continuous(ranges) = env.description().action.clone() else {
        return Err("a choice".into());
    };
    for _ in 0..3 {
        let action: Vec<f64> = ranges
            .iter()
            .map(|&(low, high)| rng.random_range(low..=high))
            .collect();
        match env.step(&action) {
            Ok(outcome) if !outcome.reward.is_finite() => {
                return Err(format!("the reward is {}", outcome.reward));
            }
            Ok(_) => {}
            Err(error) => return refused(error),
        }
        let mut seen = vec![0.0; env.description().observation_len()];
        env.observe(&mut seen);
        if !seen.iter().all(|x| x.is_finite()) {
            return Err("an observation is not finite".into());
        }
    }
    Ok(Fate::Loaded)
}

fn child(order: &str) {
    let mut parts = order.splitn(3, ' ');
    let mut next = || parts.next().unwrap();
    let (first, count): (u64, u64) = (next().parse().unwrap(), next().parse().unwrap());
    let report = PathBuf::from(next());
    let (mut loaded, mut lines, mut slowest) = (0, 0, (Duration::ZERO, 0));
    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("here");
    fs::create_dir(&folder).unwrap();
    for number in first..first + count {
        fs::write(&report, format!("file {number} was being read")).unwrap();
        let start = Instant::now();
        match try_one(&folder, number) {
            Ok(Fate::Loaded) => loaded += 1,
            Ok(Fate::Refused(line)) => {
                assert!(number >= 8, "file {number} is whole and was refused");
                lines += u64::from(line);
            }
            Err(why) => panic!("file {number}: {why}"),
        }
        slowest = slowest.max((start.elapsed(), number));
    }
    let (slowest, which) = (slowest.0.as_millis(), slowest.1);
    fs::write(&report, format!("done {loaded} {lines} {slowest} {which}")).unwrap();
}

#[test]
fn a_thousand_malformed_files_are_errors_or_models_and_nothing_worse() {
    if let Ok(order) = std::env::var(CHILD) {
        return child(&order);
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
        .current_dir(folder.path())
        // Compiled models of damaged files are nobody's to keep.
        .env("RAPPORT_HOME", folder.path())
        .env(CHILD, format!("0 {FILES} {}", report.display()))
        .output()
        .unwrap();
    let report = fs::read_to_string(report).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{report}; {:?}; {said}",
        output.status
    );
    assert!(said.is_empty(), "something was printed: {said}");
    // What the test harness says, and nothing else.
    let harness = [
        "running 1 test",
        "test result: ok",
        &format!("test {NAME} ... ok"),
    ];
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let known = line.is_empty() || harness.iter().any(|start| line.starts_with(start));
        assert!(known, "something was printed: {line}");
    }
    let numbers: Vec<u64> = report
        .split(' ')
        .skip(1)
        .map(|number| number.parse().unwrap())
        .collect();
    let [loaded, lines, slowest_ms, _] = numbers[..] else {
        panic!("{report}");
    };
    // Some damage is harmless; what is refused says in which line, but for damaged meshes and what only the whole shows.
    assert!(loaded < FILES / 2, "{report}");
    assert!(lines * 10 > (FILES - loaded) * 8, "{report}");
    assert!(slowest_ms < 20_000, "{report}");
    assert!(!folder.path().join("MUJOCO_LOG.TXT").exists());
}
