"""Drives the servo-bus twin with the manufacturer's own client (PyPI `feetech-servo-sdk`), the one that LeRobot uses.

    python servo_feetech_sdk.py PORT

Pings, reads single registers, reads and writes all six servos at once, moves them and switches them off. Exits with 1 at the
first thing that is not as it should be.
"""

import sys
import time

import scservo_sdk as sdk

IDS = [1, 2, 3, 4, 5, 6]
STS3215 = 777
BAUD = 1_000_000

MODEL, MIN_POSITION, MAX_POSITION, TORQUE, GOAL, LOCK = 3, 9, 11, 40, 42, 55
POSITION, VOLTAGE, TEMPERATURE = 56, 62, 63


class Mismatch(Exception):
    """The twin did not do what a servo does."""


def expect(condition, sentence):
    if not condition:
        raise Mismatch(sentence)


class Client:
    def __init__(self, path):
        self.port = sdk.PortHandler(path)
        expect(self.port.openPort(), f"{path} does not open")
        expect(self.port.setBaudRate(BAUD), f"{path} does not do {BAUD} baud")
        self.packet = sdk.PacketHandler(0)

    def checked(self, what, result, error):
        expect(
            result == sdk.COMM_SUCCESS,
            f"{what}: {self.packet.getTxRxResult(result)}",
        )
        expect(error == 0, f"{what}: alarm {error:#04x}")

    def ping(self, servo):
        model, result, error = self.packet.ping(self.port, servo)
        self.checked(f"ping {servo}", result, error)
        return model

    def read(self, servo, address, size):
        call = self.packet.read1ByteTxRx if size == 1 else self.packet.read2ByteTxRx
        value, result, error = call(self.port, servo, address)
        self.checked(f"read {address} of {servo}", result, error)
        return value

    def write(self, servo, address, size, value):
        call = self.packet.write1ByteTxRx if size == 1 else self.packet.write2ByteTxRx
        result, error = call(self.port, servo, address, value)
        self.checked(f"write {address} of {servo}", result, error)

    def positions(self):
        group = sdk.GroupSyncRead(self.port, self.packet, POSITION, 2)
        for servo in IDS:
            expect(group.addParam(servo), f"sync read does not take {servo}")
        # The client waits 34 ms; a busy machine may wake the twin later than that. As LeRobot does, ask again.
        for _ in range(5):
            result = group.txRxPacket()
            if result != sdk.COMM_RX_TIMEOUT:
                break
            time.sleep(0.1)
            self.port.clearPort()
            self.port.ser.reset_input_buffer()
        expect(result == sdk.COMM_SUCCESS, f"sync read: {self.packet.getTxRxResult(result)}")
        for servo in IDS:
            expect(group.isAvailable(servo, POSITION, 2), f"sync read: nothing from {servo}")
        return [group.getData(servo, POSITION, 2) for servo in IDS]

    def goals(self, ticks):
        group = sdk.GroupSyncWrite(self.port, self.packet, GOAL, 2)
        for servo, tick in zip(IDS, ticks):
            expect(group.addParam(servo, list(tick.to_bytes(2, "little"))), "sync write is full")
        result = group.txPacket()
        expect(result == sdk.COMM_SUCCESS, f"sync write: {self.packet.getTxRxResult(result)}")


def check(path):
    client = Client(path)
    for servo in IDS:
        expect(client.ping(servo) == STS3215, f"servo {servo} is no STS3215")
    _, result, _ = client.packet.ping(client.port, 7)
    expect(result != sdk.COMM_SUCCESS, "servo 7 should not exist")

    single = [client.read(servo, POSITION, 2) for servo in IDS]
    together = client.positions()
    for servo, one, all_ in zip(IDS, single, together):
        low, high = client.read(servo, MIN_POSITION, 2), client.read(servo, MAX_POSITION, 2)
        expect(low < high, f"servo {servo}: limits {low}..{high}")
        expect(low - 30 <= one <= high + 30, f"servo {servo}: {one} is outside {low}..{high}")
        expect(abs(one - all_) < 60, f"servo {servo}: {one} alone, {all_} in a sync read")
        expect(60 <= client.read(servo, VOLTAGE, 1) <= 90, f"servo {servo}: voltage")
        expect(15 <= client.read(servo, TEMPERATURE, 1) <= 60, f"servo {servo}: temperature")

    # Enable where it stands, then move.
    client.goals(together)
    for servo in IDS:
        expect(client.read(servo, TORQUE, 1) == 1, f"servo {servo}: a goal switches torque on")
    middle = [2048, 1900, 2100, 2400, 2148, 2048]
    client.goals(middle)
    deadline = time.monotonic() + 15
    while True:
        at = client.positions()
        off = max(abs(a - b) for a, b in zip(at, middle))
        if off < 50:
            break
        expect(time.monotonic() < deadline, f"after 15 s at {at} instead of {middle}")
        time.sleep(0.02)

    # Limits hold, and the register keeps what was written.
    high = client.read(6, MAX_POSITION, 2)
    client.write(6, GOAL, 2, 4000)
    time.sleep(1.5)
    reached = client.read(6, POSITION, 2)
    expect(abs(reached - high) < 50, f"the gripper is at {reached}, its limit is {high}")
    expect(client.read(6, GOAL, 2) == 4000, "the goal register keeps the unlimited goal")

    # Off, and read back.
    for servo in IDS:
        client.write(servo, TORQUE, 1, 0)
        client.write(servo, LOCK, 1, 0)
        expect(client.read(servo, TORQUE, 1) == 0, f"servo {servo}: torque is still on")
        client.write(servo, LOCK, 1, 1)

    started = time.monotonic()
    rounds = 200
    for _ in range(rounds):
        client.positions()
    took = (time.monotonic() - started) / rounds
    client.port.closePort()
    return f"six servos answered {path} correctly, {took * 1e3:.2f} ms for a sync read of six"


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(check(sys.argv[1]))
    except (Mismatch, OSError) as mismatch:
        print(mismatch, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
