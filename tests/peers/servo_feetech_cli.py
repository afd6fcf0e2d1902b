"""The simulated servo bus of `feetech-cli` on a pseudo-terminal, for our driver: prints the port, serves until its input ends.

    python servo_feetech_cli.py
"""

import os
import pty
import select
import sys
import tty

from feetech_cli.simulator import SimulatedBus, SimulatedServo


def main():
    master, slave = pty.openpty()
    tty.setraw(master)
    bus = SimulatedBus([SimulatedServo(n) for n in range(1, 7)])
    print(os.ttyname(slave), flush=True)
    waiting = bytearray()
    while True:
        ready, _, _ = select.select([master, sys.stdin], [], [])
        if sys.stdin in ready:
            break
        waiting += os.read(master, 1024)
        # Whole frames only: FF FF id length ...
        while len(waiting) >= 4 and len(waiting) >= waiting[3] + 4:
            frame = bytes(waiting[: waiting[3] + 4])
            del waiting[: len(frame)]
            bus.write(frame)
            answer = bus.read(4096)
            if answer:
                os.write(master, answer)
    for servo in bus.servos:
        print(servo.servo_id, servo.get("torque_enable"), servo.get("present_position"), len(servo.rejected_writes), flush=True)


main()
