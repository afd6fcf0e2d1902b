//! The demonstrations, where they have been fetched; and what damaged files lead to, everywhere.

use std::io::Write as _;

use hdf5_writer::{AttributeBuilder, DatasetBuilder, Hdf5Builder, WriteOptions};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::log::{Playback, Verdict};
use crate::render::{Backend, Quality};

/// The fetched package. None, and a line that says so, where it was not.
#[allow(clippy::print_stderr)]
fn fetched() -> Option<Robosuite> {
    let installed = Robosuite::installed();
    if installed.is_err() {
        eprintln!("skipped: run ./x assets robosuite");
    }
    installed.ok()
}

fn load(name: &str) -> Option<Log> {
    let robosuite = fetched()?;
    let all = robosuite.demonstrations().unwrap();
    let found = all.iter().find(|found| found.name == name).unwrap();
    let mut logs = robosuite.load(found).unwrap();
    assert_eq!(logs.len(), 1);
    logs.pop()
}

fn verdicts(playback: &mut Playback, rows: impl IntoIterator<Item = usize>) -> Vec<Verdict> {
    rows.into_iter()
        .map(|row| {
            playback.show(row).unwrap();
            playback.verdict().unwrap()
        })
        .collect()
}

/// The run succeeds at its end, and in no state before number `first`.
fn succeeds_from(name: &str, states: usize, first: usize) {
    let Some(log) = load(name) else { return };
    assert_eq!(log.states.len(), states);
    assert_eq!(log.rate_hz, 20.0);
    let mut playback = Playback::new(Arc::new(log), Backend::Cpu, Quality::Fast).unwrap();
    let before = verdicts(&mut playback, (0..first).step_by(7).chain([first - 1]));
    assert!(before.iter().all(|verdict| !verdict.success));
    let after = verdicts(&mut playback, first..states);
    assert!(
        after
            .iter()
            .all(|verdict| verdict.success && verdict.reward == 1.0)
    );
}

// The recording program stopped eleven states after the task was done, so the first success is also a check of the condition.

#[test]
fn the_lift_succeeds() {
    succeeds_from("lift", 412, 401);
}

#[test]
fn the_stack_succeeds() {
    succeeds_from("stack", 532, 522);
}

#[test]
fn the_door_opens() {
    succeeds_from("door", 261, 250);
}

#[test]
fn the_four_things_are_sorted() {
    succeeds_from("pick-place", 1482, 1471);
}

#[test]
fn the_nuts_are_put_on_the_pegs() {
    succeeds_from("nut-assembly", 1036, 1025);
}

#[test]
fn a_thing_in_its_bin_counts_a_quarter() {
    let Some(log) = load("pick-place") else {
        return;
    };
    let mut playback = Playback::new(Arc::new(log), Backend::Cpu, Quality::Fast).unwrap();
    let verdicts = verdicts(&mut playback, [0, 400, 800, 1200, 1481]);
    let rewards: Vec<f64> = verdicts.iter().map(|verdict| verdict.reward).collect();
    assert_eq!(rewards, [0.0, 0.25, 0.5, 0.75, 1.0]);
}

#[test]
fn an_action_moves_the_hand_its_way_in_the_next_state() {
    let Some(log) = load("lift") else { return };
    let log = Arc::new(log);
    let mut playback = Playback::new(log.clone(), Backend::Cpu, Quality::Fast).unwrap();
    // The gripper is told to close in action 349, and starts to in state 350.
    assert_eq!(log.actions.row(348)[6], -1.0);
    assert_eq!(log.actions.row(349)[6], 1.0);
    let opening = |playback: &mut Playback, row| {
        playback.show(row).unwrap();
        *playback.robot_state().last().unwrap()
    };
    assert!(opening(&mut playback, 349) > 0.98);
    assert!(opening(&mut playback, 350) < 0.9);
}

#[test]
fn the_models_keep_their_physics_and_hide_what_robosuite_hides() {
    let Some(log) = load("lift") else { return };
    let model = &log.model;
    let geom = |name: &str| model.name_to_id(MjtObjBase::mjOBJ_GEOM, name).unwrap();
    let visible = |name: &str| model.geom_group()[geom(name)] < 3;
    assert!(visible("floor") && visible("cube") && visible("gripper0_hand_visual"));
    assert!(!visible("table_collision") && !visible("gripper0_hand_collision"));
    assert!(model.site_group().iter().all(|&group| group >= 3));
    // Collision geoms still collide.
    assert_eq!(model.geom_contype()[geom("table_collision")], 1);
    assert!(
        model.ffi().narena < 200 << 20,
        "{} bytes",
        model.ffi().narena
    );
}

#[test]
fn wiping_is_found_and_has_no_condition() {
    let Some(robosuite) = fetched() else { return };
    let all = robosuite.demonstrations().unwrap();
    let names: Vec<&str> = all.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "door",
            "lift",
            "nut-assembly",
            "pick-place",
            "stack",
            "wipe"
        ]
    );
    let wipe = all.last().unwrap();
    assert_eq!(robosuite.task(wipe).unwrap(), ("Wipe".into(), None));
    let error = robosuite.load(wipe).unwrap_err().to_string();
    assert!(
        error.contains("Wipe") && error.contains("NutAssembly"),
        "{error}"
    );
}

/// A file as robosuite writes it, with `columns` numbers in each of `rows` states.
fn file(rows: usize, columns: usize, model: &str) -> Vec<u8> {
    let states: Vec<f64> = (0..rows * columns)
        .map(|i| {
            if i % columns == 0 {
                (i / columns) as f64 * 0.05
            } else {
                0.1
            }
        })
        .collect();
    let dataset = |name: &str, columns: usize, values: &[f64]| {
        DatasetBuilder::typed_data(name, [rows as u64, columns as u64], values).unwrap()
    };
    Hdf5Builder::new()
        .dataset(dataset("data/demo_1/states", columns, &states))
        .dataset(dataset("data/demo_1/actions", 7, &vec![0.5; rows * 7]))
        .group_attribute(
            "data",
            AttributeBuilder::vlen_strings("env", &["Lift"]).unwrap(),
        )
        .group_attribute(
            "data/demo_1",
            AttributeBuilder::fixed_string("model_file", model),
        )
        .into_plan()
        .unwrap()
        .encode(WriteOptions::default())
        .unwrap()
}

#[test]
fn states_and_actions_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.hdf5");
    std::fs::write(&path, file(4, 6, "model_1.xml")).unwrap();
    let recorded = hdf5::read(&path).unwrap();
    assert_eq!(recorded.environment, "Lift");
    let run = &recorded.runs[0];
    assert_eq!(
        (run.name.as_str(), run.model.as_str()),
        ("demo_1", "model_1.xml")
    );
    assert_eq!(run.states.row(3)[1..], [0.1; 5]);
    assert_eq!(run.actions.row(0), [0.5; 7]);
    assert_eq!(rate(&run.states).unwrap(), 20.0);
}

#[test]
fn a_file_that_is_cut_off_is_refused_wherever_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.hdf5");
    let whole = file(3, 5, "model_1.xml");
    for end in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..end]).unwrap();
        let error = hdf5::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("demo.hdf5 is no demonstration"),
            "{end}: {error}"
        );
    }
}

#[test]
fn a_model_file_cannot_be_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.hdf5");
    for model in ["../model_1.xml", "/etc/passwd", ".."] {
        std::fs::write(&path, file(3, 5, model)).unwrap();
        let error = hdf5::read(&path).unwrap_err().to_string();
        assert!(error.contains("no file name"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn flipped_bytes_never_bring_the_reader_down(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.hdf5");
        let mut bytes = file(3, 5, "model_1.xml");
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(recorded) = hdf5::read(&path) {
            prop_assert!(!recorded.runs.is_empty());
        }
    }
}

#[test]
fn flipped_bytes_of_a_real_file_never_bring_the_reader_down() {
    let Some(robosuite) = fetched() else { return };
    let found = robosuite.demonstrations().unwrap();
    let whole = std::fs::read(&found[0].file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.hdf5");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // The structure is in the first and last pages, where numbers are not.
    let places: Vec<usize> = (0..8192).chain(whole.len() - 16384..whole.len()).collect();
    let mut refused = 0;
    for _ in 0..500 {
        let mut bytes = whole.clone();
        for _ in 0..rng.random_range(1..6) {
            bytes[places[rng.random_range(0..places.len())]] = rng.random();
        }
        if rng.random_bool(0.2) {
            bytes.truncate(rng.random_range(0..whole.len()));
        }
        std::fs::write(&path, &bytes).unwrap();
        refused += usize::from(hdf5::read(&path).is_err());
    }
    assert!(refused > 50, "{refused} of 500 refused");
}

/// A wheel with these files.
fn wheel(path: &Path, files: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

const INSIDE: &str = "robosuite/models/assets/demonstrations/lift/panda";

#[test]
fn a_wheel_is_read_like_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("robosuite-1.0.1-py3-none-any.whl");
    let demo = file(3, 5, "model_1.xml");
    wheel(
        &path,
        &[
            (&format!("{INSIDE}/demo.hdf5"), &demo),
            (&format!("{INSIDE}/models/model_1.xml"), b"<mujoco/>"),
            (&format!("{INSIDE}/notes.py"), b"not needed"),
            ("robosuite/models/assets/bullet_data/big.stl", b"not needed"),
        ],
    );
    let robosuite = Robosuite::open(&path).unwrap();
    let found = robosuite.demonstrations().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), found[0].robot.as_str()),
        ("lift", "panda")
    );
    assert_eq!(
        robosuite.task(&found[0]).unwrap(),
        ("Lift".into(), Some(Task::Lift))
    );
    let assets = robosuite.archive.assets().to_owned();
    assert!(!assets.join("bullet_data").exists());
    assert!(!found[0].file.with_file_name("notes.py").exists());
    // The model is of another world than the states.
    let error = robosuite.load(&found[0]).unwrap_err().to_string();
    assert!(error.contains("a state has 5 numbers"), "{error}");
    drop(robosuite);
    assert!(!assets.exists(), "the unpacked files are gone");
}

#[test]
fn what_is_no_robosuite_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let says = |path: &Path, parts: &[&str]| {
        let error = Robosuite::open(path).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    };
    says(
        &folder.path().join("nothing"),
        &["nothing is missing", "./x assets robosuite"],
    );
    says(
        folder.path(),
        &["no robosuite demonstrations", "./x assets robosuite"],
    );
    let path = folder.path().join("robosuite.whl");
    wheel(&path, &[("other/file.txt", b"x")]);
    says(&path, &["no robosuite demonstrations"]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    says(&path, &["robosuite.whl cannot be unpacked", "truncated"]);
}

#[test]
fn a_model_that_is_missing_or_broken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let panda = folder.path().join(INSIDE);
    std::fs::create_dir_all(panda.join("models")).unwrap();
    std::fs::write(panda.join("demo.hdf5"), file(3, 5, "model_1.xml")).unwrap();
    let robosuite = Robosuite::open(folder.path()).unwrap();
    let found = &robosuite.demonstrations().unwrap()[0];
    let says = |part: &str| {
        let error = robosuite.load(found).unwrap_err().to_string();
        assert!(
            error.contains("model_1.xml") && error.contains(part),
            "{error}"
        );
    };
    says("cannot read");
    let write = |text: &str| std::fs::write(panda.join("models/model_1.xml"), text).unwrap();
    write("<mujoco><body");
    says("cannot be used");
    write("<mujoco>\0</mujoco>");
    says("no text");
    write(
        r#"<mujoco><asset><mesh name="m" file="/a/models/assets/robots/x.stl"/></asset></mujoco>"#,
    );
    says("robots/x.stl is missing");
    // A state of five numbers: time, two positions, two velocities, and none of the robot's joints.
    write(
        r#"<mujoco><worldbody><body><joint name="a"/><joint name="b" axis="0 1 0"/><geom size="1"/></body></worldbody></mujoco>"#,
    );
    says("no joint robot0_joint1");
}
