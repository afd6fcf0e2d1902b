"""LeRobot's servo bus class on the twin, in the three situations that it does not come through.

    python servo_lerobot.py PORT CALIBRATION.json

The twin's owner sits at the other end of standard input and output: a line `set N` makes the first servo's encoder say N, `late` makes the next
answer come 57 ms late, `silent N` takes servo N off the bus; each is answered with `ok`. Prints what was seen as JSON, last.

LeRobot's own `utils` imports torch for what is not used here, so a stand-in with its two functions comes first.
"""

import json
import sys
import time
import types

utilities = types.ModuleType("lerobot.utils.utils")
utilities.enter_pressed = lambda: False
utilities.move_cursor_up = lambda lines: None
sys.modules["lerobot.utils.utils"] = utilities

from lerobot.motors import Motor, MotorCalibration, MotorNormMode  # noqa: E402
from lerobot.motors.feetech import FeetechMotorsBus  # noqa: E402


def ask(line):
    print(line, flush=True)
    answer = sys.stdin.readline().strip()
    assert answer == "ok", answer


def main():
    port, file = sys.argv[1:]
    stored = json.load(open(file))
    motors = {name: Motor(entry["id"], "sts3215", MotorNormMode.DEGREES) for name, entry in stored.items()}
    calibration = {name: MotorCalibration(**entry) for name, entry in stored.items()}
    bus = FeetechMotorsBus(port, motors, calibration)
    bus.connect()
    first = next(iter(motors))
    seen = {}

    # One reply after its timeout. A reading is stale when it is not what the encoder says at the moment.
    stale, failed = 0, 0
    for k in range(300):
        # A hundred readings a second.
        time.sleep(0.01)
        ask(f"set {1500 + k}")
        if k == 5:
            ask("late")
        try:
            stale += bus.sync_read("Present_Position", normalize=False, num_retry=2)[first] != 1500 + k
        except ConnectionError:
            failed += 1
    seen["stale"], seen["failed"] = stale, failed
    ask("set -1")
    bus.port_handler.ser.reset_input_buffer()
    for _ in range(3):
        bus.sync_read("Present_Position", normalize=False, num_retry=2)

    # A goal beyond the range, and one that is none.
    bus.sync_write("Goal_Position", {first: 250.0})
    ask("goal")
    try:
        bus.sync_write("Goal_Position", {first: float("nan")})
        seen["nan"] = "sent"
    except Exception as error:
        seen["nan"] = f"{type(error).__name__}: {error}"

    # One servo unplugged when everything is to be switched off.
    bus.enable_torque()
    ask("silent 3")
    try:
        bus.disconnect()
        seen["disconnect"] = "no error"
    except Exception as error:
        seen["disconnect"] = type(error).__name__
    ask("torque")
    print(json.dumps(seen), flush=True)


main()
