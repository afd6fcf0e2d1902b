//! `rapport find-cameras`: the cameras of this machine, by names that stay.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ui::Ui;

/// List the cameras, with names that stay the same when the numbering changes, and save a picture of each.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Save a picture of each camera here (needs a build with `--features opencv`).
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
}

/// A camera.
#[derive(Debug, Serialize)]
struct Found {
    device: PathBuf,
    /// What the driver calls it.
    name: String,
    /// Stays with the camera, where it has a serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_id: Option<PathBuf>,
    /// Stays with the socket it is plugged into: tells two equal cameras apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_path: Option<PathBuf>,
    /// The picture that was saved, or why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<Result<PathBuf, String>>,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let mut found = cameras(Path::new("/sys/class/video4linux"), Path::new("/dev"))?;
    if let Some(dir) = &args.pictures {
        std::fs::create_dir_all(dir)?;
        for (number, camera) in found.iter_mut().enumerate() {
            let file = dir.join(format!("camera-{number}.png"));
            camera.picture = Some(picture(&camera.device, &file).map(|()| file));
        }
    }
    ui.result(&found, || {
        if found.is_empty() {
            return "no camera; is it plugged in, and is this user in the group `video`?".into();
        }
        let lines = found.iter().map(|camera| {
            let stable = camera.by_path.as_ref().or(camera.by_id.as_ref());
            let mut line = format!("{}  {}", camera.device.display(), camera.name);
            if let Some(path) = stable {
                line += &format!("\n    --camera NAME=opencv:{}", path.display());
            }
            match &camera.picture {
                Some(Ok(file)) => line += &format!("\n    {}", file.display()),
                Some(Err(error)) => line += &format!("\n    no picture: {error}"),
                None => {}
            }
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// What the system lists, in the order of the device numbers. A camera has several nodes; the first is the one with pictures.
fn cameras(class: &Path, dev: &Path) -> std::io::Result<Vec<Found>> {
    let Ok(nodes) = std::fs::read_dir(class) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for node in nodes {
        let node = node?;
        let read = |file: &str| std::fs::read_to_string(node.path().join(file));
        // Nodes with a number above 0 carry metadata.
        if read("index").is_ok_and(|index| index.trim() != "0") {
            continue;
        }
        let device = dev.join(node.file_name());
        found.push(Found {
            name: read("name").unwrap_or_default().trim().to_owned(),
            by_id: link_to(&dev.join("v4l/by-id"), &device),
            by_path: link_to(&dev.join("v4l/by-path"), &device),
            picture: None,
            device,
        });
    }
    found.sort_by_key(|camera| {
        let name = camera.device.display().to_string();
        (name.len(), name)
    });
    Ok(found)
}

/// The link in a folder that leads to a device.
fn link_to(folder: &Path, device: &Path) -> Option<PathBuf> {
    let target = std::fs::canonicalize(device).ok()?;
    let mut links: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|link| std::fs::canonicalize(link).is_ok_and(|to| to == target))
        .collect();
    links.sort();
    links.into_iter().next()
}

#[cfg(feature = "opencv")]
fn picture(device: &Path, file: &Path) -> Result<(), String> {
    use rapport::robot::opencv_camera::{OpencvCamera, OpencvConfig, OpencvSource, Rotation};
    use rapport::robot::{Camera as _, SystemClock};
    let config = OpencvConfig {
        index_or_path: OpencvSource::Path(device.into()),
        width: None,
        height: None,
        fps: None,
        fourcc: None,
        rotation: Rotation::None,
    };
    let mut camera = OpencvCamera::open("camera", &config, SystemClock::default())
        .map_err(|error| error.to_string())?;
    let frame = camera.capture().map_err(|error| error.to_string())?;
    frame.image.save(file).map_err(|error| error.to_string())
}

#[cfg(not(feature = "opencv"))]
fn picture(_: &Path, _: &Path) -> Result<(), String> {
    Err("this build has no live cameras; build with `--features opencv`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_are_listed_once_with_the_names_that_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (class, dev) = (dir.path().join("class"), dir.path().join("dev"));
        for (node, index, name) in [
            ("video10", "0", "Back\n"),
            ("video2", "0", "Front\n"),
            ("video3", "1", "Front\n"),
        ] {
            std::fs::create_dir_all(class.join(node)).unwrap();
            std::fs::write(class.join(node).join("index"), index).unwrap();
            std::fs::write(class.join(node).join("name"), name).unwrap();
            std::fs::create_dir_all(dev.join("v4l/by-path")).unwrap();
            std::fs::write(dev.join(node), "").unwrap();
        }
        let link = dev.join("v4l/by-path/pci-usb-1-video-index0");
        std::os::unix::fs::symlink("../../video2", &link).unwrap();
        let found = cameras(&class, &dev).unwrap();
        let names: Vec<_> = found.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["Front", "Back"]);
        assert_eq!(found[0].by_path.as_deref(), Some(link.as_path()));
        assert_eq!((&found[0].by_id, &found[1].by_path), (&None, &None));
        assert!(cameras(&dir.path().join("none"), &dev).unwrap().is_empty());
    }
}
