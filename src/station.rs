//! A [`Station`]: an arm behind its guard, with cameras, and a referee where it is simulated.
//!
//! `sim:so101`, `twin:so101` and `so101:PATH` differ in how a station is built and in nothing after that.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport::robot::calibration::Calibration;
use rapport::robot::control::{Control, ControlReport, Tick};
use rapport::robot::control_thread::{ControlHandle, ControlThreadConfig};
use rapport::robot::feetech::FeetechArm;
use rapport::robot::guard::{Guard, GuardConfig};
use rapport::robot::{Arm, Camera, SystemClock, so101};
use rapport::sim::env::guard_config;
use rapport::sim::render::{Backend, Quality};
use rapport::sim::servo_bus::{ServoBus, ServoBusConfig, WorldPlant};
use rapport::sim::tasks::{self, Task};
use rapport::sim::{Pace, Reading, RealTime, Scene, SimArm, SimCamera, SimClock, World};

use crate::cli::Usage;

/// What `--robot` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RobotName {
    /// `sim:so101`: the simulator itself.
    Sim,
    /// `twin:so101`: the simulator behind a serial port that speaks as servos do, driven by the real driver.
    Twin,
    /// `so101:PATH`: servos on a serial port.
    Serial(PathBuf),
}

impl FromStr for RobotName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.split_once(':') {
            Some(("sim", "so101")) => Ok(Self::Sim),
            Some(("twin", "so101")) => Ok(Self::Twin),
            Some(("so101", path)) if !path.is_empty() => Ok(Self::Serial(path.into())),
            _ => Err("robots are sim:so101, twin:so101 and so101:PATH (so101:/dev/ttyACM0)".into()),
        }
    }
}

/// What `--camera` names: `front`, `front=224x224` (simulated), `front=opencv:0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraName {
    /// Name in the dataset.
    pub name: String,
    /// Where pictures come from.
    pub source: CameraSource,
}

/// Where pictures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraSource {
    /// The simulated camera of that name, with this size in pixels.
    Sim(u32, u32),
    /// OpenCV's VideoCapture: an index or a path.
    OpenCv(String),
}

/// A policy that looks at the past does not see what it does.
const OLDEST_PICTURE: Duration = Duration::from_millis(150);

/// Size of simulated pictures when none is given.
pub const PICTURE: (u32, u32) = (224, 224);

impl FromStr for CameraName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, source) = text.split_once('=').unwrap_or((text, ""));
        let source = match source {
            "" => CameraSource::Sim(PICTURE.0, PICTURE.1),
            source => match source.strip_prefix("opencv:") {
                Some(device) => CameraSource::OpenCv(device.into()),
                None => {
                    let size = source
                        .split_once('x')
                        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
                    let (w, h) = size.ok_or("a camera is NAME, NAME=WIDTHxHEIGHT (simulated) or NAME=opencv:INDEX_OR_PATH")?;
                    CameraSource::Sim(w, h)
                }
            },
        };
        Ok(Self {
            name: name.into(),
            source,
        })
    }
}

/// How an episode begins in a simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As the task says, by this seed.
    Task(u64),
    /// Arm and object anywhere, each without regard to the other.
    Independent(u64),
}

/// The simulator's knowledge of a task.
pub struct Referee {
    world: World,
    task: Arc<dyn Task>,
}

impl Referee {
    /// What is true now.
    pub fn reading(&self) -> anyhow::Result<Reading> {
        Ok(self.world.reading()?)
    }

    /// The task that is judged.
    pub fn task(&self) -> &dyn Task {
        &*self.task
    }

    /// The world that is judged.
    pub fn world(&self) -> &World {
        &self.world
    }
}

enum Loop {
    /// The caller's own thread: simulated time.
    Inline(Box<Control>),
    /// A thread of its own: the wall clock.
    Thread(ControlHandle),
}

/// An arm ready to be used. Dropping it runs the stop order.
pub struct Station {
    control: Loop,
    /// In the order asked for.
    pub cameras: Vec<Box<dyn Camera>>,
    /// Where somebody knows the truth.
    pub referee: Option<Referee>,
    /// The oldest picture to act on or to record, where the cameras' clock is the loop's.
    pub oldest_picture: Option<Duration>,
    /// Fields below live as long as the station: the servo bus of a twin, and the clock that moves its world.
    _bus: Option<ServoBus>,
    _time: Option<RealTime>,
}

/// What a station is made of.
#[derive(Clone, Debug)]
pub struct StationConfig {
    /// Which arm.
    pub robot: RobotName,
    /// Which task, for the scene, the referee and the names; real arms need none.
    pub task: Option<String>,
    /// Which cameras.
    pub cameras: Vec<CameraName>,
    /// Goals per second.
    pub control_hz: f64,
    /// LeRobot calibration file of a real arm.
    pub calibration: Option<PathBuf>,
    /// How simulated time runs on `sim:so101`.
    pub pace: Pace,
}

impl StationConfig {
    /// The task, `so101-push` where none is named.
    pub fn task(&self) -> anyhow::Result<Arc<dyn Task>> {
        tasks::by_name(self.task.as_deref().unwrap_or("so101-push"))
            .map_err(|e| Usage(e.to_string()).into())
    }

    fn period(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.control_hz)
    }
}

impl Station {
    /// Builds the station at the start of an episode, torque on.
    pub fn open(config: &StationConfig, start: Start) -> anyhow::Result<Self> {
        Self::open_with(config, start, ControlThreadConfig::default())
    }

    /// [`Station::open`] with a control thread of its own kind, where there is one.
    pub fn open_with(
        config: &StationConfig,
        start: Start,
        thread: ControlThreadConfig,
    ) -> anyhow::Result<Self> {
        match &config.robot {
            RobotName::Sim => Self::sim(config, start),
            RobotName::Twin => Self::twin(config, start, thread),
            RobotName::Serial(path) => Self::serial(config, path, thread),
        }
    }

    /// The control thread, where there is one.
    pub fn handle(&self) -> Option<&ControlHandle> {
        match &self.control {
            Loop::Inline(_) => None,
            Loop::Thread(handle) => Some(handle),
        }
    }

    fn sim(config: &StationConfig, start: Start) -> anyhow::Result<Self> {
        let (world, task) = world(config, start)?;
        let guard = Guard::with_chain(
            Box::new(SimArm::new(world.clone())),
            so101::chain(),
            guard_config(),
        )?;
        let clock = Box::new(SimClock::new(world.clone(), config.pace));
        let mut control = Control::new(guard, clock, config.period())?;
        control.enable()?;
        let cameras = sim_cameras(config, &world)?;
        Ok(Self {
            control: Loop::Inline(Box::new(control)),
            cameras,
            referee: Some(Referee { world, task }),
            oldest_picture: None,
            _bus: None,
            _time: None,
        })
    }

    fn twin(
        config: &StationConfig,
        start: Start,
        thread: ControlThreadConfig,
    ) -> anyhow::Result<Self> {
        let (world, task) = world(config, start)?;
        let calibration = ServoBusConfig::calibration();
        let bus = ServoBus::start(
            &ServoBusConfig::so101(&calibration),
            Box::new(WorldPlant::new(world.clone())),
            None,
        )?;
        let time = RealTime::start(world.clone(), world.timestep())?;
        let arm = FeetechArm::connect(&bus.path().display().to_string(), &calibration)?
            .guarded_by(&std::env::current_exe()?)?;
        let cameras = sim_cameras(config, &world)?;
        let handle = spawn(
            Box::new(arm),
            guard_config(),
            config,
            SystemClock::default(),
            thread,
        )?;
        Ok(Self {
            control: Loop::Thread(handle),
            cameras,
            referee: Some(Referee { world, task }),
            oldest_picture: None,
            _bus: Some(bus),
            _time: Some(time),
        })
    }

    fn serial(
        config: &StationConfig,
        path: &std::path::Path,
        thread: ControlThreadConfig,
    ) -> anyhow::Result<Self> {
        let file = config.calibration.as_deref().ok_or_else(|| {
            Usage("a real arm needs its calibration: --calibration FILE.json, as LeRobot writes it (~/.cache/huggingface/lerobot/calibration)".into())
        })?;
        // One clock for arm and cameras, so that ages can be compared.
        let clock = SystemClock::default();
        let calibration = Calibration::load(file)?;
        let arm = FeetechArm::connect(&path.display().to_string(), &calibration)?
            .guarded_by(&std::env::current_exe()?)?;
        let cameras = config
            .cameras
            .iter()
            .map(|camera| real_camera(camera, clock))
            .collect::<anyhow::Result<_>>()?;
        let handle = spawn(Box::new(arm), GuardConfig::so101(), config, clock, thread)?;
        Ok(Self {
            control: Loop::Thread(handle),
            cameras,
            referee: None,
            oldest_picture: Some(OLDEST_PICTURE),
            _bus: None,
            _time: None,
        })
    }

    /// Hands a goal over, waits for the next slot of the time grid, and measures.
    pub fn tick(&mut self, goal: Option<&[f64]>) -> anyhow::Result<Tick> {
        match &mut self.control {
            Loop::Inline(control) => Ok(control.tick(goal)),
            Loop::Thread(handle) => {
                if let Some(goal) = goal {
                    handle.send_goal(goal.to_vec())?;
                }
                Ok(handle.next_tick()?)
            }
        }
    }

    /// Brakes, turns torque off on every joint, reads the switches back, and says what the loop did.
    pub fn stop(self) -> anyhow::Result<ControlReport> {
        match self.control {
            Loop::Inline(mut control) => {
                control.stop()?;
                Ok(control.report())
            }
            Loop::Thread(handle) => {
                let (_, report) = handle.stop().context("the stop order did not finish")?;
                Ok(report)
            }
        }
    }
}

fn spawn(
    arm: Box<dyn Arm>,
    guard: GuardConfig,
    config: &StationConfig,
    clock: SystemClock,
    thread: ControlThreadConfig,
) -> anyhow::Result<ControlHandle> {
    let guard = Guard::with_chain(arm, so101::chain(), guard)?;
    let control = Control::new(guard, Box::new(clock), config.period())?;
    let handle = control.spawn(thread)?;
    handle.enable()?;
    Ok(handle)
}

/// The task's world, set up and settled.
fn world(config: &StationConfig, start: Start) -> anyhow::Result<(World, Arc<dyn Task>)> {
    let task = config.task()?;
    let world = World::new(Scene::new(task.scene())?)?;
    world.reset();
    match start {
        Start::Task(seed) => task.reset(&world, &mut ChaCha8Rng::seed_from_u64(seed))?,
        Start::Independent(seed) => {
            task.reset_independently(&world, &mut ChaCha8Rng::seed_from_u64(seed))?
        }
    }
    world.advance_until(world.now() + Duration::from_millis(300))?;
    Ok((world, task))
}

fn sim_cameras(config: &StationConfig, world: &World) -> anyhow::Result<Vec<Box<dyn Camera>>> {
    let open = |camera: &CameraName| -> anyhow::Result<Box<dyn Camera>> {
        match camera.source {
            CameraSource::Sim(width, height) => Ok(Box::new(SimCamera::new(
                world.clone(),
                &camera.name,
                (width, height),
                Backend::Cpu,
                Quality::Fast,
            )?)),
            CameraSource::OpenCv(_) => real_camera(camera, SystemClock::default()),
        }
    };
    config.cameras.iter().map(open).collect()
}

#[cfg(feature = "opencv")]
fn real_camera(camera: &CameraName, clock: SystemClock) -> anyhow::Result<Box<dyn Camera>> {
    match &camera.source {
        CameraSource::OpenCv(device) => {
            use rapport::robot::CameraStream;
            use rapport::robot::opencv_camera::{
                OpencvCamera, OpencvConfig, OpencvSource, Rotation,
            };
            let index_or_path = device
                .parse()
                .map_or_else(|_| OpencvSource::Path(device.into()), OpencvSource::Index);
            let config = OpencvConfig {
                index_or_path,
                width: None,
                height: None,
                fps: None,
                fourcc: None,
                rotation: Rotation::None,
            };
            let camera = OpencvCamera::open(&camera.name, &config, clock)?;
            // `capture` of the camera itself waits for the shutter; the stream has the newest picture at once.
            Ok(Box::new(CameraStream::start(
                Box::new(camera),
                Duration::from_millis(500),
            )?))
        }
        CameraSource::Sim(..) => Err(Usage(format!(
            "camera {}: a real arm needs NAME=opencv:INDEX_OR_PATH",
            camera.name
        ))
        .into()),
    }
}

#[cfg(not(feature = "opencv"))]
fn real_camera(camera: &CameraName, _clock: SystemClock) -> anyhow::Result<Box<dyn Camera>> {
    Err(Usage(format!(
        "camera {}: this build has no live cameras; build with `--features opencv`",
        camera.name
    ))
    .into())
}
