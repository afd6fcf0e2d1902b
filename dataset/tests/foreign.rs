//! Datasets laid out as LeRobot does it: several episodes in a file, other list and number types, the `task` column.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Float64Builder, LargeListBuilder, ListBuilder, StringBuilder,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, StructArray,
};
use arrow_schema::{DataType, Field, Schema};
use common::{number_of, numbered};
use parquet::arrow::ArrowWriter;
use rapport_dataset::{Dataset, DatasetWriter, Episode, VideoCodec, verify, video};
use serde_json::json;

const KEY: &str = "observation.images.front";
const LENGTHS: [usize; 4] = [5, 3, 6, 4];
const FPS: usize = 30;

fn write(
    path: &Path,
    columns: Vec<(&str, ArrayRef)>,
    metadata: HashMap<String, String>,
    row_groups: &[usize],
) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let fields: Vec<Field> = columns
        .iter()
        .map(|(n, a)| Field::new(*n, a.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
    let batch =
        RecordBatch::try_new(schema.clone(), columns.into_iter().map(|c| c.1).collect()).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), schema, None).unwrap();
    let mut start = 0;
    for rows in row_groups {
        writer.write(&batch.slice(start, *rows)).unwrap();
        writer.flush().unwrap();
        start += rows;
    }
    assert_eq!(start, batch.num_rows());
    writer.close().unwrap();
}

fn first_frame(episode: usize) -> usize {
    LENGTHS[..episode].iter().sum()
}

fn action(global: usize) -> [f64; 2] {
    [global as f64 / 8.0, -(global as f64)]
}

/// Episodes 0 to 2 share one video, 3 has its own; 0 and 1 share a data file with 2 and 3 in the next.
fn lay_out(dir: &Path, camera: &str) {
    for (file, episodes) in [(0, 0..2usize), (1, 2..4)] {
        let frames: Vec<(usize, usize)> = episodes
            .clone()
            .flat_map(|e| (0..LENGTHS[e]).map(move |t| (e, t)))
            .collect();
        let mut actions = LargeListBuilder::new(Float64Builder::new());
        for (e, t) in &frames {
            actions.values().append_slice(&action(first_frame(*e) + t));
            actions.append(true);
        }
        let int = |f: &dyn Fn(usize, usize) -> usize| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(
                frames.iter().map(|(e, t)| f(*e, *t) as i64),
            ))
        };
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("index", int(&|e, t| first_frame(e) + t)),
            ("action", Arc::new(actions.finish())),
            (
                "timestamp",
                Arc::new(Float32Array::from_iter_values(
                    frames.iter().map(|(_, t)| *t as f32 / FPS as f32),
                )),
            ),
            ("frame_index", int(&|_, t| t)),
            ("episode_index", int(&|e, _| e)),
            (
                "task_index",
                Arc::new(Int32Array::from_iter_values(
                    frames.iter().map(|(e, _)| (*e == 1) as i32),
                )),
            ),
            (
                "next.done",
                Arc::new(BooleanArray::from_iter(
                    frames.iter().map(|(e, t)| Some(t + 1 == LENGTHS[*e])),
                )),
            ),
        ];
        if camera == "image" {
            let mut bytes = BinaryBuilder::new();
            for (e, t) in &frames {
                let mut png = std::io::Cursor::new(Vec::new());
                numbered(64, 64, (first_frame(*e) + t) as u32 + 300)
                    .write_to(&mut png, image::ImageFormat::Png)
                    .unwrap();
                bytes.append_value(png.into_inner());
            }
            let paths = StringArray::from_iter_values(
                frames.iter().map(|(_, t)| format!("frame-{t:06}.png")),
            );
            let pictures = StructArray::from(vec![
                (
                    Arc::new(Field::new("bytes", DataType::Binary, true)),
                    Arc::new(bytes.finish()) as ArrayRef,
                ),
                (
                    Arc::new(Field::new("path", DataType::Utf8, true)),
                    Arc::new(paths) as ArrayRef,
                ),
            ]);
            columns.push((KEY, Arc::new(pictures)));
        }
        let groups: Vec<usize> = episodes.map(|e| LENGTHS[e]).collect();
        let path = dir.join(format!("data/chunk-000/file-{file:03}.parquet"));
        write(&path, columns, HashMap::new(), &groups);
    }

    let pandas = json!({"index_columns": ["task"], "columns": [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": null},
        {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": null}]});
    write(
        &dir.join("meta/tasks.parquet"),
        vec![
            ("task_index", Arc::new(Int64Array::from(vec![0, 1]))),
            ("task", Arc::new(StringArray::from(vec!["fold", "unfold"]))),
        ],
        HashMap::from([("pandas".into(), pandas.to_string())]),
        &[2],
    );

    let int = |f: &dyn Fn(usize) -> usize| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values((0..4).map(|e| f(e) as i64)))
    };
    let mut tasks = ListBuilder::new(StringBuilder::new());
    for e in 0..4 {
        tasks
            .values()
            .append_value(if e == 1 { "unfold" } else { "fold" });
        tasks.append(true);
    }
    let begin = |e: usize| if e < 3 { first_frame(e) } else { 0 };
    let seconds = |f: &dyn Fn(usize) -> usize| -> ArrayRef {
        let times = (0..4).map(|e| f(e) as f64 / FPS as f64);
        Arc::new(Float64Array::from_iter_values(times))
    };
    let video_columns = [
        format!("videos/{KEY}/chunk_index"),
        format!("videos/{KEY}/file_index"),
        format!("videos/{KEY}/from_timestamp"),
        format!("videos/{KEY}/to_timestamp"),
    ];
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("episode_index", int(&|e| e)),
        ("data/chunk_index", int(&|_| 0)),
        ("data/file_index", int(&|e| e / 2)),
        ("dataset_from_index", int(&first_frame)),
        ("dataset_to_index", int(&|e| first_frame(e + 1))),
        ("tasks", Arc::new(tasks.finish())),
        ("length", int(&|e| LENGTHS[e])),
    ];
    if camera == "video" {
        columns.push((&video_columns[0], int(&|_| 0)));
        columns.push((&video_columns[1], int(&|e| e / 3)));
        columns.push((&video_columns[2], seconds(&begin)));
        columns.push((&video_columns[3], seconds(&|e| begin(e) + LENGTHS[e])));
        for (file, episodes) in [(0, 0..3usize), (1, 3..4)] {
            let frames: Vec<_> = episodes
                .flat_map(|e| (0..LENGTHS[e]).map(move |t| first_frame(e) + t))
                .map(|global| numbered(64, 64, global as u32 + 300))
                .collect();
            let path = dir.join(format!("videos/{KEY}/chunk-000/file-{file:03}.mp4"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            video::write(path, &frames, FPS as u32, VideoCodec::H264).unwrap();
        }
    }
    write(
        &dir.join("meta/episodes/chunk-000/file-000.parquet"),
        columns,
        HashMap::new(),
        &[4],
    );

    let one = |dtype: &str| json!({"dtype": dtype, "shape": [1], "names": null});
    let mut features = json!({
        "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["a", "b"]}},
        KEY: {"dtype": camera, "shape": [64, 64, 3], "names": ["height", "width", "channels"]},
        "next.done": one("bool"),
        "timestamp": one("float32"), "frame_index": one("int64"), "episode_index": one("int64"),
        "index": one("int64"), "task_index": one("int64"),
    });
    if camera == "video" {
        features[KEY]["info"] = json!({"video.codec": "h264", "video.fps": 30});
    }
    let info = json!({
        "codebase_version": "v3.0", "robot_type": null, "total_episodes": 4, "total_frames": 18, "total_tasks": 2,
        "chunks_size": 1000, "fps": 30, "splits": {"train": "0:4"}, "features": features, "total_videos": 4,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    });
    fs::write(dir.join("meta/info.json"), info.to_string()).unwrap();
}

fn assert_episodes(dataset: &Dataset) {
    for (e, length) in LENGTHS.into_iter().enumerate() {
        let episode: Episode = dataset.episode(e).unwrap();
        assert_eq!(episode.len(), length);
        assert_eq!(episode.task, if e == 1 { "unfold" } else { "fold" });
        let action_column = &episode.columns["action"];
        assert_eq!(action_column.names, ["a", "b"]);
        for t in 0..length {
            let global = first_frame(e) + t;
            assert_eq!(action_column.row(t), action(global).map(|v| v as f32));
            let image = &episode.cameras["front"][t];
            assert_eq!(
                number_of(image),
                global as u32 + 300,
                "episode {e} frame {t}"
            );
            let done = f32::from(t + 1 == length);
            assert_eq!(episode.columns["next.done"].row(t), [done]);
        }
    }
}

#[test]
fn episodes_that_share_files_are_told_apart() {
    for camera in ["video", "image"] {
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path(), camera);
        let dataset = Dataset::open(dir.path()).unwrap();
        assert_eq!(dataset.tasks(), ["fold", "unfold"]);
        assert_episodes(&dataset);
        assert_eq!(number_of(&dataset.frame(2, "front", 5).unwrap()), 313);
        let report = verify(dir.path());
        assert!(report.is_ok(), "{camera}: {:?}", report.findings);
        // No statistics; and with x264's own choice of keyframes not every episode begins with one.
        assert!(
            report
                .warnings()
                .any(|f| f.file == Path::new("meta/stats.json"))
        );
    }
}

#[test]
fn episodes_can_be_appended_and_the_old_files_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), "video");
    let old: Vec<_> = common::files_below(dir.path())
        .into_iter()
        .filter(|f| !f.ends_with("info.json") && !f.ends_with("tasks.parquet"))
        .map(|f| (f.clone(), fs::read(dir.path().join(f)).unwrap()))
        .collect();
    let mut writer = DatasetWriter::open(dir.path()).unwrap();
    let new = common::episode(writer.config(), "iron", 7, 900);
    assert_eq!(writer.write_episode(&new).unwrap(), 4);
    drop(writer);
    for (file, bytes) in old {
        assert_eq!(
            fs::read(dir.path().join(&file)).unwrap(),
            bytes,
            "{}",
            file.display()
        );
    }
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.len(), 5);
    assert_episodes(&dataset);
    common::assert_same(&dataset.episode(4).unwrap(), &new);
    assert_eq!(dataset.tasks(), ["fold", "unfold", "iron"]);
    assert_eq!(dataset.info().other["total_videos"], 4);
    assert!(dir.path().join("data/chunk-000/file-002.parquet").exists());
    assert!(
        dir.path()
            .join(format!("videos/{KEY}/chunk-000/file-002.mp4"))
            .exists()
    );
    let stats = dataset.stats().unwrap().unwrap();
    assert_eq!(stats["action"].count, 25);
    // 18 old frames, fewer than are sampled, and 7 new ones.
    assert_eq!(stats[KEY].count, 25);
    let report = verify(dir.path());
    assert!(report.is_ok(), "{:?}", report.findings);
    // The new episode's row has no statistics, which the old table lacks.
    let row = dir.path().join("meta/episodes/chunk-000/file-001.parquet");
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        fs::File::open(row).unwrap(),
    )
    .unwrap();
    assert_eq!(reader.schema().fields().len(), 11);
}

#[test]
fn a_dataset_that_cannot_be_appended_to_says_why_and_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), "image");
    fs::create_dir(dir.path().join(".partial")).unwrap();
    let before = common::files_below(dir.path());
    let Err(e) = DatasetWriter::open(dir.path()) else {
        panic!("appending pictures is not supported")
    };
    assert!(
        e.to_string()
            .contains("feature observation.images.front is image"),
        "{e}"
    );
    assert_eq!(common::files_below(dir.path()), before);
    assert!(dir.path().join(".partial").exists());
}
