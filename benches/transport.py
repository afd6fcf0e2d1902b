"""Entropic transport a second: Rapport beside POT (Python Optimal Transport), on the same problems in the same run.

    python benches/transport.py                        build and run `cargo run -p rapport-reward --example transport_speed`
    python benches/transport.py --ours PATH            use that program instead

Needs numpy and pot (1); torch adds POT's torch backend. Costs are cosine costs between clips that wander (random walks in 32 dimensions).
POT stops when the Euclidean norm of the columns' error is below `stopThr`, looked at every ten iterations; ours when the largest error is
below the tolerance, looked at every iteration. We are given `stopThr / sqrt(columns)`, which implies POT's rule. Both may do 1000
iterations. Each figure is the best of the repeats; ours and the peers alternate, so that both see the same machine.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
import warnings

import numpy as np
import ot

warnings.filterwarnings("ignore")  # POT warns wherever it stops at 1000 iterations


def problems(count, size, seed):
    rng = np.random.default_rng(seed)

    def clip():
        walk = np.cumsum(rng.normal(size=(size, 32)) * 0.3, axis=0) + rng.normal(size=32)
        return walk / np.linalg.norm(walk, axis=1, keepdims=True)

    return np.stack([1.0 - clip() @ clip().T for _ in range(count)])


def ours(command, costs, epsilon, stop, iterations, repeats):
    count, rows, cols = costs.shape
    with tempfile.NamedTemporaryFile(suffix=".f64") as file:
        file.write(np.ascontiguousarray(costs).tobytes())
        file.flush()
        line = [*command, file.name, rows, cols, epsilon, stop / cols**0.5, iterations, repeats]
        out = subprocess.run([str(x) for x in line], check=True, capture_output=True, text=True).stdout
    result = json.loads(out)
    return min(result["seconds"]), np.array(result["rewards"]), np.mean(result["iterations"])


def peers(torch):
    def one_by_one(convert, **options):
        def solve(costs, epsilon, stop, iterations):
            count, rows, cols = costs.shape
            a, b = convert(np.full(rows, 1 / rows)), convert(np.full(cols, 1 / cols))
            costs = [convert(c) for c in costs]
            begin = time.perf_counter()
            plans = [ot.sinkhorn(a, b, c, epsilon, stopThr=stop, numItermax=iterations, **options) for c in costs]
            return time.perf_counter() - begin, plans

        return solve

    def batched(convert):
        def solve(costs, epsilon, stop, iterations):
            costs = convert(costs)
            begin = time.perf_counter()
            plans = ot.batch.solve_batch(costs, reg=epsilon, max_iter=iterations, tol=stop).plan
            return time.perf_counter() - begin, plans

        return solve

    table = {
        "sinkhorn": one_by_one(np.asarray),
        "sinkhorn_log": one_by_one(np.asarray, method="sinkhorn_log"),
        "sinkhorn_stabilized": one_by_one(np.asarray, method="sinkhorn_stabilized"),
    }
    if hasattr(ot, "batch"):
        table["batch.solve_batch"] = batched(np.asarray)
    if torch:
        table["sinkhorn (torch)"] = one_by_one(torch.from_numpy)
        table["sinkhorn_log (torch)"] = one_by_one(torch.from_numpy, method="sinkhorn_log")
        if hasattr(ot, "batch"):
            table["batch.solve_batch (torch)"] = batched(torch.from_numpy)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", help="the program; without it cargo builds and runs it")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--epsilons", type=float, nargs="+", default=[1.0, 0.1, 0.05, 0.01])
    parser.add_argument("--stop", type=float, default=1e-9)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-torch", action="store_true")
    args = parser.parse_args()
    command = [args.ours] if args.ours else "cargo run -q -p rapport-reward --example transport_speed --".split()
    torch = None
    if not args.no_torch:
        try:
            import torch
        except ImportError:
            print("torch is not installed: its backend is left out")
    table = peers(torch)
    versions = f"pot {ot.__version__}, numpy {np.__version__}" + (f", torch {torch.__version__}" if torch else "")
    print(f"{versions}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, stop {args.stop}, batches of {args.batch}")
    print(f"{'size':>5} {'epsilon':>8} {'solver':>26} {'ms a problem':>13} {'theirs / ours':>14} {'rewards apart':>14}")
    for size in args.sizes:
        costs = problems(args.batch, size, 0)
        for epsilon in args.epsilons:
            best, rewards, iterations = np.inf, None, 0
            theirs = {name: [np.inf, np.nan] for name in table}
            for _ in range(args.repeats):
                seconds, rewards, iterations = ours(command, costs, epsilon, args.stop, args.iterations, 3)
                best = min(best, seconds)
                for name, solve in table.items():
                    # The slow ones are sampled: a quarter of the batch, once or twice.
                    slow = "log" in name or "batch" in name or "stabilized" in name
                    part = costs[: max(1, args.batch // 4)] if slow else costs
                    if slow and theirs[name][0] < np.inf and theirs[name][0] * len(part) > 2.0:
                        continue
                    seconds, plans = solve(part, epsilon, args.stop, args.iterations)
                    plans = np.stack([np.asarray(p) for p in plans])
                    apart = np.abs(-(plans * part).sum(2) - rewards[: len(part)]).max()
                    theirs[name] = [min(theirs[name][0], seconds / len(part)), apart]
            each = best / len(costs)
            print(f"{size:>5} {epsilon:>8} {'ours':>26} {1e3 * each:>13.4f} {'':>14} {iterations:>8.0f} iterations")
            for name, (seconds, apart) in theirs.items():
                print(f"{size:>5} {epsilon:>8} {name:>26} {1e3 * seconds:>13.4f} {seconds / each:>14.1f} {apart:>14.1e}")


if __name__ == "__main__":
    main()
