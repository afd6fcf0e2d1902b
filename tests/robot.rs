//! A runtime on a serial port, and every way it can end: what matters is what the servos are left with.
//!
//! The servos are a twin in this process, the runtime is `rapport teleop` in another one.

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rapport::sim::servo_bus::{ServoBus, ServoBusConfig, WorldPlant};
use rapport::sim::{RealTime, Scene, SceneConfig, Torque, World};
use rustix::process::{Pid, Signal, kill_process};

/// A twin on a port, with its calibration as a file.
struct Twin {
    bus: Option<ServoBus>,
    calibration: PathBuf,
    port: PathBuf,
    world: World,
    _time: RealTime,
    _dir: tempfile::TempDir,
}

impl Twin {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(Scene::new(SceneConfig::default()).unwrap()).unwrap();
        world.reset();
        let calibration = ServoBusConfig::calibration();
        let file = dir.path().join("arm.json");
        calibration.save(&file).unwrap();
        let plant = Box::new(WorldPlant::new(world.clone()));
        let bus = ServoBus::start(&ServoBusConfig::so101(&calibration), plant, None).unwrap();
        Self {
            port: bus.path().to_owned(),
            bus: Some(bus),
            calibration: file,
            world: world.clone(),
            _time: RealTime::start(world.clone(), world.timestep()).unwrap(),
            _dir: dir,
        }
    }

    fn torques(&self) -> Vec<Torque> {
        let bus = self.bus.as_ref().unwrap();
        bus.chain().servos().iter().map(|s| s.torque()).collect()
    }

    fn all(&self, torque: Torque) -> bool {
        self.torques().iter().all(|t| *t == torque)
    }

    /// How long it takes until all servos have this torque.
    fn time_until(&self, torque: Torque, longest: Duration) -> Duration {
        let start = Instant::now();
        while !self.all(torque) {
            assert!(start.elapsed() < longest, "{:?}", self.torques());
            std::thread::sleep(Duration::from_millis(1));
        }
        start.elapsed()
    }

    /// Torque is off and no late goal turns it on again.
    fn stays_limp(&self) {
        for _ in 0..150 {
            assert!(self.all(Torque::Off), "{:?}", self.torques());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A running `rapport teleop` with torque on.
struct Runtime(Child);

impl Runtime {
    fn start(twin: &Twin) -> Self {
        let child = teleop(&twin.port, &twin.calibration).spawn().unwrap();
        let runtime = Self(child);
        twin.time_until(Torque::On, Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(300));
        runtime
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn said(&mut self) -> String {
        use std::io::Read as _;
        let mut text = String::new();
        let stderr = self.0.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // It has mostly ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn teleop(port: &Path, calibration: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command
        .args(["teleop", "--teleop", "script:play", "--robot"])
        .arg(format!("so101:{}", port.display()))
        .arg("--calibration")
        .arg(calibration)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Long, because tests share the processor; what is seen is some milliseconds (docs/faults.md).
const SOON: Duration = Duration::from_millis(1500);

#[test]
fn a_killed_runtime_leaves_no_torque() {
    for signal in [Signal::KILL, Signal::ABORT] {
        let twin = Twin::start();
        let mut runtime = Runtime::start(&twin);
        runtime.signal(signal);
        let taken = twin.time_until(Torque::Off, SOON);
        println!("{signal:?}: torque off after {taken:?}");
        assert!(!runtime.end().success());
        twin.stays_limp();
    }
}

#[test]
fn a_runtime_that_is_asked_to_end_switches_torque_off_itself() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let twin = Twin::start();
        let mut runtime = Runtime::start(&twin);
        runtime.signal(signal);
        let taken = twin.time_until(Torque::Off, 6 * SOON);
        println!("{signal:?}: torque off after {taken:?}");
        let status = runtime.end();
        assert!(status.success(), "{signal:?}: {}", runtime.said());
        twin.stays_limp();
    }
}

#[test]
fn a_second_signal_ends_it_at_once_and_torque_goes_with_it() {
    let twin = Twin::start();
    let mut runtime = Runtime::start(&twin);
    runtime.signal(Signal::INT);
    // The first one begins to brake; two at the very same time are one.
    std::thread::sleep(Duration::from_millis(50));
    runtime.signal(Signal::INT);
    twin.time_until(Torque::Off, SOON);
    runtime.end();
    twin.stays_limp();
}

#[test]
fn a_runtime_that_was_stopped_finds_torque_off_and_does_not_switch_it_on_again() {
    let twin = Twin::start();
    let mut runtime = Runtime::start(&twin);
    runtime.signal(Signal::STOP);
    let taken = twin.time_until(Torque::Off, Duration::from_secs(1) + SOON);
    println!("STOP: torque off after {taken:?}");
    assert!(
        taken > Duration::from_millis(500),
        "a short pause is no death"
    );
    std::thread::sleep(Duration::from_millis(300));
    runtime.signal(Signal::CONT);
    twin.stays_limp();
    runtime.signal(Signal::INT);
    runtime.end();
    twin.stays_limp();
}

#[test]
fn a_port_that_is_gone_ends_the_runtime_with_a_word_of_warning() {
    let mut twin = Twin::start();
    let mut runtime = Runtime::start(&twin);
    drop(twin.bus.take());
    let status = runtime.end();
    let said = runtime.said();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("cut"), "{said}");
}

fn rapport(words: &[&str], twin: &Twin) -> Command {
    let port = twin.port.to_str().unwrap();
    let calibration = twin.calibration.to_str().unwrap();
    let words = words
        .iter()
        .map(|w| w.replace("PORT", port).replace("FILE", calibration));
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a command says after these lines of input.
fn say(words: &[&str], twin: &Twin, input: &str) -> (bool, String, String) {
    use std::io::Write as _;
    let mut child = rapport(words, twin).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_servo_alone_on_the_bus_is_set_up_as_its_joint() {
    let twin = Twin::start();
    let silence = |joints: std::ops::Range<usize>, silent: bool| {
        let mut chain = twin.bus.as_ref().unwrap().chain();
        joints.for_each(|joint| chain.faults.servo(joint).silent = silent);
    };
    let (done, _, said) = say(
        &["setup-motors", "--port", "PORT", "--joint", "gripper"],
        &twin,
        "\n",
    );
    assert!(!done && said.contains("connect only the one"), "{said}");
    // Only the first servo answers: it becomes the gripper's.
    silence(1..6, true);
    let (done, _, said) = say(
        &["setup-motors", "--port", "PORT", "--joint", "gripper"],
        &twin,
        "\n",
    );
    assert!(done, "{said}");
    assert_eq!(twin.bus.as_ref().unwrap().chain().servos()[0].id(), 6);
    let (done, _, said) = say(
        &["setup-motors", "--port", "PORT", "--joint", "elbow"],
        &twin,
        "\n",
    );
    assert!(!done && said.contains("elbow_flex"), "{said}");
    let (done, _, said) = say(&["setup-motors", "--port", "PORT"], &twin, "");
    assert!(!done && said.contains("ENTER"), "{said}");
}

#[test]
fn an_arm_moved_through_its_ranges_by_hand_is_calibrated() {
    use std::io::Write as _;
    let ends: [(f64, f64); 5] = [
        (-1.9, 1.9),
        (-1.7, 1.7),
        (-1.65, 1.65),
        (-1.6, 1.6),
        (-0.4, 0.4),
    ];
    for (share, good) in [(1.0, true), (0.5, false)] {
        let twin = Twin::start();
        let mut child = rapport(&["calibrate", "--port", "PORT", "--out", "FILE"], &twin)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let hold = |pose: [f64; 6], times: usize| {
            for _ in 0..times {
                twin.world.place_arm(&pose).unwrap();
                std::thread::sleep(Duration::from_millis(4));
            }
        };
        let middle = [0.0, 0.0, 0.0, 0.0, 0.0, 0.5];
        hold(middle, 400);
        stdin.write_all(b"\n").unwrap();
        hold(middle, 200);
        for joint in 0..6 {
            let (low, high) = ends.get(joint).copied().unwrap_or((-0.5, 0.5));
            let turn = |at: f64| {
                let mut pose = middle;
                pose[joint] += at;
                hold(pose, 6);
            };
            for k in 0..=10 {
                turn(share * low * f64::from(k) / 10.0);
            }
            for k in 0..=20 {
                turn(share * (low + (high - low) * f64::from(k) / 20.0));
            }
        }
        stdin.write_all(b"\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), good, "{said}");
        if good {
            let (done, text, said) = say(
                &[
                    "doctor",
                    "--robot",
                    "so101:PORT",
                    "--calibration",
                    "FILE",
                    "--json",
                ],
                &twin,
                "",
            );
            assert!(done, "{text} {said}");
            assert!(text.contains("100 readings came"), "{text}");
            let old = PathBuf::from(format!("{}.old", twin.calibration.display()));
            assert!(old.exists(), "the file before it is kept");
        } else {
            assert!(said.contains("shoulder_pan turns by"), "{said}");
        }
    }
}

#[test]
fn a_doctor_moves_every_joint_a_little_and_finds_the_one_that_does_not() {
    let twin = Twin::start();
    let words = [
        "doctor",
        "--robot",
        "so101:PORT",
        "--calibration",
        "FILE",
        "--move",
    ];
    // Somebody holds the limp arm up until its torque is on.
    let held = |words: &[&str]| {
        let enough = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while twin.all(Torque::Off) && !enough.load(std::sync::atomic::Ordering::Acquire) {
                    twin.world
                        .place_arm(&[0.1, -0.4, 0.3, 0.9, 0.2, 0.5])
                        .unwrap();
                    std::thread::sleep(Duration::from_millis(4));
                }
            });
            let answer = say(words, &twin, "");
            enough.store(true, std::sync::atomic::Ordering::Release);
            answer
        })
    };
    let (done, text, said) = held(&words);
    assert!(done, "{text} {said}");
    assert_eq!(text.matches("motion").count(), 6, "{text}");
    assert!(twin.all(Torque::Off));
    twin.bus.as_ref().unwrap().chain().faults.servo(2).jammed = true;
    let (done, text, said) = held(&words);
    assert!(!done && said.contains("motion"), "{text} {said}");
    assert!(
        text.contains("WRONG    motion            elbow_flex"),
        "{text}"
    );
    assert!(twin.all(Torque::Off));
}

#[test]
fn a_recording_from_servos_keeps_what_they_say_of_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let demos = dir.path().join("demos");
    let output = Command::new(env!("CARGO_BIN_EXE_rapport"))
        .args([
            "record",
            "--robot",
            "twin:so101",
            "--teleop",
            "script:push",
            "--episodes",
            "1",
        ])
        .args([
            "--length",
            "10",
            "--camera",
            "front=32x32",
            "--quiet",
            "--dataset",
        ])
        .arg(&demos)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let dataset = rapport::dataset::Dataset::open(&demos).unwrap();
    let episode = dataset.episode_columns(0).unwrap();
    let column = |name: &str| episode.columns[name].values.clone();
    assert!(
        column("robot.temperature")
            .iter()
            .all(|t| (20.0..60.0).contains(t))
    );
    assert!(column("robot.current").iter().any(|c| *c > 0.0));
    assert!(
        column("robot.state_age")
            .iter()
            .all(|age| (0.0..1.0).contains(age))
    );
    let (asked, sent) = (column("robot.requested_action"), column("action"));
    assert_eq!(asked.len(), sent.len());
    // Degrees; the guard's limits make the two differ on the way.
    assert!(asked.iter().zip(&sent).all(|(a, b)| (a - b).abs() < 60.0));
}
