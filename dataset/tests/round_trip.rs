//! What is recorded comes back: values exactly, images by content, statistics of all episodes.

mod common;

use common::{assert_same, config, episode, number_of};
use proptest::prelude::*;
use rapport_dataset::{Column, Dataset, DatasetConfig, DatasetWriter, Episode, VideoCodec};

#[test]
fn episodes_come_back_with_their_tasks_and_images() {
    for codec in [VideoCodec::Av1, VideoCodec::H264] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(codec, &[("front", 96, 64), ("wrist", 64, 64)]);
        let wanted = [
            episode(&config, "pick up the cube", 12, 0),
            episode(&config, "stack the cubes", 1, 100),
            episode(&config, "pick up the cube", 7, 200),
        ];
        let mut writer = DatasetWriter::create(dir.path(), config.clone()).unwrap();
        assert_eq!(writer.write_episode(&wanted[0]).unwrap(), 0);
        assert_eq!(writer.write_episode(&wanted[1]).unwrap(), 1);
        drop(writer);
        let mut writer = DatasetWriter::open(dir.path()).unwrap();
        assert_eq!(writer.removed(), &[] as &[std::path::PathBuf]);
        assert_eq!(writer.config(), &config);
        assert_eq!(writer.write_episode(&wanted[2]).unwrap(), 2);

        let dataset = Dataset::open(dir.path()).unwrap();
        assert_eq!(dataset.len(), 3);
        assert_eq!(dataset.tasks(), ["pick up the cube", "stack the cubes"]);
        assert_eq!(dataset.cameras(), ["front", "wrist"]);
        assert_eq!(dataset.info().total_frames, 20);
        assert_eq!(dataset.info().splits["train"], "0:3");
        for (i, want) in wanted.iter().enumerate() {
            assert_same(&dataset.episode(i).unwrap(), want);
            assert!(dataset.episode_columns(i).unwrap().cameras.is_empty());
        }
        let frame = dataset.frame(2, "wrist", 4).unwrap();
        assert_eq!(number_of(&frame), 200 + 7 + 4);
        assert_eq!(dataset.meta(2).unwrap().first_frame, 13);
        // Nothing is left of the recordings.
        assert!(!dir.path().join(".partial").exists());
    }
}

#[test]
fn a_discarded_or_dropped_episode_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(VideoCodec::H264, &[("front", 64, 64)]);
    let mut writer = DatasetWriter::create(dir.path(), config.clone()).unwrap();
    writer.write_episode(&episode(&config, "a", 3, 0)).unwrap();
    let before = common::files_below(dir.path());
    for discard in [true, false] {
        let mut recording = writer.begin("b").unwrap();
        let image = common::numbered(64, 64, 1);
        let values: &[(&str, &[f32])] = &[
            ("action", &[0.0, 0.0]),
            ("observation.state", &[0.0; 3]),
            ("next.reward", &[0.0]),
            ("next.done", &[1.0]),
            ("phase", &[2.0]),
        ];
        recording.push(values, &[("front", &image)]).unwrap();
        assert_eq!((recording.len(), recording.task()), (1, "b"));
        if discard {
            recording.discard();
        } else {
            drop(recording);
        }
        assert_eq!(common::files_below(dir.path()), before);
    }
    assert_eq!(
        writer.write_episode(&episode(&config, "c", 3, 0)).unwrap(),
        1
    );
    assert_eq!(Dataset::open(dir.path()).unwrap().tasks(), ["a", "c"]);
}

#[test]
fn two_episodes_can_be_recorded_at_once_and_are_numbered_when_saved() {
    let dir = tempfile::tempdir().unwrap();
    let config = DatasetConfig {
        features: vec![rapport_dataset::Feature::new("action", 1)],
        ..config(VideoCodec::H264, &[])
    };
    let mut writer = DatasetWriter::create(dir.path(), config).unwrap();
    let mut first = writer.begin("first").unwrap();
    let mut second = writer.begin("second").unwrap();
    first.push(&[("action", &[1.0])], &[]).unwrap();
    second.push(&[("action", &[2.0])], &[]).unwrap();
    assert_eq!(writer.save(second).unwrap(), 0);
    assert_eq!(writer.save(first).unwrap(), 1);
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.episode(0).unwrap().task, "second");
    assert_eq!(dataset.episode(1).unwrap().columns["action"].values, [1.0]);
    assert!(dataset.info().video_path.is_none());
}

#[test]
fn stats_json_has_the_exact_quantiles_of_all_episodes() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(VideoCodec::H264, &[("front", 64, 64)]);
    let mut writer = DatasetWriter::create(dir.path(), config.clone()).unwrap();
    let episodes: Vec<Episode> = [5, 40, 11]
        .iter()
        .map(|n| episode(&config, "a", *n, *n as u32))
        .collect();
    for (i, episode) in episodes.iter().enumerate() {
        if i == 2 {
            // After reopening the statistics come from the files.
            drop(writer);
            writer = DatasetWriter::open(dir.path()).unwrap();
        }
        writer.write_episode(episode).unwrap();
    }
    let stats = Dataset::open(dir.path()).unwrap().stats().unwrap().unwrap();
    let mut values: Vec<f64> = episodes
        .iter()
        .flat_map(|e| e.columns["action"].values.iter().step_by(2))
        .map(|v| f64::from(*v))
        .collect();
    values.sort_by(f64::total_cmp);
    let action = &stats["action"];
    assert_eq!(action.count, 56);
    let median = (values[27] + values[28]) / 2.0;
    assert!((action.q50[0] - median).abs() < 1e-12);
    let q99 = values[54] + (values[55] - values[54]) * 0.45;
    assert!((action.q99[0] - q99).abs() < 1e-12);
    assert_eq!(stats["index"].max, [55.0]);
    assert_eq!(stats["episode_index"].max, [2.0]);

    // Levels of the painted frames: 30 and 220, and nothing between.
    let front = &stats["observation.images.front"];
    assert_eq!(front.count, 56);
    for (q, level) in [(&front.min, 30.0), (&front.max, 220.0), (&front.q99, 220.0)] {
        assert!((q[0] - level / 255.0).abs() < 1e-12, "{q:?}");
    }
    let bright = episodes.iter().flat_map(|e| &e.cameras["front"]);
    let share = bright
        .map(|f| f64::from(number_of(f).count_ones()) / 16.0)
        .sum::<f64>()
        / 56.0;
    let mean = (30.0 + 190.0 * share) / 255.0;
    assert!(
        (front.mean[0] - mean).abs() < 1e-9,
        "{} is not {mean}",
        front.mean[0]
    );
}

fn arbitrary_dataset() -> impl Strategy<Value = (DatasetConfig, Vec<Episode>)> {
    let shape = (1..5usize, 0..3usize, 1..120u32);
    shape.prop_flat_map(|(width, cameras, fps)| {
        let names = ["front", "wrist"];
        let cameras: Vec<_> = names[..cameras].iter().map(|n| (*n, 32, 16)).collect();
        let mut config = config(VideoCodec::H264, &cameras);
        config.fps = fps;
        config.features[1].dim = width;
        let one = (1..9usize, any::<u16>(), "[a-zé ☂\"]{0,12}x", any::<u32>());
        let kept = config.clone();
        prop::collection::vec(one, 1..4).prop_map(move |episodes| {
            let episodes = episodes.into_iter().map(|(len, first, task, seed)| {
                let mut e = episode(&kept, &task, len, u32::from(first));
                // Any finite bit pattern, subnormals and negative zero included.
                let mut bits = seed;
                let column = Column {
                    names: Vec::new(),
                    dim: width,
                    values: (0..len * width)
                        .map(|_| {
                            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                            let value = f32::from_bits(bits);
                            if value.is_finite() { value } else { -0.0 }
                        })
                        .collect(),
                };
                e.columns.insert("observation.state".into(), column);
                e
            });
            (kept.clone(), episodes.collect::<Vec<_>>())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_episodes_survive_the_round_trip((config, episodes) in arbitrary_dataset()) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = DatasetWriter::create(dir.path(), config).unwrap();
        for (i, episode) in episodes.iter().enumerate() {
            prop_assert_eq!(writer.write_episode(episode).unwrap(), i);
        }
        let dataset = Dataset::open(dir.path()).unwrap();
        prop_assert_eq!(dataset.len(), episodes.len());
        for (i, want) in episodes.iter().enumerate() {
            assert_same(&dataset.episode(i).unwrap(), want);
        }
    }
}
