"""Gradient steps a second of SAC and TD3: ours, Stable-Baselines3's and CleanRL's, on the same processor, turn about.

  cargo build --workspace --example floor
  python3 benches/policies.py [--rounds 3] [--seconds 4] [--threads 1] [--cleanrl DIR --cleanrl-python PYTHON]

Ours is `policy/examples/floor.rs` in the profile it was built with, on as many threads; the same bits on one and on two. Stable-Baselines3 is
`model.train()` on a full replay buffer of random steps. CleanRL (a checkout of github.com/vwxyzjn/cleanrl in DIR; it needs a Python with
gymnasium 0.29) has no such call: its script runs on Pendulum-v1 twice, with and without N steps of learning, and the difference is divided; a
step of the environment is in it, a fiftieth or so. Two hidden layers of 256, batch 256, and of 64, batch 64; float32, Adam for all. Medians of the rounds.
Versions: stable-baselines3 2.9, torch 2.15.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = {"Pendulum-v1": (3, 1), "so101-reach": (12, 3), "HalfCheetah-v5": (17, 6)}


def ours(case, width, seconds, threads):
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    example = target / "debug/examples/floor"
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    said = subprocess.run([example, str(seconds), str(width), case], check=True, capture_output=True, text=True, env=environment).stdout
    rows = [line.split() for line in said.splitlines()[1:]]
    return {row[2]: (float(row[6]), row[8]) for row in rows}


def stable_baselines(algorithm, case, width, seconds, threads):
    import gymnasium
    import numpy as np
    import stable_baselines3
    import torch

    torch.set_num_threads(threads)
    o, a = CASES[case]

    class Still(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (o,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (a,), np.float32)

        def reset(self, *, seed=None, options=None):
            return np.zeros(o, np.float32), {}

        def step(self, action):
            return np.zeros(o, np.float32), 0.0, False, False, {}

    model = getattr(stable_baselines3, algorithm.upper())("MlpPolicy", Still(), device="cpu", policy_kwargs={"net_arch": [width, width]}, batch_size=width, buffer_size=5000)
    rng = np.random.default_rng(0)
    for _ in range(5000):
        row = lambda n: rng.uniform(-1, 1, (1, n)).astype(np.float32)
        model.replay_buffer.add(row(o), row(o), row(a), row(1)[0], np.zeros(1), [{}])
    from stable_baselines3.common.logger import configure

    model.set_logger(configure(None, []))
    model.train(gradient_steps=20, batch_size=width)
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        model.train(gradient_steps=20, batch_size=width)
        done += 20
    return done / (time.perf_counter() - begin)


def clean_rl(algorithm, directory, python, steps, threads):
    script = Path(directory) / f"cleanrl/{algorithm}_continuous_action.py"
    environment = {**os.environ, "PYTHONPATH": str(directory), "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}

    def run(total):
        words = ["--env-id", "Pendulum-v1", "--learning-starts", "500", "--total-timesteps", str(total), "--no-cuda", "--buffer-size", "10000"]
        begin = time.perf_counter()
        subprocess.run([python, script, *words], check=True, env=environment, cwd="/tmp", capture_output=True)
        return time.perf_counter() - begin

    return steps / (run(500 + steps) - run(500))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of both")
    parser.add_argument("--cleanrl")
    parser.add_argument("--cleanrl-python", default=sys.executable)
    parser.add_argument("--torch-side", nargs=3, metavar=("ALGORITHM", "CASE", "WIDTH"))
    args = parser.parse_args()
    if args.torch_side:
        algorithm, case, width = args.torch_side
        print(stable_baselines(algorithm, case, int(width), args.seconds, args.threads))
        return
    found = {}
    rows = [(case, width) for width in (256, 64) for case in CASES]
    for _ in range(args.rounds):
        for case, width in rows:
            for algorithm, (rate, share) in ours(case, width, args.seconds, args.threads).items():
                found.setdefault((case, width, algorithm, "ours"), []).append(rate)
                found.setdefault((case, width, algorithm, "share"), []).append(float(share.rstrip("%")))
            for algorithm in ("sac", "td3"):
                words = [sys.executable, __file__, "--torch-side", algorithm, case, str(width), "--seconds", str(args.seconds), "--threads", str(args.threads)]
                said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
                found.setdefault((case, width, algorithm, "sb3"), []).append(float(said.split()[-1]))
        if args.cleanrl:
            for algorithm in ("sac", "td3"):
                rate = clean_rl(algorithm, args.cleanrl, args.cleanrl_python, 600, args.threads)
                found.setdefault(("Pendulum-v1", 256, algorithm, "cleanrl"), []).append(rate)
    middle = {key: statistics.median(values) for key, values in found.items()}
    print("| networks of | width, batch | | ours, updates/s | of the floor | SB3 | ratio | CleanRL | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case, width in rows:
        for algorithm in ("sac", "td3"):
            own, theirs = (middle[case, width, algorithm, who] for who in ("ours", "sb3"))
            clean = middle.get((case, width, algorithm, "cleanrl"))
            last = f"{clean:.0f} | {own / clean:.1f}" if clean else "| "
            share = middle[case, width, algorithm, "share"]
            print(f"| {case} | {width} | {algorithm} | {own:.0f} | {share:.0f} % | {theirs:.0f} | {own / theirs:.1f} | {last} |")
    print(json.dumps({" ".join(map(str, key)): values for key, values in found.items()}))


if __name__ == "__main__":
    main()
