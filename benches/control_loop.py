"""The control loop on a twin of six servos, 100 Hz, two cameras recording, a busy processor: ours with and without real-time scheduling, and LeRobot's bus class in
its own loop.

    cargo build --workspace --bins
    python3 benches/control_loop.py [--seconds 60] [--load 2] [--python PYTHON]

Ours is `rapport bench control` on a twin in another process (`rapport twin`). LeRobot's is its bus class (`sync_read`, `sync_write`) in the loop of its
`record`: read, write, then wait for the rest of the period, sleeping and at last spinning. Its cameras and its dataset are left out, which is to
its advantage. PYTHON has what `tests/peers/requirements*.txt` say; the default is where `./x test` puts it. The figures are distances of two readings from 10 ms.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RAPPORT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/rapport"
PERIOD = 0.01


def theirs(port, file, seconds):
    utilities = types.ModuleType("lerobot.utils.utils")
    utilities.enter_pressed = lambda: False
    utilities.move_cursor_up = lambda lines: None
    sys.modules["lerobot.utils.utils"] = utilities
    from lerobot.motors import Motor, MotorCalibration, MotorNormMode
    from lerobot.motors.feetech import FeetechMotorsBus

    stored = json.loads(Path(file).read_text())
    motors = {name: Motor(entry["id"], "sts3215", MotorNormMode.DEGREES) for name, entry in stored.items()}
    bus = FeetechMotorsBus(port, motors, {name: MotorCalibration(**entry) for name, entry in stored.items()})
    bus.connect()
    bus.enable_torque()
    goal = bus.sync_read("Present_Position", num_retry=2)
    times, failed = [], 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        try:
            bus.sync_read("Present_Position", num_retry=2)
        except ConnectionError:
            failed += 1
        bus.sync_write("Goal_Position", goal)
        times.append(start)
        # As its `busy_wait` does on Linux: sleep.
        left = PERIOD - (time.perf_counter() - start)
        if left > 0:
            time.sleep(left)
    bus.disconnect()
    off = sorted(abs(b - a - PERIOD) * 1e6 for a, b in zip(times, times[1:]))
    at = lambda share: off[int(share * (len(off) - 1))]
    print(json.dumps({"ticks": len(times), "interval_p50_us": at(0.5), "interval_p99_us": at(0.99), "interval_max_us": at(1.0), "missed_reads": failed}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--load", type=int, default=2, help="processes that want the processor for nothing")
    parser.add_argument("--python", default=str(Path.home() / ".local/share/rapport/peers/bin/python"))
    parser.add_argument("--theirs", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.theirs:
        return theirs(*args.theirs, args.seconds)
    with tempfile.TemporaryDirectory() as folder:
        port, file = f"{folder}/so101", f"{folder}/so101.json"
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.load)]
        try:
            print(f"{args.seconds:.0f} s each, {args.load} busy processes on {os.cpu_count()} processors")
            print("| | ticks | p50, ms | p99, ms | max, ms | readings missed | rows recorded | memory, MiB |\n|---|---|---|---|---|---|---|---|")
            ours = [RAPPORT, "bench", "control", "--robot", f"so101:{port}", "--calibration", file, "--json", "--seconds", str(args.seconds)]
            for name, command in {
                "ours, real-time": ours,
                "ours, ordinary": [*ours, "--ordinary"],
                "LeRobot's bus and loop": [args.python, __file__, "--theirs", port, file, "--seconds", str(args.seconds)],
            }.items():
                twin = subprocess.Popen([RAPPORT, "twin", "--quiet", "--link", port, "--calibration", file], stdout=subprocess.DEVNULL)
                while not (os.path.exists(port) and os.path.exists(file)):
                    time.sleep(0.05)
                time.sleep(1)
                done = subprocess.run(command, capture_output=True, text=True)
                twin.send_signal(2)
                twin.wait()
                if done.returncode:
                    print(f"| {name} | ended: {done.stderr.strip().splitlines()[-1]} |")
                    continue
                seen = json.loads(done.stdout)
                ms = [f"{seen[key] / 1e3:.2f}" for key in ("interval_p50_us", "interval_p99_us", "interval_max_us")]
                rows = f"{seen['rows']} of {seen['rows_due']}" if "rows" in seen else ""
                memory = "{:.0f}, then {:.0f}".format(*seen["memory_mib"]) if "memory_mib" in seen else ""
                print(f"| {name} | {seen['ticks']} | {' | '.join(ms)} | {seen['missed_reads']} | {rows} | {memory} |", flush=True)
        finally:
            for process in busy:
                process.kill()


if __name__ == "__main__":
    main()
