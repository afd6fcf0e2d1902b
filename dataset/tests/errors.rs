//! Bad input is refused with one sentence that names the file or the value, and changes nothing.

mod common;

use std::fs;
use std::path::Path;

use common::{assert_same, config, episode, numbered};
use proptest::prelude::*;
use rapport_dataset::{
    Dataset, DatasetConfig, DatasetWriter, Depth, Episode, Error, VideoCodec, verify, verify_to,
};

const DATA: &str = "data/chunk-000/file-001.parquet";
const ROW: &str = "meta/episodes/chunk-000/file-001.parquet";
const VIDEO: &str = "videos/observation.images.front/chunk-000/file-001.mp4";

fn recorded(dir: &Path) -> (DatasetConfig, Vec<Episode>) {
    let config = config(VideoCodec::H264, &[("front", 64, 64)]);
    let episodes: Vec<_> = (0..3)
        .map(|i| episode(&config, "lift", 6, 20 * i))
        .collect();
    let mut writer = DatasetWriter::create(dir, config.clone()).unwrap();
    for episode in &episodes {
        writer.write_episode(episode).unwrap();
    }
    (config, episodes)
}

fn sentence(e: &Error) -> String {
    let text = e.to_string();
    assert!(text.len() > 20 && !text.contains('\n'), "{text}");
    text
}

fn open_error(dir: &Path) -> Error {
    match Dataset::open(dir) {
        Ok(_) => panic!("{} was opened", dir.display()),
        Err(e) => e,
    }
}

#[test]
fn what_is_no_dataset_is_told_apart() {
    let scratch = tempfile::tempdir().unwrap();
    let e = open_error(&scratch.path().join("missing"));
    assert!(matches!(e, Error::NotFound { .. }), "{e:?}");
    let e = open_error(scratch.path());
    assert!(matches!(e, Error::NotADataset { .. }), "{e:?}");
    assert!(sentence(&e).contains("no meta/info.json"));

    fs::create_dir(scratch.path().join("meta")).unwrap();
    let write = |text: &str| fs::write(scratch.path().join("meta/info.json"), text).unwrap();
    write("{ broken");
    assert!(sentence(&open_error(scratch.path())).contains("not JSON"));
    write(r#"{"codebase_version": "v2.1", "fps": 30, "features": {}, "total_chunks": 1}"#);
    let e = open_error(scratch.path());
    assert!(matches!(e, Error::OldVersion { .. }), "{e:?}");
    assert!(
        sentence(&e).contains("v2.1, which must be converted to v3.0"),
        "{e}"
    );
    assert!(
        verify(scratch.path())
            .errors()
            .any(|f| f.message.contains("v2.1"))
    );
    assert!(matches!(
        DatasetWriter::open(scratch.path()),
        Err(Error::OldVersion { .. })
    ));
    write(r#"{"codebase_version": "v4.0"}"#);
    assert!(matches!(
        open_error(scratch.path()),
        Error::NewVersion { .. }
    ));
    write(r#"{"codebase_version": "v3.0", "features": {}}"#);
    assert!(sentence(&open_error(scratch.path())).contains("fps"));
}

#[test]
fn damaged_and_missing_files_cost_only_their_own_episode() {
    let scratch = tempfile::tempdir().unwrap();
    let (_, episodes) = recorded(scratch.path());
    let truncated = |bytes: &[u8]| bytes[..bytes.len() * 2 / 3].to_vec();
    for (file, reason) in [
        (DATA, "not a complete parquet file"),
        (VIDEO, "not a complete video file"),
    ] {
        let path = scratch.path().join(file);
        let bytes = fs::read(&path).unwrap();
        for missing in [false, true] {
            if missing {
                fs::remove_file(&path).unwrap();
            } else {
                fs::write(&path, truncated(&bytes)).unwrap();
            }
            let dataset = Dataset::open(scratch.path()).unwrap();
            for other in [0, 2] {
                assert_same(&dataset.episode(other).unwrap(), &episodes[other]);
            }
            let e = dataset.episode(1).unwrap_err();
            assert!(sentence(&e).contains(file), "{e}");
            if missing {
                assert!(matches!(e, Error::NotFound { .. }), "{e:?}");
            } else {
                assert!(e.to_string().contains(reason), "{e}");
            }
            let report = verify(scratch.path());
            assert!(!report.is_ok());
            assert!(
                report.errors().any(|f| f.file == Path::new(file)),
                "{:?}",
                report.findings
            );
        }
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(verify(scratch.path()).findings, []);
    // The tables of meta/ are needed for everything.
    let row = scratch.path().join(ROW);
    let bytes = fs::read(&row).unwrap();
    fs::write(&row, truncated(&bytes)).unwrap();
    assert!(sentence(&open_error(scratch.path())).contains(ROW));
    fs::remove_file(&row).unwrap();
    assert!(sentence(&open_error(scratch.path())).contains("lists 2 episodes"));
    assert!(matches!(
        DatasetWriter::open(scratch.path()),
        Err(Error::Corrupt { .. })
    ));
}

#[test]
fn a_frame_that_is_not_complete_and_finite_is_refused_and_recording_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let config = config(VideoCodec::H264, &[("front", 64, 64)]);
    let mut writer = DatasetWriter::create(scratch.path(), config).unwrap();
    let mut recording = writer.begin("lift").unwrap();
    let image = numbered(64, 64, 3);
    let good: [(&str, &[f32]); 5] = [
        ("action", &[0.1, 0.2]),
        ("observation.state", &[1.0, 2.0, 3.0]),
        ("next.reward", &[0.5]),
        ("next.done", &[0.0]),
        ("phase", &[4.0]),
    ];
    let front: (&str, &image::RgbImage) = ("front", &image);
    recording.push(&good, &[front]).unwrap();

    let with = |i: usize, value: (&'static str, &'static [f32])| {
        let mut values = good;
        values[i] = value;
        values
    };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bad = [0.1, value];
        let mut values = good;
        values[0] = ("action", &bad);
        match recording.push(&values, &[front]).unwrap_err() {
            Error::NonFinite {
                feature,
                component,
                frame,
                ..
            } => assert_eq!((feature.as_str(), component, frame), ("action", 1, 1)),
            other => panic!("{other:?}"),
        }
    }
    let small = numbered(32, 64, 3);
    type Case<'a> = (
        &'a [(&'a str, &'a [f32])],
        &'a [(&'a str, &'a image::RgbImage)],
        &'a str,
    );
    let cases: [Case; 8] = [
        (&good[..4], &[front], "feature phase of frame 1 is missing"),
        (
            &with(1, ("extra", &[1.0])),
            &[front],
            "extra of frame 1 is not part",
        ),
        (&with(4, ("action", &[1.0, 1.0])), &[front], "given twice"),
        (
            &with(0, ("action", &[1.0])),
            &[front],
            "has 1 components instead of 2",
        ),
        (
            &with(3, ("next.done", &[0.5])),
            &[front],
            "which is no bool",
        ),
        (&with(4, ("phase", &[1.5])), &[front], "which is no int64"),
        (&good, &[], "camera front of frame 1 is missing"),
        (
            &good,
            &[("front", &small)],
            "32 × 64 pixels instead of 64 × 64",
        ),
    ];
    for (values, images, reason) in cases {
        let e = recording.push(values, images).unwrap_err();
        assert!(sentence(&e).contains(reason), "{e}");
    }
    assert_eq!(recording.len(), 1);
    recording.push(&good, &[front]).unwrap();
    assert_eq!(writer.save(recording).unwrap(), 0);
    let dataset = Dataset::open(scratch.path()).unwrap();
    assert_eq!(dataset.episode(0).unwrap().len(), 2);
    assert_eq!(verify(scratch.path()).findings, []);
}

#[test]
fn what_cannot_be_saved_is_refused_before_anything_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    let (config, episodes) = recorded(scratch.path());
    let before = common::files_below(scratch.path());
    let mut writer = DatasetWriter::open(scratch.path()).unwrap();
    let mut refused = |change: &dyn Fn(&mut Episode), reason: &str| {
        let mut episode = episodes[0].clone();
        change(&mut episode);
        let e = writer.write_episode(&episode).unwrap_err();
        assert!(sentence(&e).contains(reason), "{e}");
    };
    refused(&|e| e.fps = 10, "has 10 rows per second");
    refused(&|e| e.task = " ".into(), "needs a task");
    refused(
        &|e| {
            *e = Episode {
                fps: 30,
                task: "x".into(),
                ..Default::default()
            }
        },
        "no frames",
    );
    refused(
        &|e| e.cameras.get_mut("front").unwrap().truncate(2),
        "front has 2 rows",
    );
    refused(
        &|e| drop(e.columns.remove("action")),
        "action of frame 0 is missing",
    );
    assert_eq!(common::files_below(scratch.path()), before);

    let elsewhere = tempfile::tempdir().unwrap();
    let mut other = DatasetWriter::create(elsewhere.path(), config.clone()).unwrap();
    let stray = other.begin("lift").unwrap();
    let e = writer.save(stray).unwrap_err();
    assert!(sentence(&e).contains("another dataset"), "{e}");
    drop(other);
    for dir in [elsewhere.path(), scratch.path()] {
        let Err(e) = DatasetWriter::create(dir, config.clone()) else {
            panic!("created over a dataset")
        };
        assert!(sentence(&e).contains("a dataset already"), "{e}");
    }
    let full = tempfile::tempdir().unwrap();
    fs::write(full.path().join("thesis.tex"), "").unwrap();
    let Err(e) = DatasetWriter::create(full.path(), config) else {
        panic!("created among other files")
    };
    assert!(sentence(&e).contains("thesis.tex"), "{e}");
    let dataset = Dataset::open(scratch.path()).unwrap();
    for e in [
        dataset.episode(3).unwrap_err(),
        dataset.frames(0, "wrist").unwrap_err(),
        dataset.frame(0, "front", 6).unwrap_err(),
    ] {
        assert!(sentence(&e).contains("there is no"), "{e}");
    }
}

#[test]
fn a_video_that_cannot_be_written_ends_the_episode_with_its_reason() {
    let scratch = tempfile::tempdir().unwrap();
    let config = config(VideoCodec::H264, &[("front", 64, 64)]);
    let mut writer = DatasetWriter::create(scratch.path(), config.clone()).unwrap();
    let recording = writer.begin("lift").unwrap();
    // Someone clears the directory under the recorder.
    fs::remove_dir_all(scratch.path().join(".partial")).unwrap();
    let mut recording = recording;
    for t in 0..3 {
        let e = episode(&config, "lift", 3, 0);
        let values: Vec<(&str, &[f32])> = e
            .columns
            .iter()
            .map(|(n, c)| (n.as_str(), c.row(t)))
            .collect();
        recording
            .push(&values, &[("front", &e.cameras["front"][t])])
            .unwrap();
    }
    let e = writer.save(recording).unwrap_err();
    assert!(sentence(&e).contains("camera-0.mp4"), "{e}");
    assert!(Dataset::open(scratch.path()).unwrap().is_empty());
    assert_eq!(
        writer
            .write_episode(&episode(&config, "lift", 3, 0))
            .unwrap(),
        0
    );
    assert_eq!(verify(scratch.path()).findings, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Flipped bytes are an error or give other numbers, but reading and verifying never panic.
    #[test]
    fn flipped_bytes_never_panic(flips in prop::collection::vec((0..3usize, any::<prop::sample::Index>(), 1..=255u8), 1..20)) {
        let scratch = tempfile::tempdir().unwrap();
        let config = config(VideoCodec::H264, &[("front", 32, 32)]);
        let mut writer = DatasetWriter::create(scratch.path(), config.clone()).unwrap();
        writer.write_episode(&episode(&config, "lift", 4, 0)).unwrap();
        drop(writer);
        let files = [
            "data/chunk-000/file-000.parquet",
            "meta/episodes/chunk-000/file-000.parquet",
            "videos/observation.images.front/chunk-000/file-000.mp4",
        ];
        for (file, at, mask) in flips {
            let path = scratch.path().join(files[file]);
            let mut bytes = fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            fs::write(&path, bytes).unwrap();
        }
        let report = verify_to(scratch.path(), Depth::Frames);
        prop_assert_eq!(report.episodes, 1);
        if let Ok(dataset) = Dataset::open(scratch.path()) {
            let _ = dataset.episode(0).map(|e| e.len());
        }
        let _ = DatasetWriter::open(scratch.path()).map(|w| w.len());
    }
}
