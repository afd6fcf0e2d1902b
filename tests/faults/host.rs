//! Faults 38 to 46: the computer, its programs and its people.

use std::time::Duration;

use rapport::robot::guard::{GuardState, Reason};
use rapport::robot::{Clock as _, Leader, Teleoperator as _, so101};
use rapport::sim::Torque;

use crate::bench::{Bench, Goals, Line, REST, Seen};

const SECOND: Duration = Duration::from_secs(1);

/// Numbers that are none, huge ones, and vectors of the wrong length. Three in a row are a fault; a single one changes nothing.
pub fn mad_policy() -> Seen {
    let mut taken = Duration::ZERO;
    let mut row = None;
    for bad in [
        vec![f64::NAN; 6],
        vec![f64::INFINITY; 6],
        vec![0.1; 5],
        vec![],
    ] {
        let mut bench = Bench::running();
        bench.goals = Goals::Fixed(bad.clone());
        bench.tick();
        bench.goals = Goals::Wave;
        bench.stays(GuardState::Running, SECOND);
        bench.goals = Goals::Fixed(bad);
        taken = bench.until(GuardState::Fault, SECOND);
        assert!(matches!(
            bench.reason(),
            Some(Reason::BadGoals { count: 3 })
        ));
        bench.stays(GuardState::Fault, SECOND);
        bench.within_limits();
        row = Some(bench);
    }
    // Finite nonsense is brought inside the limits, and a policy that shakes is slowed by them.
    let mut bench = Bench::running();
    for k in 0..200 {
        bench.goals = Goals::Fixed(vec![if k % 2 == 0 { 1e30 } else { -1e30 }; 6]);
        bench.tick();
    }
    bench.within_limits();
    assert!(bench.state().follows_goals());
    row.unwrap().row(Some(taken))
}

/// Without goals the arm brakes, and after half a second it must be armed again.
pub fn dead_policy() -> Seen {
    let mut bench = Bench::running();
    bench.goals = Goals::None;
    let taken = bench.until(GuardState::Hold, SECOND);
    assert!(matches!(bench.reason(), Some(Reason::Starved { .. })));
    bench.goals = Goals::Wave;
    bench.stays(GuardState::Hold, SECOND);
    bench.row(Some(taken))
}

/// A picture that is too old stops the policy before it thinks.
pub fn stale_camera() -> Seen {
    use rapport::robot::{
        ActionMapper, ActionSpace, Camera, CameraError, Frame, Rig, RigConfig, RigError,
    };
    /// Shows the same picture, with its true time, from some moment on.
    struct Frozen(rapport::sim::servo_bus::VirtualBus, Duration);
    impl Camera for Frozen {
        fn name(&self) -> &str {
            "front"
        }
        fn size(&self) -> (u32, u32) {
            (8, 8)
        }
        fn capture(&mut self) -> Result<Frame, CameraError> {
            Ok(Frame {
                stamp: self.0.now().min(self.1),
                image: image::RgbImage::new(8, 8),
                sequence: self.0.now().min(self.1).as_millis() as u64,
            })
        }
    }
    let bench = Bench::running();
    let frozen_at = bench.now() + SECOND;
    let camera = Frozen(bench.line.twin.clone(), frozen_at);
    let mapper = ActionMapper::new(ActionSpace::JointGoals, so101::spec(), so101::chain()).unwrap();
    let Bench { line, control, .. } = bench;
    let mut rig = Rig::new(control, mapper, RigConfig::default()).with_camera(Box::new(camera));
    let error = loop {
        rig.step_to(&REST, Duration::from_millis(20)).unwrap();
        if let Err(error) = rig.frames() {
            break error;
        }
        assert!(line.twin.now() < 20 * SECOND);
    };
    assert!(matches!(error, RigError::StaleFrame { .. }), "{error}");
    let taken = line.twin.now() - frozen_at;
    Seen {
        reaction: crate::bench::ms(taken),
        state: "no inference".into(),
        torque: crate::bench::torque_text(&line.torques()),
    }
}

/// A loop that is held up a little goes on at the next slot of its grid; one that keeps missing slots, or was away, holds.
pub fn overruns() -> Seen {
    let mut bench = Bench::running();
    let hog = |b: &mut Bench, time: Duration| {
        let mut clock = b.line.twin.clone();
        clock.sleep_until(clock.now() + time);
    };
    hog(&mut bench, Duration::from_millis(37));
    bench.stays(GuardState::Running, SECOND);
    let start = bench.now();
    while bench.state() == GuardState::Running {
        hog(&mut bench, Duration::from_millis(15));
        bench.tick();
        assert!(bench.now() - start < 5 * SECOND);
    }
    let taken = bench.now() - start;
    assert!(
        matches!(bench.reason(), Some(Reason::Overrun { .. })),
        "{:?}",
        bench.reason()
    );

    let mut bench = Bench::running();
    hog(&mut bench, 4 * SECOND);
    bench.tick();
    bench.tick();
    assert_eq!(bench.state(), GuardState::Hold);
    assert!(
        matches!(bench.reason(), Some(Reason::Away { .. })),
        "{:?}",
        bench.reason()
    );
    bench.row(Some(taken))
}

/// In any state: the last byte of a goal has gone before, torque goes off, and only an operator's word leaves the fault.
pub fn emergency_stop() -> Seen {
    let mut worst = Duration::ZERO;
    let mut row = None;
    for wanted in [
        GuardState::Limp,
        GuardState::Armed,
        GuardState::SoftStart,
        GuardState::Running,
        GuardState::Hold,
        GuardState::Fault,
    ] {
        let mut bench = Bench::new();
        match wanted {
            GuardState::Limp => {}
            GuardState::Armed => bench.control.enable().unwrap(),
            GuardState::SoftStart => {
                bench.control.enable().unwrap();
                bench.goals = Goals::Fixed(REST.map(|q| q + 0.5).to_vec());
                bench.tick();
                bench.tick();
            }
            _ => bench = bench.run(),
        }
        if wanted == GuardState::Hold {
            bench.control.hold();
        }
        if wanted == GuardState::Fault {
            bench.line.faults(|f| f.servo(2).slip = -700);
            bench.until(GuardState::Fault, 2 * SECOND);
        }
        assert_eq!(bench.state(), wanted);
        let start = bench.now();
        bench.control.emergency_stop().unwrap();
        worst = worst.max(bench.now() - start);
        assert!(
            bench.line.torques().iter().all(|t| *t == Torque::Off),
            "{wanted:?}"
        );
        bench.line.adapter.lock().unwrap().sent.clear();
        bench.stays(GuardState::Fault, SECOND);
        let sent = bench.line.adapter.lock().unwrap().sent.clone();
        let goals = sent
            .windows(7)
            .filter(|w| w[..2] == [0xFF; 2] && matches!(w[4], 3 | 0x83) && w[5] == 42);
        assert_eq!(goals.count(), 0, "{wanted:?}");
        row = Some(bench);
    }
    assert!(worst <= Duration::from_millis(20), "{worst:?}");
    row.unwrap().row(Some(worst))
}

/// A leader that is gone, or jumps: the follower brakes and holds, or follows within its limits.
pub fn leader_lost() -> Seen {
    let mut bench = Bench::running();
    let mut theirs = Line::new();
    let adapter = theirs.adapter.clone();
    let leader = theirs.connect().unwrap();
    let mut leader = Leader::new(Box::new(leader), so101::spec()).unwrap();
    let mut follow = |bench: &mut Bench| {
        let state = bench.control.guard().measured().unwrap().clone();
        bench.goals = match leader.next_goal(&state) {
            Ok((goal, _)) => Goals::Fixed(goal),
            Err(_) => Goals::None,
        };
        bench.tick();
    };
    for _ in 0..100 {
        follow(&mut bench);
    }
    assert_eq!(bench.state(), GuardState::Running);
    // Somebody throws it about.
    theirs.faults(|f| f.servo(0).slip = 300);
    for _ in 0..100 {
        follow(&mut bench);
    }
    bench.within_limits();
    adapter.lock().unwrap().unplugged = true;
    let start = bench.now();
    while bench.state() != GuardState::Hold {
        follow(&mut bench);
        assert!(bench.now() - start < SECOND, "{:?}", bench.state());
    }
    let taken = bench.now() - start;
    adapter.lock().unwrap().unplugged = false;
    for _ in 0..50 {
        follow(&mut bench);
    }
    assert_eq!(bench.state(), GuardState::Hold, "only arming again goes on");
    bench.row(Some(taken))
}
