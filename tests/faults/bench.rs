//! A guarded arm on a twin in virtual time: the real driver, guard and loop, MuJoCo joints, and a wire on which anything can be made to go wrong.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rapport::robot::calibration::Calibration;
use rapport::robot::control::{Control, Tick};
use rapport::robot::feetech::registers::TABLE_END;
use rapport::robot::feetech::{Bus, BusConfig, FeetechArm, FeetechConfig, Transport};
use rapport::robot::guard::{Guard, GuardConfig, GuardState, Reason};
use rapport::robot::{ArmError, Clock as _, so101};
use rapport::sim::servo_bus::{
    Faults, JointPlant, JointReading, PlantError, ServoBusConfig, ServoConfig, VirtualBus,
    VirtualPort, WorldPlant,
};
use rapport::sim::{Scene, SceneConfig, Torque, World};

/// Where the arm is when a test begins, rad and opening fraction.
pub const REST: [f64; 6] = [0.1, -0.4, 0.3, 0.9, 0.2, 0.5];

/// Period of the loop.
pub const PERIOD: Duration = Duration::from_millis(10);

/// What the adapter does beside carrying bytes.
#[derive(Clone, Debug, Default)]
pub struct Adapter {
    /// Sends that take no byte, from now on.
    pub blocked_sends: u32,
    /// It is not there any more.
    pub unplugged: bool,
    /// Bytes sent so far.
    pub sent: Vec<u8>,
}

/// A virtual port behind an adapter.
struct Wire {
    port: VirtualPort,
    adapter: Arc<Mutex<Adapter>>,
}

impl Wire {
    fn check(&self) -> io::Result<()> {
        match self.adapter.lock().unwrap().unplugged {
            true => Err(io::Error::from_raw_os_error(
                rustix::io::Errno::IO.raw_os_error(),
            )),
            false => Ok(()),
        }
    }
}

impl Transport for Wire {
    fn name(&self) -> &str {
        "twin"
    }

    fn now(&self) -> Duration {
        self.port.now()
    }

    fn discard_input(&mut self) -> io::Result<()> {
        self.check()?;
        self.port.discard_input()
    }

    fn send(&mut self, bytes: &[u8], deadline: Duration) -> io::Result<()> {
        self.check()?;
        let mut adapter = self.adapter.lock().unwrap();
        if adapter.blocked_sends > 0 {
            adapter.blocked_sends -= 1;
            // Half of the frame has gone out when the adapter stops; the rest is thrown away.
            let half = bytes.len() / 2;
            adapter.sent.extend(&bytes[..half]);
            self.port.send(&bytes[..half], deadline)?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        adapter.sent.extend(bytes);
        drop(adapter);
        self.port.send(bytes, deadline)
    }

    fn receive(&mut self, buffer: &mut [u8], deadline: Duration) -> io::Result<usize> {
        self.check()?;
        self.port.receive(buffer, deadline)
    }
}

/// Servos and a wire, with nobody on it yet.
pub struct Line {
    pub twin: VirtualBus,
    pub world: World,
    pub adapter: Arc<Mutex<Adapter>>,
    pub calibration: Calibration,
    /// How high the tool was, m, over time.
    pub heights: Arc<Mutex<Vec<(Duration, f64)>>>,
    port: Option<VirtualPort>,
}

/// The arm's joints, and a look at how high the tool is.
struct Watched {
    plant: WorldPlant,
    world: World,
    heights: Arc<Mutex<Vec<(Duration, f64)>>>,
}

impl JointPlant for Watched {
    fn joints(&self) -> usize {
        self.plant.joints()
    }

    fn advance(&mut self, now: Duration) -> Result<(), PlantError> {
        self.plant.advance(now)?;
        let mut heights = self.heights.lock().unwrap();
        if heights
            .last()
            .is_none_or(|(at, _)| now >= *at + Duration::from_millis(2))
        {
            heights.push((now, self.world.base_from_tool()?.translation.z));
        }
        Ok(())
    }

    fn measure(&self, joint: usize) -> Result<JointReading, PlantError> {
        self.plant.measure(joint)
    }

    fn set_goal(&mut self, joint: usize, angle: f64) -> Result<(), PlantError> {
        self.plant.set_goal(joint, angle)
    }

    fn set_torque(&mut self, joint: usize, torque: Torque) -> Result<(), PlantError> {
        self.plant.set_torque(joint, torque)
    }
}

impl Line {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With servos that are not as they should be.
    pub fn with(change: impl FnOnce(&mut Vec<ServoConfig>)) -> Self {
        let world = World::new(Scene::new(SceneConfig::default()).unwrap()).unwrap();
        world.place_arm(&REST).unwrap();
        let mut config = ServoBusConfig::uncalibrated_so101();
        change(&mut config.servos);
        let heights = Arc::default();
        let plant = Box::new(Watched {
            plant: WorldPlant::new(world.clone()),
            world: world.clone(),
            heights: Arc::clone(&heights),
        });
        let (twin, port) = VirtualBus::new(&config, plant).unwrap();
        Self {
            twin,
            world,
            adapter: Arc::default(),
            calibration: ServoBusConfig::calibration(),
            heights,
            port: Some(port),
        }
    }

    pub fn bus(&mut self) -> Bus {
        let wire = Wire {
            port: self.port.take().unwrap(),
            adapter: self.adapter.clone(),
        };
        Bus::new(Box::new(wire), BusConfig::default())
    }

    pub fn connect(&mut self) -> Result<FeetechArm, ArmError> {
        let bus = self.bus();
        FeetechArm::on_bus(bus, &self.calibration, FeetechConfig::default())
    }

    /// Every servo's control table.
    fn tables(&self) -> Vec<[u8; TABLE_END as usize]> {
        let chain = self.twin.chain();
        chain.servos().iter().map(|s| s.table()).collect()
    }

    /// The sentence with which connecting is refused; nothing was written to any servo.
    pub fn refusal(&mut self) -> String {
        let before = self.tables();
        let refusal = match self.connect() {
            Ok(_) => panic!("it connects"),
            Err(error) => error.to_string(),
        };
        let after = self.tables();
        // Measurements may differ, settings may not.
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before[..56], after[..56]);
        }
        assert!(self.torques().iter().all(|t| *t == Torque::Off));
        refusal
    }

    pub fn torques(&self) -> Vec<Torque> {
        self.twin
            .chain()
            .servos()
            .iter()
            .map(|s| s.torque())
            .collect()
    }

    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.twin.chain().faults);
    }
}

/// The guarded arm in its loop.
pub struct Bench {
    pub line: Line,
    pub control: Control,
    /// Whether goals come, and what they are: a slow wave of every joint.
    pub goals: Goals,
    /// All that was commanded.
    pub commands: Vec<Vec<f64>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Goals {
    Wave,
    Fixed(Vec<f64>),
    None,
}

impl Bench {
    /// Connected, limp.
    pub fn new() -> Self {
        Self::on(Line::new(), |_| {})
    }

    pub fn on(mut line: Line, change: impl FnOnce(&mut GuardConfig)) -> Self {
        let arm = line.connect().unwrap();
        let mut config = GuardConfig::so101();
        change(&mut config);
        let guard = Guard::with_chain(Box::new(arm), so101::chain(), config).unwrap();
        let control = Control::new(guard, Box::new(line.twin.clone()), PERIOD).unwrap();
        Self {
            line,
            control,
            goals: Goals::Wave,
            commands: Vec::new(),
        }
    }

    /// Following goals at full speed since a while.
    pub fn running() -> Self {
        Self::new().run()
    }

    pub fn run(mut self) -> Self {
        self.control.enable().unwrap();
        let state = |b: &Self| b.control.guard().state();
        for _ in 0..500 {
            self.tick();
            if state(&self) == GuardState::Running {
                break;
            }
        }
        assert_eq!(state(&self), GuardState::Running, "{:?}", self.reason());
        for _ in 0..50 {
            self.tick();
        }
        self
    }

    pub fn now(&self) -> Duration {
        self.line.twin.now()
    }

    pub fn tick(&mut self) -> Tick {
        let t = self.now().as_secs_f64();
        let goal = match &self.goals {
            Goals::Wave => {
                let wave = |i: usize| REST[i] + 0.15 * (1.5 * t + i as f64).sin();
                Some((0..6).map(wave).collect())
            }
            Goals::Fixed(goal) => Some(goal.clone()),
            Goals::None => None,
        };
        let tick = self.control.tick(goal.as_deref());
        if let Some(sent) = &tick.sent {
            self.commands.push(sent.clone());
        }
        tick
    }

    pub fn state(&self) -> GuardState {
        self.control.guard().state()
    }

    pub fn reason(&self) -> Option<Reason> {
        self.control.guard().reason().cloned()
    }

    /// Ticks on for so long, in which the guard must stay in this state.
    pub fn stays(&mut self, state: GuardState, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            self.tick();
            assert_eq!(self.state(), state, "{:?}", self.reason());
        }
    }

    /// How long it takes to get into this state.
    pub fn until(&mut self, state: GuardState, longest: Duration) -> Duration {
        let start = self.now();
        while self.state() != state {
            assert!(self.now() - start < longest, "still {:?}", self.state());
            self.tick();
        }
        self.now() - start
    }

    /// How long it takes until these servos have no torque.
    pub fn until_limp(&mut self, longest: Duration) -> Duration {
        let start = self.now();
        while self.line.torques().contains(&Torque::On) {
            assert!(self.now() - start < longest, "{:?}", self.line.torques());
            self.tick();
        }
        self.now() - start
    }

    /// What was read never differs from what is true by more than motion explains.
    pub fn truthful(&self) {
        let truth = self.line.world.arm_state().unwrap().positions;
        let read = &self.control.guard().measured().unwrap().positions;
        for (truth, read) in truth.iter().zip(read) {
            assert!((truth - read).abs() < 0.06, "{truth} {read}");
        }
    }

    /// No command was ever outside the range of its joint.
    pub fn within_limits(&self) {
        assert!(!self.commands.is_empty());
        for command in &self.commands {
            for (q, limit) in command.iter().zip(self.control.guard().limits()) {
                assert!(
                    (limit.min - 1e-9..=limit.max + 1e-9).contains(q),
                    "{q} {limit:?}"
                );
            }
        }
    }

    /// What is left in the end.
    pub fn row(&self, reaction: Option<Duration>) -> Seen {
        Seen {
            reaction: reaction.map_or("none needed".into(), ms),
            state: format!("{:?}", self.state()).to_lowercase(),
            torque: torque_text(&self.line.torques()),
        }
    }
}

/// How a fault ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Time from the fault to the guard's decision.
    pub reaction: String,
    /// The guard's state in the end.
    pub state: String,
    /// The servos' torque in the end.
    pub torque: String,
}

impl Seen {
    /// The arm was never energised.
    pub fn refused(line: &Line) -> Self {
        Self {
            reaction: "at connect".into(),
            state: "not connected".into(),
            torque: torque_text(&line.torques()),
        }
    }
}

pub fn ms(time: Duration) -> String {
    format!("{} ms", (time.as_secs_f64() * 1e3).round())
}

pub fn torque_text(torques: &[Torque]) -> String {
    let on = torques.iter().filter(|t| **t == Torque::On).count();
    match on {
        0 => "off".into(),
        6 => "on, holding".into(),
        n => format!("on in {n} of 6, holding"),
    }
}
