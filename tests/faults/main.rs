//! Every fault of an arm that we know of, made on the twin: what the runtime does about it, and what the servos are left with.
//!
//! Time is virtual and the joints are MuJoCo's, so every number is exact and repeats. What needs processes and signals is in
//! `tests/robot.rs`, what needs a disk in `dataset/tests/kill.rs`, `dataset/tests/disk_full.rs`; the table in `docs/faults.md` names them all.
//!
//! `RAPPORT_BLESS=1 cargo nextest run --test faults table` writes the table anew.

mod bench;
mod host;
mod identity;
mod servos;
mod wire;

use bench::Seen;

/// A fault of the table.
struct Fault {
    number: u32,
    fault: &'static str,
    behaviour: &'static str,
    run: fn() -> Seen,
}

macro_rules! faults {
    ($($number:literal $name:ident $module:ident::$run:ident $fault:literal => $behaviour:literal;)*) => {
        const FAULTS: &[Fault] = &[$(Fault { number: $number, fault: $fault, behaviour: $behaviour, run: $module::$run }),*];
        $(
            #[test]
            fn $name() {
                $module::$run();
            }
        )*
    };
}

faults! {
    1 fault_01_dropped_bytes wire::dropped_bytes "bytes of a reply are lost" => "the frame is rejected, that servo asked again in the same cycle";
    2 fault_02_flipped_bits wire::flipped_bits "bits are flipped" => "rejected by the checksum; when nothing gets through for 0.1 s the arm brakes and holds";
    3 fault_03_forged_values wire::forged_values "wrong value, right checksum" => "asked again when it cannot follow from the last one; when it stays so, a fault";
    4 fault_04_noise wire::noise_between_frames "noise between frames, runs of FF" => "skipped";
    5 fault_05_short_replies wire::short_replies "short reply, right checksum" => "an error, never a value";
    6 fault_06_wrong_lengths wire::wrong_lengths "wrong length, 0, 1, 255" => "rejected without waiting past the deadline";
    7 fault_07_foreign_ids wire::foreign_ids "reply of a servo that was not asked" => "counted, never taken for another's";
    8 fault_08_late_reply wire::late_reply "a reply 65 ms late" => "thrown away; 0 of 300 later readings are old";
    9 fault_09_duplicates wire::duplicates "a reply twice" => "one counts";
    10 fault_10_dribbling_bytes wire::dribbling_bytes "a byte every 8 ms" => "each transaction ends at its deadline; the arm brakes and holds";
    11 fault_11_latency wire::latency "latency of 4, then 500 ms" => "the first is nothing, the second holds";
    12 fault_12_echo wire::echo "adapter repeats what it is sent" => "noticed at connect and stripped";
    13 fault_13_blocked_writes wire::blocked_writes "adapter takes half a frame" => "the rest is never sent as a new frame; three in a row are a fault";
    14 fault_14_cable_out wire::cable_out "cable pulled in motion" => "a fault that says to cut the power; no byte more, plugged in or not";
    15 fault_15_wrong_ports wire::wrong_ports "no port, no serial port, port in use" => "one sentence each, no byte sent";
    16 fault_16_wrong_speed wire::wrong_speed "one servo, or all, at another bus speed" => "named at connect; a scan finds them; nothing written";
    17 fault_17_silent_servo identity::silent_servo "a servo dead from the start, or dying" => "named; the others stay measured; stopping reaches the other five";
    18 fault_18_duplicate_id identity::duplicate_id "two servos with one id" => "refused at connect";
    19 fault_19_wrong_model identity::wrong_model "another model, mixed firmware" => "refused at connect";
    20 fault_20_wrong_mode identity::wrong_mode "velocity, PWM or step mode" => "refused at connect";
    21 fault_21_wrong_limits identity::wrong_limits "limits zero, crossed, not the file's" => "refused at connect";
    22 fault_22_wrong_direction identity::wrong_direction "offset not the file's; motor the wrong way round" => "refused at connect; a joint that runs away from its command loses torque";
    23 fault_23_open_lock identity::open_lock "settings left unlocked, or not stored" => "locked when energised; stored settings are read back";
    24 fault_24_recentring identity::recentring "recalibration or reset by a write" => "cannot be said in the driver's types";
    25 fault_25_no_acknowledgements identity::no_acknowledgements "servos that acknowledge nothing" => "writes are read back";
    26 fault_26_over_temperature servos::over_temperature "57, 63, 71 degrees Celsius" => "counted; hold; torque off on every servo";
    27 fault_27_brown_out servos::brown_out "supply sags; a servo without power for a moment" => "hold after 0.5 s; a fault, no goal to anybody any more";
    28 fault_28_overload servos::overload "a servo pushes and gives way after 2 s" => "hold before it does";
    29 fault_29_over_current servos::over_current "a servo cuts its torque" => "a fault, and no goal that would switch it on again; a cut-out in the moment of a goal is hidden by it";
    30 fault_30_stuck_joint servos::stuck_joint "a joint is stuck" => "hold; the command stays near it, nothing springs when it comes free";
    31 fault_31_encoder_fault servos::encoder_fault "encoder frozen; its fault bit" => "hold; a fault at once";
    32 fault_32_wrapped_encoder servos::wrapped_encoder "position outside the range" => "not energised; in motion, hold";
    33 fault_33_position_jump servos::position_jump "a horn slips by 60 degrees" => "a fault";
    34 fault_34_goal_after_stop servos::goal_after_stop "a stale goal in the servo; a goal after the stop" => "the goal is set to where the arm is before torque; none leaves after a stop";
    35 fault_35_lost_goals servos::lost_goals "a servo misses its goals" => "read back and sent again; after three looks, hold";
    36 fault_36_clamped_goals servos::clamped_goals "a goal beyond the servo's limits" => "cannot be: ours are inside";
    37 fault_37_gravity servos::gravity "gravity when torque goes" => "torque is taken back over 2 s; the tool sinks at less than 0.2 m/s";
    38 fault_38_mad_policy host::mad_policy "NaN, infinity, wrong length, 1e30" => "rejected, the third in a row is a fault; 1e30 ends at the limits";
    39 fault_39_dead_policy host::dead_policy "a policy that says nothing" => "brakes after 0.15 s, hold after 0.5 s";
    40 fault_40_stale_camera host::stale_camera "camera stuck" => "no action is asked for";
    41 fault_41_overruns host::overruns "a busy or sleeping computer" => "on at the next slot; a quarter of two seconds missed, or half a second away, hold";
    45 fault_45_emergency_stop host::emergency_stop "emergency stop in every state" => "torque off at once, no goal after it, latched";
    46 fault_46_leader_lost host::leader_lost "leader arm jumps, or is pulled out" => "followed within the limits; hold";
}

/// Rows that other tests fill: number, fault, behaviour, what is seen, where.
const ELSEWHERE: &[(u32, &str, &str, &str)] = &[
    (
        42,
        "SIGINT, SIGTERM, SIGHUP, twice; SIGKILL, abort, panic; SIGSTOP",
        "the stop order; the guardian cuts torque; the guardian cuts it after 1 s, and waking up does not switch it on",
        "`tests/robot.rs`, torque off",
    ),
    (
        43,
        "disk full, killed while recording",
        "control goes on; every complete episode loads",
        "`dataset/tests/kill.rs`, `dataset/tests/disk_full.rs`",
    ),
    (
        44,
        "a second program on the port",
        "refused, also as root",
        "`tests/faults/wire.rs` (15), `sim/src/servo_bus/driver_tests.rs`",
    ),
];

const BEGIN: &str = "<!-- table of tests/faults, begin -->\n";
const END: &str = "<!-- table of tests/faults, end -->\n";

#[test]
fn the_table_in_the_docs_is_what_is_seen() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (found, tail) = rest.split_once(END).unwrap();
    let mut rows: Vec<(u32, String)> = FAULTS
        .iter()
        .map(|f| {
            let seen = (f.run)();
            let row = format!(
                "| {} | {} | {} | {} | {} | {} |\n",
                f.number, f.fault, f.behaviour, seen.reaction, seen.state, seen.torque
            );
            (f.number, row)
        })
        .collect();
    rows.extend(ELSEWHERE.iter().map(|(number, fault, behaviour, whence)| {
        (
            *number,
            format!("| {number} | {fault} | {behaviour} | {whence} | | |\n"),
        )
    }));
    rows.sort();
    assert_eq!(
        rows.iter().map(|r| r.0).collect::<Vec<_>>(),
        (1..=46).collect::<Vec<_>>()
    );
    let mut table = String::from(
        "| | fault | what happens | reaction | state in the end | torque in the end |\n|---|---|---|---|---|---|\n",
    );
    table.extend(rows.into_iter().map(|r| r.1));
    if std::env::var_os("RAPPORT_BLESS").is_some() {
        std::fs::write(path, format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(found.lines().count(), table.lines().count());
    for (found, seen) in found.lines().zip(table.lines()) {
        assert!(
            is_same(found, seen),
            "{found}\n{seen}\nRAPPORT_BLESS=1 writes it anew"
        );
    }
}

/// The same words; times may differ by a tick or two, as another processor rounds differently.
fn is_same(a: &str, b: &str) -> bool {
    let time = |cell: &str| cell.trim().strip_suffix(" ms")?.parse::<f64>().ok();
    let (a, b): (Vec<_>, Vec<_>) = (a.split('|').collect(), b.split('|').collect());
    a.len() == b.len()
        && a.iter().zip(&b).all(|(a, b)| match (time(a), time(b)) {
            (Some(a), Some(b)) => (a - b).abs() <= 20.0 + 0.1 * a.max(b),
            _ => a == b,
        })
}
