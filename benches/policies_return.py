"""Seconds to a stated return, and returns at equal steps: ours against Stable-Baselines3, same algorithm, same networks, same batch.

  cargo build --workspace --bins
  python3 benches/policies_return.py [--env Pendulum-v1] [--algorithm sac] [--seeds 3] [--steps 6000] [--threads 1] [--width 256]

One run after the other, ours and theirs by turns: two hidden layers of 256 and batches of 256, or of --width, learning rate 3e-4 (Pendulum 1e-3, as in the RL Zoo),
discount 0.99, 100 random steps (Pendulum) or 1,000, one update a step, no layer normalisation. Every so many steps both stop and play ten
episodes with their best actions, on seeds of their own; that time is not counted. "Reached" is the first evaluation at or above the
return that is stated. "As it comes" is `rapport train` with its own settings (two layers of 128, batch 128, observations scaled, layer
normalisation). Ours runs as anybody runs it: `rapport train`. Theirs has `so101-reach`
through `rapport sim serve`, whose pipe costs some 40 µs a step.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rapport_env import RapportEnv

ROOT = Path(__file__).resolve().parent.parent
# Return to reach, steps, steps between evaluations, random steps, learning rate.
TASKS = {
    "Pendulum-v1": (-200, 6_000, 500, 100, 1e-3),
    "Reacher-v5": (-6, 15_000, 1_000, 1_000, 3e-4),
    "so101-reach": (-2.5, 10_000, 1_000, 500, 3e-4),
    "HalfCheetah-v5": (2_000, 60_000, 10_000, 1_000, 3e-4),
}
EPISODES = 10


def ours(environment, algorithm, seed, steps, threads, width, settings="theirs"):
    _, _, every, random_steps, rate = TASKS[environment]
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        same = [
            "--reward-scale", "1", "--discount", "0.99", "--hidden", str(width), "--batch", str(width), "--critic-norm", "none", "--temperature", "1", "--scaling", "none",
            "--learning-rate", str(rate), "--random-steps", str(random_steps),
        ]  # fmt: skip
        words = [
            target / "debug/rapport", "train", "--policy", algorithm, "--env", environment, "--reward", "true", *(same if settings == "theirs" else []),
            "--eval-every", str(every), "--eval-episodes", str(EPISODES), "--steps", str(steps), "--seed", str(seed), "--out", run, "--json",
        ]  # fmt: skip
        subprocess.run(words, check=True, capture_output=True, env={**os.environ, "RAYON_NUM_THREADS": str(threads)})
        course, spent = [], 0.0
        for line in (run / "metrics.jsonl").read_text().splitlines():
            row = json.loads(line)
            if "evaluation" in row:
                # The evaluation's own time passes before the next episode ends.
                course.append((row["evaluation"]["steps"], spent, row["evaluation"]["true_return"]))
            else:
                spent = row["training_seconds"]
        return course


def theirs(environment, algorithm, seed, steps, threads, width):
    import gymnasium
    import stable_baselines3
    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    def make(name):
        return RapportEnv(name) if name.startswith("so101") else gymnasium.make(name)

    torch.set_num_threads(threads)
    _, _, every, random_steps, rate = TASKS[environment]
    model = getattr(stable_baselines3, algorithm.upper())(
        "MlpPolicy", make(environment), device="cpu", seed=seed, learning_rate=rate, batch_size=width, learning_starts=random_steps,
        train_freq=1, gradient_steps=1, gamma=0.99, policy_kwargs={"net_arch": [width, width]},
    )  # fmt: skip
    judge, course, pause = make(environment), [], [0.0]
    begin = time.perf_counter()

    class Look(BaseCallback):
        def _on_step(self):
            if self.num_timesteps % every == 0:
                since = time.perf_counter()
                total = 0.0
                for episode in range(EPISODES):
                    seen, over = judge.reset(seed=1_000_000 + 1000 * seed + episode)[0], False
                    while not over:
                        seen, reward, ended, timed, _ = judge.step(model.predict(seen, deterministic=True)[0])
                        total, over = total + reward, ended or timed
                course.append((self.num_timesteps, since - begin - pause[0], total / EPISODES))
                pause[0] += time.perf_counter() - since
            return True

    model.learn(steps, callback=Look())
    return course


def interval(values):
    mean = statistics.mean(values)
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{mean:.0f} ± {half:.0f}" if abs(mean) > 20 else f"{mean:.1f} ± {half:.1f}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--env", default="Pendulum-v1", choices=TASKS)
    parser.add_argument("--algorithm", default="sac", choices=["sac", "td3"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=1, help="of both")
    parser.add_argument("--width", type=int, default=256, help="of the two hidden layers, and of a batch")
    parser.add_argument("--torch-side", type=int, metavar="SEED")
    args = parser.parse_args()
    goal, usual, *_ = TASKS[args.env]
    steps = args.steps or usual
    if args.torch_side is not None:
        print(json.dumps(theirs(args.env, args.algorithm, args.torch_side, steps, args.threads, args.width)))
        return
    runs = {"ours": [], "SB3": [], "ours, as it comes": []}
    for seed in range(args.seeds):
        runs["ours"].append(ours(args.env, args.algorithm, seed, steps, args.threads, args.width))
        runs["ours, as it comes"].append(ours(args.env, args.algorithm, seed, steps, args.threads, args.width, "own"))
        words = [sys.executable, __file__, "--env", args.env, "--algorithm", args.algorithm, "--steps", str(steps), "--threads", str(args.threads), "--width", str(args.width)]
        said = subprocess.run([*words, "--torch-side", str(seed)], check=True, capture_output=True, text=True).stdout
        runs["SB3"].append(json.loads(said.splitlines()[-1]))
    print(f"{args.env}, {args.algorithm}, width {args.width}, {steps} steps, {args.seeds} seeds; return to reach {goal}")
    print("| | reached by | seconds to it (median) | steps to it (median) | return at the end | steps a second |")
    print("|---|---|---|---|---|---|")
    for who, courses in runs.items():
        first = [next(((s, t) for s, t, value in course if value >= goal), None) for course in courses]
        reached = [f for f in first if f]
        seconds = f"{statistics.median(t for _, t in reached):.0f}" if reached else "-"
        when = f"{statistics.median(s for s, _ in reached):.0f}" if reached else "-"
        rate = statistics.median(course[-1][0] / course[-1][1] for course in courses)
        print(f"| {who} | {len(reached)} of {len(courses)} | {seconds} | {when} | {interval([course[-1][2] for course in courses])} | {rate:.0f} |")
    print(json.dumps(runs))


if __name__ == "__main__":
    main()
