"""Gradient steps a second of behaviour cloning: ours and the package `imitation`'s, same sizes, same batch, turn about, one thread each.

  cargo build --workspace --example bc_speed
  python3 benches/imitation_package.py --python PYTHON [--rounds 3]

PYTHON has `imitation` 1.0.1 (which wants gymnasium 0.29 and stable-baselines3 2.2). Two hidden layers, 10,000 random steps of 15 observations and 3
actions. Its loss is the likelihood of a Gaussian with a small entropy bonus, ours the squared error: the same products.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEPS = 10_000


def theirs(width, batch, epochs):
    # Here is a file of the package's name.
    sys.path.remove(str(Path(__file__).resolve().parent))
    import gymnasium
    import numpy as np
    import torch
    from imitation.algorithms import bc
    from imitation.data.types import Transitions
    from imitation.util import logger
    from stable_baselines3.common.policies import ActorCriticPolicy

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    seen = gymnasium.spaces.Box(-1, 1, (15,), np.float32)
    done = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    row = lambda n: rng.uniform(-1, 1, (STEPS, n)).astype(np.float32)
    policy = ActorCriticPolicy(seen, done, lambda _: 1e-3, net_arch=[width, width])
    shown = Transitions(obs=row(15), acts=row(3), infos=np.array([{}] * STEPS), next_obs=row(15), dones=np.zeros(STEPS, bool))
    trainer = bc.BC(
        observation_space=seen, action_space=done, rng=rng, policy=policy, demonstrations=shown, batch_size=batch, device="cpu",
        custom_logger=logger.configure("/tmp/imitation-bench", format_strs=[]),
    )  # fmt: skip
    trainer.train(n_epochs=1, progress_bar=False)
    begin = time.perf_counter()
    trainer.train(n_epochs=epochs, progress_bar=False)
    return epochs * (STEPS // batch) / (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default="python3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--their-side", type=int, nargs=3)
    args = parser.parse_args()
    if args.their_side:
        print(theirs(*args.their_side))
        return
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    print("| width, batch | ours, updates/s | imitation | ratio |")
    print("|---|---|---|---|")
    for width, batch in [(32, 32), (64, 64), (256, 256)]:
        own, other = [], []
        for _ in range(args.rounds):
            epochs = 400 if width < 256 else 20
            words = [target / "debug/examples/bc_speed", width, batch, STEPS, epochs]
            environment = {**os.environ, "RAYON_NUM_THREADS": "1"}
            run = lambda words: float(subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True, env=environment).stdout.split()[-1])
            own.append(run(words))
            other.append(run([args.python, __file__, "--their-side", width, batch, 8]))
        a, b = statistics.median(own), statistics.median(other)
        print(f"| {width}, {batch} | {a:,.0f} | {b:,.0f} | {a / b:.0f} |")


if __name__ == "__main__":
    main()
