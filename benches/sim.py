"""Sets Rapport's environment steps a second beside those of other people's simulators and prints a Markdown table.

usage: sim.py RAPPORT SECONDS PYTHON=NAME,NAME... [...]

Each PYTHON is an interpreter that has the packages of the peers named after it (two are needed, since they want different versions of
MuJoCo). Everything is measured one after the other in one run; `sim_peers.py` says what `default` and `tuned` are.
"""

import json
import pathlib
import subprocess
import sys

PEERS = pathlib.Path(__file__).with_name("sim_peers.py")
# Ours, and whose task, robot and kind of model it stands beside.
OURS = {
    "Pendulum-v1": ["Pendulum-v1"],
    "Reacher-v5": ["Reacher-v5", "reacher-easy"],
    "HalfCheetah-v5": ["HalfCheetah-v5", "cheetah-run"],
    "Humanoid-v5": ["Humanoid-v5", "humanoid-walk"],
    "so101-push": [],
    "so101-published": ["PickCube"],
    "panda": ["PandaPickCube"],
    "aloha": ["TransferCube"],
}


def lines(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main():
    rapport, seconds, groups = sys.argv[1], sys.argv[2], sys.argv[3:]
    command = [rapport, "bench", "sim", "--json", "--seconds", seconds]
    for name in OURS:
        command += ["--env", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    ours = {(f["env"], f["size"], f["threads"]): f["steps_per_s"] for f in json.loads(done.stdout)}
    peers = []
    for group in groups:
        python, names = group.split("=", 1)
        for setting in ("default", "tuned"):
            peers += lines([python, str(PEERS), setting, seconds, *names.split(",")])
    for peer in peers:
        if "error" in peer:
            print(f"{peer['peer']} ({peer['setting']}) did not run here: {peer['error']}", file=sys.stderr)
    print("| environment | pictures | Rapport, 1 thread | 2 threads | ratio | peer | as it comes | tuned | ours / theirs | ours / tuned |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, theirs in OURS.items():
        for size in (0, 64, 128, 224):
            one, two = ours.get((name, size, 1)), ours.get((name, size, 2))
            if one is None:
                continue
            left = f"| {name} | {f'{size} px' if size else 'none'} | {one:,.0f} | {two:,.0f} | {two / one:.2f} |"
            found = {}
            for peer in peers:
                if peer.get("env") in theirs and peer["size"] == size:
                    found.setdefault(f"{peer['peer']} {peer['env']}", {})[peer["setting"]] = peer["per_s"]
            for who, rates in found.items():
                base = two if "2 threads" in who else one
                default, tuned = rates.get("default"), rates.get("tuned") if size else None
                show = lambda rate: "" if rate is None else f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
                ratio = lambda rate: "" if rate is None else f"{base / rate:.1f}"
                print(f"{left} {who} | {show(default)} | {show(tuned)} | {ratio(default)} | {ratio(tuned)} |")
                left = "| | | | | |"
            if not found:
                print(f"{left} | | | | |")


main()
