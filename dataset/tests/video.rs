//! mp4 files: every frame comes back, at its time, from wherever reading starts.

mod common;

use std::path::Path;

use common::{number_of, numbered};
use image::RgbImage;
use rapport_dataset::video::{self, VideoReader, VideoWriter};
use rapport_dataset::{Error, VideoCodec};

const CODECS: [VideoCodec; 2] = [VideoCodec::Av1, VideoCodec::H264];

fn frames(n: u32) -> Vec<RgbImage> {
    (0..n).map(|i| numbered(96, 64, i * 37 + 5)).collect()
}

fn numbers(images: &[RgbImage]) -> Vec<u32> {
    images.iter().map(number_of).collect()
}

fn written(dir: &Path, n: u32, fps: u32, codec: VideoCodec) -> std::path::PathBuf {
    let path = dir.join(format!("{n}-{fps}-{}.mp4", codec.name()));
    video::write(&path, &frames(n), fps, codec).unwrap();
    path
}

#[test]
fn every_frame_comes_back_in_order_at_any_length_and_rate() {
    let dir = tempfile::tempdir().unwrap();
    for codec in CODECS {
        for (n, fps) in [
            (1, 30),
            (2, 10),
            (3, 7),
            (61, 30),
            (50, 60),
            (20, 1),
            (9, 240),
        ] {
            let path = written(dir.path(), n, fps, codec);
            let (images, rate) = video::read_frames(&path).unwrap();
            assert_eq!(numbers(&images), numbers(&frames(n)), "{}", path.display());
            assert!((rate - f64::from(fps)).abs() < 1e-9, "{rate} of {fps}");
        }
    }
}

#[test]
fn frame_k_is_shown_at_exactly_k_periods_and_every_one_is_at_most_one_frame_after_a_keyframe() {
    let dir = tempfile::tempdir().unwrap();
    for codec in CODECS {
        for fps in [30, 7, 50] {
            let scan = video::scan(written(dir.path(), 31, fps, codec)).unwrap();
            assert_eq!(scan.codec, codec.name());
            assert_eq!(scan.size, (96, 64));
            assert_eq!(scan.times.len(), 31);
            for (k, time) in scan.times.iter().enumerate() {
                assert!((time - k as f64 / f64::from(fps)).abs() < 1e-9, "{time}");
            }
            assert!(scan.keyframes[0]);
            let reachable = scan.keyframes.windows(2).all(|w| w[0] || w[1]);
            assert!(reachable, "{codec:?}: {:?}", scan.keyframes);
        }
    }
}

#[test]
fn any_frame_can_be_asked_for_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    for codec in CODECS {
        let path = written(dir.path(), 40, 30, codec);
        let want = numbers(&frames(40));
        let mut reader = VideoReader::open(&path).unwrap();
        let mut k = 17;
        for _ in 0..120 {
            k = (k * 29 + 11) % 40;
            assert_eq!(number_of(&reader.frame(k).unwrap()), want[k], "frame {k}");
        }
        let e = reader.frame_at(0.5 / 30.0).unwrap_err().to_string();
        assert!(e.contains("no frame at 0.016667 s"), "{e}");
        let e = reader.frame(40).unwrap_err().to_string();
        assert!(e.contains("no frame at"), "{e}");
        // An error does not spoil the reader.
        assert_eq!(number_of(&reader.frame(39).unwrap()), want[39]);
    }
}

#[test]
fn a_file_appears_only_when_it_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    let mut writer = VideoWriter::create(&path, 96, 64, 30, VideoCodec::H264).unwrap();
    frames(5).iter().for_each(|f| writer.push(f).unwrap());
    assert!(!path.exists());
    drop(writer);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn wrong_frames_and_sizes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    let refused = |e: Error, text: &str| {
        assert!(matches!(e, Error::Invalid(_)), "{e:?}");
        assert!(e.to_string().contains(text), "{e}");
    };
    let create = |w, h, fps, codec| VideoWriter::create(&path, w, h, fps, codec).err().unwrap();
    refused(create(65, 64, 30, VideoCodec::H264), "must be even");
    refused(
        create(32, 32, 30, VideoCodec::Av1),
        "at least 64".get(9..).unwrap(),
    );
    refused(create(64, 64, 0, VideoCodec::H264), "0 frames per second");
    refused(
        video::write(&path, &[], 30, VideoCodec::H264).unwrap_err(),
        "no frame",
    );
    let mixed = [numbered(64, 64, 0), numbered(32, 64, 0)];
    refused(
        video::write(&path, &mixed, 30, VideoCodec::H264).unwrap_err(),
        "32 × 64",
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn missing_foreign_and_truncated_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let e = video::read_frames(dir.path().join("none.mp4")).unwrap_err();
    assert!(matches!(e, Error::NotFound { .. }), "{e:?}");

    let text = dir.path().join("text.mp4");
    std::fs::write(&text, "this is no video").unwrap();
    let e = video::read_frames(&text).unwrap_err();
    assert!(matches!(e, Error::Corrupt { .. }), "{e:?}");
    assert!(e.to_string().contains("text.mp4"), "{e}");

    let path = written(dir.path(), 30, 30, VideoCodec::Av1);
    let bytes = std::fs::read(&path).unwrap();
    for kept in [0, 10, bytes.len() / 3, bytes.len() * 9 / 10] {
        std::fs::write(&path, &bytes[..kept]).unwrap();
        let Err(e) = video::read_frames(&path) else {
            panic!("{kept} bytes were read as a video");
        };
        assert!(matches!(e, Error::Corrupt { .. }), "{kept}: {e:?}");
    }
    let e = video::read_frames(dir.path()).unwrap_err();
    assert!(matches!(e, Error::Corrupt { .. }), "{e:?}");
}

#[test]
fn overwritten_video_data_are_an_error_or_whole_frames_but_never_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    for codec in CODECS {
        let path = written(dir.path(), 30, 30, codec);
        let bytes = std::fs::read(&path).unwrap();
        let mut errors = 0;
        for i in 0..40 {
            let mut damaged = bytes.clone();
            let at = (i * 7919 + 50) % (bytes.len() - 40);
            damaged[at..at + 40].fill(0xa5);
            std::fs::write(&path, damaged).unwrap();
            match video::read_frames(&path) {
                Ok((images, _)) => assert!(images.iter().all(|f| f.dimensions() == (96, 64))),
                Err(e) => {
                    assert!(matches!(e, Error::Corrupt { .. }), "{e:?}");
                    errors += 1;
                }
            }
        }
        assert!(errors > 10, "only {errors} of 40 noticed in {codec:?}");
    }
}

#[test]
fn names_with_colons_and_spaces_work_and_other_encodings_are_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("a b:c é.mp4");
    video::write(&odd, &frames(2), 30, VideoCodec::H264).unwrap();
    assert_eq!(video::read_frames(&odd).unwrap().0.len(), 2);
    let latin = dir.path().join(std::ffi::OsStr::from_bytes(b"\xe9.mp4"));
    let e = video::write(&latin, &frames(2), 30, VideoCodec::H264).unwrap_err();
    assert!(e.to_string().contains("UTF-8"), "{e}");
}

#[test]
fn videos_of_other_encoders_with_reordered_frames_or_open_groups_are_read_exactly() {
    let want = numbers(&frames(40));
    for file in ["b_frames_g2.mp4", "b_frames_g12.mp4", "open_group_av1.mp4"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(file);
        assert_eq!(
            numbers(&video::read_frames(&path).unwrap().0),
            want,
            "{file}"
        );
        let scan = video::scan(&path).unwrap();
        for (k, time) in scan.times.iter().enumerate() {
            assert!((time - k as f64 / 30.0).abs() < 1e-9, "{file}: {time}");
        }
        let mut reader = VideoReader::open(&path).unwrap();
        let mut k = 3;
        for _ in 0..200 {
            k = (k * 31 + 17) % 40;
            assert_eq!(
                number_of(&reader.frame(k).unwrap()),
                want[k],
                "{file}, frame {k}"
            );
        }
        for k in (0..40).rev() {
            assert_eq!(
                number_of(&reader.frame(k).unwrap()),
                want[k],
                "{file}, frame {k}"
            );
        }
    }
}
