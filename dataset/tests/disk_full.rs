//! A disk that fills up while recording costs the episode in the making and nothing else.

#![expect(clippy::print_stderr, reason = "a skipped test says why")]

mod common;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use common::{assert_same, config, episode};
use rapport_dataset::{Dataset, DatasetWriter, Error, VideoCodec, verify};

/// A small filesystem of its own.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let out = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output();
        match out {
            Ok(out) if out.status.success() => Some(Self(dir)),
            Ok(out) => {
                eprintln!(
                    "SKIPPED: a full disk needs a small filesystem, and mounting one failed: {}",
                    String::from_utf8_lossy(&out.stderr).trim()
                );
                None
            }
            Err(e) => {
                eprintln!(
                    "SKIPPED: a full disk needs a small filesystem, and there is no mount: {e}"
                );
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: usize) {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let full = file.metadata().unwrap().len();
        file.set_len(full.saturating_sub(free as u64)).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_named_and_what_was_saved_stays() {
    let Some(disk) = SmallDisk::mount("3m") else {
        return;
    };
    let dir = disk.path().join("dataset");
    let config = config(VideoCodec::H264, &[("front", 128, 128)]);
    let kept = [
        episode(&config, "kept", 10, 0),
        episode(&config, "kept too", 10, 40),
    ];
    // Long enough that its video alone fills some of the gaps left below, and its tables the others.
    let lost = episode(&config, "lost", 60, 999);
    let mut writer = DatasetWriter::create(&dir, config.clone()).unwrap();
    for episode in &kept {
        writer.write_episode(episode).unwrap();
    }
    let mut hit = 0;
    for free in (0..300_000).step_by(12_288) {
        disk.fill(free);
        let before = common::files_below(&dir);
        let result = writer.write_episode(&lost);
        if let Err(e) = &result {
            assert!(
                matches!(e, Error::DiskFull { .. }),
                "with {free} bytes: {e:?}"
            );
            assert!(e.to_string().contains("the disk is full"), "{e}");
            assert_eq!(common::files_below(&dir), before, "with {free} bytes");
            let report = verify(&dir);
            assert_eq!(report.findings, [], "with {free} bytes");
            hit += 1;
        }
        disk.empty();
        if result.is_ok() {
            break;
        }
    }
    assert!(hit > 5, "the disk was full only {hit} times");
    // The same writer goes on once there is room, and so does a new one.
    let next = writer.write_episode(&kept[0]).unwrap();
    drop(writer);
    let mut writer = DatasetWriter::open(&dir).unwrap();
    assert_eq!(writer.write_episode(&kept[1]).unwrap(), next + 1);
    let dataset = Dataset::open(&dir).unwrap();
    assert_same(&dataset.episode(0).unwrap(), &kept[0]);
    assert_same(&dataset.episode(1).unwrap(), &kept[1]);
    assert_same(&dataset.episode(next).unwrap(), &kept[0]);
    assert_same(&dataset.episode(next + 1).unwrap(), &kept[1]);
    assert_eq!(verify(&dir).findings, []);
}

#[test]
fn a_device_without_room_is_a_full_disk_for_videos_too() {
    if !Path::new("/dev/full").exists() {
        eprintln!("SKIPPED: there is no /dev/full on this system");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    std::os::unix::fs::symlink("/dev/full", dir.path().join("a.mp4.partial")).unwrap();
    let frames: Vec<_> = (0..9).map(|i| common::numbered(64, 64, i)).collect();
    let e = rapport_dataset::video::write(&path, &frames, 30, VideoCodec::H264).unwrap_err();
    assert!(matches!(e, Error::DiskFull { .. }), "{e:?}");
    assert!(!path.exists());
}
