//! Every kind of inconsistency is found, and named with its file.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{config, episode, numbered};
use rapport_dataset::{
    DatasetWriter, Depth, Error, Info, Report, Severity, VideoCodec, repair, verify, verify_to,
    video,
};

struct Sound {
    _scratch: tempfile::TempDir,
    dir: PathBuf,
}

fn sound() -> Sound {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dataset");
    let config = config(VideoCodec::H264, &[("front", 64, 64)]);
    let mut writer = DatasetWriter::create(&dir, config.clone()).unwrap();
    for i in 0..3 {
        writer
            .write_episode(&episode(&config, "lift", 4 + i, 20 * i as u32))
            .unwrap();
    }
    Sound {
        _scratch: scratch,
        dir,
    }
}

fn finds(dir: &Path, severity: Severity, file: &str, message: &str) {
    let report = verify(dir);
    let found = report.findings.iter().any(|f| {
        f.severity == severity && f.file == Path::new(file) && f.message.contains(message)
    });
    assert!(found, "no {message:?} in {file}: {:#?}", report.findings);
    let ok = report.errors().count() == 0;
    assert_eq!(report.is_ok(), ok);
}

fn edit_info(dir: &Path, change: impl FnOnce(&mut Info)) {
    let mut info = Info::read(dir).unwrap();
    change(&mut info);
    fs::write(Info::path(dir), serde_json::to_vec(&info).unwrap()).unwrap();
}

const VIDEO: &str = "videos/observation.images.front/chunk-000/file-001.mp4";
const DATA: &str = "data/chunk-000/file-001.parquet";

#[test]
fn a_sound_dataset_has_no_findings_and_the_report_survives_json() {
    let sound = sound();
    let report = verify_to(&sound.dir, Depth::Frames);
    assert_eq!(report.findings, []);
    assert!(report.is_ok());
    // info, tasks, stats; and a row, a data file and a video for each episode.
    assert_eq!((report.episodes, report.frames, report.files), (3, 15, 12));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn wrong_totals_are_errors() {
    let sound = sound();
    edit_info(&sound.dir, |i| i.total_frames = 16);
    finds(
        &sound.dir,
        Severity::Error,
        "meta/episodes",
        "15 frames, and meta/info.json counts 16",
    );
    finds(&sound.dir, Severity::Error, "data", "15 rows");
    edit_info(&sound.dir, |i| {
        i.total_frames = 15;
        i.total_episodes = 5;
    });
    finds(
        &sound.dir,
        Severity::Error,
        "meta/episodes",
        "lists 3 episodes",
    );
    finds(
        &sound.dir,
        Severity::Warning,
        "meta/info.json",
        "not all episodes (0:5)",
    );
    edit_info(&sound.dir, |i| {
        i.total_episodes = 3;
        i.total_tasks = 2;
    });
    finds(
        &sound.dir,
        Severity::Error,
        "meta/tasks.parquet",
        "holds 1 tasks",
    );
}

#[test]
fn a_video_of_another_length_rate_or_size_is_an_error() {
    let sound = sound();
    let path = sound.dir.join(VIDEO);
    let frames = |n: u32, side| (0..n).map(|i| numbered(side, side, i)).collect::<Vec<_>>();
    let replace =
        |n, side, fps| video::write(&path, &frames(n, side), fps, VideoCodec::H264).unwrap();
    replace(4, 64, 30);
    finds(
        &sound.dir,
        Severity::Error,
        VIDEO,
        "has 4 frames, and its episodes have 5",
    );
    finds(
        &sound.dir,
        Severity::Error,
        VIDEO,
        "ends before frame 4 of episode 1",
    );
    replace(5, 64, 25);
    finds(
        &sound.dir,
        Severity::Error,
        VIDEO,
        "25.000 frames per second instead of 30",
    );
    finds(&sound.dir, Severity::Error, VIDEO, "due at 0.033333 s");
    replace(5, 32, 30);
    finds(&sound.dir, Severity::Error, VIDEO, "32 × 32 pixels");
    let av1 = video::write(&path, &frames(5, 64), 30, VideoCodec::Av1);
    av1.unwrap();
    finds(&sound.dir, Severity::Warning, VIDEO, "it is av1 video");
}

#[test]
fn damage_inside_a_frame_is_found_by_decoding() {
    let sound = sound();
    let path = sound.dir.join(VIDEO);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"mdat").unwrap();
    // Behind the encoder's own description, which is the beginning of the first frame.
    bytes[at + 900..at + 1000].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let report = verify_to(&sound.dir, Depth::Frames);
    assert!(
        report.errors().any(|f| f.file == Path::new(VIDEO)),
        "{:?}",
        report.findings
    );
}

#[test]
fn swapped_or_foreign_files_are_errors() {
    let sound = sound();
    let other = sound.dir.join("data/chunk-000/file-002.parquet");
    let (a, b) = (
        fs::read(sound.dir.join(DATA)).unwrap(),
        fs::read(&other).unwrap(),
    );
    fs::write(sound.dir.join(DATA), b).unwrap();
    fs::write(&other, a).unwrap();
    finds(
        &sound.dir,
        Severity::Error,
        DATA,
        "row 0 has index 9, episode 2 and frame 0, and should have 4, 1 and 0",
    );
    finds(&sound.dir, Severity::Error, DATA, "more like it");
}

#[test]
fn columns_that_info_json_does_not_list_or_miss_are_errors() {
    let sound = sound();
    edit_info(&sound.dir, |i| i.features.0.retain(|(n, _)| n != "phase"));
    finds(
        &sound.dir,
        Severity::Error,
        DATA,
        "a column phase that meta/info.json does not list",
    );
    edit_info(&sound.dir, |i| {
        let mut copy = i.features.0[0].clone();
        copy.0 = "observation.environment_state".into();
        i.features.0.push(copy);
    });
    finds(
        &sound.dir,
        Severity::Error,
        DATA,
        "no column observation.environment_state",
    );
}

#[test]
fn a_time_that_is_not_the_frames_is_an_error() {
    let sound = sound();
    edit_info(&sound.dir, |i| i.fps = 20);
    finds(&sound.dir, Severity::Error, DATA, "has time 0.033");
}

#[test]
fn missing_or_outdated_statistics_are_warnings() {
    let sound = sound();
    let path = sound.dir.join("meta/stats.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    stats["action"]["max"] = serde_json::json!([0.1, 0.1]);
    stats["observation.state"]
        .as_object_mut()
        .unwrap()
        .remove("q01");
    stats.as_object_mut().unwrap().remove("next.reward");
    fs::write(&path, stats.to_string()).unwrap();
    finds(
        &sound.dir,
        Severity::Warning,
        "meta/stats.json",
        "component 0 of action lies between",
    );
    finds(
        &sound.dir,
        Severity::Warning,
        "meta/stats.json",
        "q01 of observation.state",
    );
    finds(
        &sound.dir,
        Severity::Warning,
        "meta/stats.json",
        "no statistics of next.reward",
    );
    fs::remove_file(&path).unwrap();
    finds(
        &sound.dir,
        Severity::Warning,
        "meta/stats.json",
        "does not exist",
    );
    assert!(verify(&sound.dir).is_ok());
}

#[test]
fn repair_computes_the_statistics_again_and_keeps_those_of_unknown_features() {
    let sound = sound();
    let path = sound.dir.join("meta/stats.json");
    let read =
        || -> serde_json::Value { serde_json::from_slice(&fs::read(&path).unwrap()).unwrap() };
    let exact = read();
    let mut stats = exact.clone();
    stats["action"]["q99"] = serde_json::json!([9.0, 9.0]);
    stats
        .as_object_mut()
        .unwrap()
        .remove("observation.images.front");
    stats["of.another.tool"] = serde_json::json!({"min": [1.0]});
    fs::write(&path, stats.to_string()).unwrap();
    fs::create_dir(sound.dir.join(".partial")).unwrap();

    let repaired = repair(&sound.dir).unwrap();
    assert_eq!(repaired.removed, [Path::new(".partial")]);
    assert!(
        repaired
            .statistics
            .contains(&"observation.images.front".to_owned())
    );
    let mut again = read();
    let other = again.as_object_mut().unwrap().remove("of.another.tool");
    assert_eq!(other, Some(serde_json::json!({"min": [1.0]})));
    assert_eq!(again, exact);

    fs::remove_file(&path).unwrap();
    repair(&sound.dir).unwrap();
    assert_eq!(read(), exact);
    assert_eq!(verify(&sound.dir).findings, []);
    let writer = DatasetWriter::open(&sound.dir).unwrap();
    assert!(matches!(repair(&sound.dir), Err(Error::Locked { .. })));
    drop(writer);
}

#[test]
fn files_in_the_wrong_place_are_warnings() {
    let sound = sound();
    let copy = |to: &str| {
        let to = sound.dir.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(sound.dir.join(DATA), to).unwrap();
    };
    copy("data/stray.parquet");
    copy("meta/stray.parquet");
    copy("data/chunk-000/file-009.parquet.partial");
    for file in ["data/stray.parquet", "meta/stray.parquet"] {
        finds(&sound.dir, Severity::Warning, file, "no reader looks");
    }
    finds(
        &sound.dir,
        Severity::Warning,
        "data/chunk-000/file-009.parquet.partial",
        "not completed",
    );
    fs::copy(
        sound.dir.join(VIDEO),
        sound.dir.join(VIDEO.replace("001", "005")),
    )
    .unwrap();
    finds(
        &sound.dir,
        Severity::Warning,
        &VIDEO.replace("001", "005"),
        "no episode refers to it",
    );
    assert!(verify(&sound.dir).is_ok());
    // This one every reader would load.
    copy("data/chunk-000/file-009.parquet");
    finds(&sound.dir, Severity::Error, "data", "20 rows");
}

#[test]
fn nan_in_a_column_is_an_error_that_names_the_frame() {
    let sound = sound();
    // The writer refuses NaN, so the file is made by hand from its own rows.
    let path = sound.dir.join(DATA);
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        fs::File::open(&path).unwrap(),
    )
    .unwrap();
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let mut columns = batch.columns().to_vec();
    let reward = batch.schema().index_of("next.reward").unwrap();
    let values = [0.0, 0.5, f32::NAN, 0.0, f32::INFINITY];
    columns[reward] = std::sync::Arc::new(arrow_array::Float32Array::from(values.to_vec()));
    let batch = arrow_array::RecordBatch::try_new(batch.schema(), columns).unwrap();
    let file = fs::File::create(&path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    finds(
        &sound.dir,
        Severity::Error,
        DATA,
        "next.reward, component 0, of frame 2 of episode 1 is NaN",
    );
    finds(
        &sound.dir,
        Severity::Error,
        DATA,
        "of frame 4 of episode 1 is inf",
    );
}

#[test]
fn what_is_no_dataset_gives_a_report_too() {
    let scratch = tempfile::tempdir().unwrap();
    finds(
        scratch.path(),
        Severity::Error,
        "meta/info.json",
        "not a LeRobot dataset",
    );
    let missing = verify(scratch.path().join("missing"));
    assert_eq!(missing.errors().count(), 1);
    assert!(missing.findings[0].to_string().starts_with("error: "));
}
