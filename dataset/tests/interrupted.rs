//! A save that stops between any two of its steps loses that episode and nothing else.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_same, config, copy_tree, episode, files_below};
use rapport_dataset::{Dataset, DatasetWriter, Error, VideoCodec, verify};

/// Files that saving episode `n` adds or replaces, in the order in which they get their names; `info.json` is the last.
fn steps(n: usize) -> Vec<PathBuf> {
    let numbered = |tree: &str, ext: &str| format!("{tree}/chunk-000/file-{n:03}.{ext}").into();
    vec![
        "meta/tasks.parquet".into(),
        numbered("videos/observation.images.front", "mp4"),
        numbered("videos/observation.images.wrist", "mp4"),
        numbered("data", "parquet"),
        numbered("meta/episodes", "parquet"),
        "meta/stats.json".into(),
        "meta/info.json".into(),
    ]
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files_below(dir).into_iter();
    files
        .map(|f| (f.clone(), fs::read(dir.join(f)).unwrap()))
        .collect()
}

#[test]
fn every_prefix_of_a_save_recovers_to_the_state_before_it() {
    let config = config(VideoCodec::H264, &[("front", 64, 64), ("wrist", 32, 32)]);
    let episodes: Vec<_> = (0..4)
        .map(|i| episode(&config, &format!("task {i}"), 3 + i, 50 * i as u32))
        .collect();
    for saved in [0, 2] {
        let scratch = tempfile::tempdir().unwrap();
        let (before, after) = (scratch.path().join("before"), scratch.path().join("after"));
        let mut writer = DatasetWriter::create(&before, config.clone()).unwrap();
        for episode in &episodes[..saved] {
            writer.write_episode(episode).unwrap();
        }
        drop(writer);
        copy_tree(&before, &after);
        DatasetWriter::open(&after)
            .unwrap()
            .write_episode(&episodes[saved])
            .unwrap();
        let added: Vec<_> = steps(saved);
        let changed: Vec<PathBuf> = contents(&after)
            .into_iter()
            .filter(|entry| !contents(&before).contains(entry))
            .map(|(path, _)| path)
            .collect();
        let mut sorted = added.clone();
        sorted.sort();
        assert_eq!(changed, sorted, "saving touches these files and no others");

        for done in 0..added.len() {
            let dir = scratch.path().join(format!("stopped-{done}"));
            copy_tree(&before, &dir);
            for (i, file) in added.iter().enumerate() {
                let name = if i < done {
                    dir.join(file)
                } else {
                    dir.join(format!("{}.partial", file.display()))
                };
                fs::create_dir_all(name.parent().unwrap()).unwrap();
                fs::copy(after.join(file), name).unwrap();
            }
            fs::create_dir_all(dir.join(".partial/7")).unwrap();
            fs::write(dir.join(".partial/7/camera-0.mp4.partial"), "half a video").unwrap();

            let dataset = Dataset::open(&dir).unwrap();
            assert_eq!(dataset.len(), saved);
            for (i, want) in episodes[..saved].iter().enumerate() {
                assert_same(&dataset.episode(i).unwrap(), want);
            }
            let report = verify(&dir);
            assert!(report.is_ok(), "after {done} steps: {:?}", report.findings);
            assert!(report.warnings().count() > 0);

            let writer = DatasetWriter::open(&dir).unwrap();
            assert!(!writer.removed().is_empty());
            drop(writer);
            assert_eq!(contents(&dir), contents(&before), "after {done} steps");

            let mut writer = DatasetWriter::open(&dir).unwrap();
            assert!(writer.removed().is_empty());
            assert_eq!(writer.write_episode(&episodes[3]).unwrap(), saved);
            assert_same(
                &Dataset::open(&dir).unwrap().episode(saved).unwrap(),
                &episodes[3],
            );
            assert_eq!(verify(&dir).findings, []);
        }
    }
}

#[test]
fn an_interrupted_creation_can_be_repeated() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("new");
    fs::create_dir_all(dir.join("meta")).unwrap();
    fs::write(dir.join("meta/info.json.partial"), "{").unwrap();
    assert!(matches!(
        Dataset::open(&dir),
        Err(Error::NotADataset { .. })
    ));
    let config = config(VideoCodec::H264, &[]);
    DatasetWriter::create(&dir, config).unwrap();
    assert_eq!(verify(&dir).findings, []);
    assert!(Dataset::open(&dir).unwrap().is_empty());
}

#[test]
fn a_dataset_can_be_recorded_by_one_process_at_a_time_and_read_meanwhile() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("shared");
    let config = config(VideoCodec::H264, &[]);
    let mut writer = DatasetWriter::create(&dir, config.clone()).unwrap();
    writer.write_episode(&episode(&config, "a", 2, 0)).unwrap();
    let Err(e) = DatasetWriter::open(&dir) else {
        panic!("two writers at once")
    };
    assert!(matches!(e, Error::Locked { .. }), "{e:?}");
    let recording = writer.begin("b").unwrap();
    assert_eq!(Dataset::open(&dir).unwrap().len(), 1);
    drop(recording);
    drop(writer);
    DatasetWriter::open(&dir).unwrap();
}
