"""Drives the servo-bus twin with Feetech's present client (PyPI `ftservo-python-sdk`): pings, single and grouped reads and writes.

    PYTHONPATH=.../ftservo python servo_ftservo_sdk.py PORT
"""

import sys
import time

import scservo_sdk as sdk

IDS = [1, 2, 3, 4, 5, 6]
TORQUE, GOAL, POSITION, VOLTAGE = 40, 42, 56, 62


def tries(what, call):
    """The client waits some 20 ms for a reply; a busy machine may wake the twin later than that."""
    for _ in range(6):
        value, result, error = call()
        if result == sdk.COMM_SUCCESS:
            assert error == 0, f"{what}: alarm {error}"
            return value
        time.sleep(0.1)
    raise SystemExit(f"{what}: {result}")


def main():
    port = sdk.PortHandler(sys.argv[1])
    assert port.openPort() and port.setBaudRate(1_000_000)
    servo = sdk.sms_sts(port)
    for n in IDS:
        assert tries(f"ping {n}", lambda: servo.ping(n)) == 777
        assert 60 <= tries(f"voltage of {n}", lambda: servo.read1ByteTxRx(n, VOLTAGE)) <= 90

    def positions():
        group = sdk.GroupSyncRead(servo, POSITION, 2)
        assert all(group.addParam(n) for n in IDS)
        tries("sync read", lambda: (None, group.txRxPacket(), 0))
        assert all(group.isAvailable(n, POSITION, 2)[0] for n in IDS)
        return [group.getData(n, POSITION, 2) for n in IDS]

    start = positions()
    goals = [start[0] + 60, *start[1:]]
    for n, goal in zip(IDS, goals):
        assert servo.SyncWritePosEx(n, goal, 400, 50)
    assert servo.groupSyncWrite.txPacket() == sdk.COMM_SUCCESS
    servo.groupSyncWrite.clearParam()
    time.sleep(1.0)
    assert abs(positions()[0] - goals[0]) < 25, (start, positions())
    for n in IDS:
        tries(f"torque of {n}", lambda: (None, *servo.write1ByteTxRx(n, TORQUE, 0)))
        assert tries(f"torque of {n}", lambda: servo.read1ByteTxRx(n, TORQUE)) == 0
    port.closePort()
    print("ftservo-python-sdk drove the twin")


main()
