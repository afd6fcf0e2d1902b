"""Golden numbers of entropic transport: POT's solver, ROT's reward expression, torch's gradients.

    python tests/peers/goldens/transport.py >reward/tests/data/transport.json

Made with pot 0.9.7.post1, numpy 2.4.6, torch 2.15.0. `stopThr` 1e-13 so that the numbers are good to 1e-10.
"""

import json

import numpy as np
import ot
import torch

EPSILONS = [1.0, 0.1, 0.05, 0.01]


def cosine(x, y):
    x, y = x / np.linalg.norm(x, axis=1, keepdims=True), y / np.linalg.norm(y, axis=1, keepdims=True)
    return 1.0 - x @ y.T


def solve(cost, epsilon):
    rows, cols = cost.shape
    method = "sinkhorn" if epsilon > 0.02 else "sinkhorn_log"
    plan = ot.sinkhorn(
        np.full(rows, 1 / rows), np.full(cols, 1 / cols), cost, epsilon, method=method, stopThr=1e-13, numItermax=1_000_000
    )
    # ROT's expression for the rewards (its `ot_rewards` with scale 1).
    return plan, -np.diag(plan @ cost.T)


def triplet(clips, epsilon):
    """-log sigmoid(d(best, worst) - d(best, middle)) and its gradient through unrolled log-domain iterations."""
    best, middle, worst = (torch.tensor(c, requires_grad=True) for c in clips)

    def distance(x, y):
        x = x / x.norm(dim=1, keepdim=True)
        y = y / y.norm(dim=1, keepdim=True)
        cost = 1.0 - x @ y.T
        f, g = torch.zeros(len(x), dtype=x.dtype), torch.zeros(len(y), dtype=x.dtype)
        for _ in range(3000):
            f = -np.log(len(x)) - torch.logsumexp(g[None, :] - cost / epsilon, 1)
            g = -np.log(len(y)) - torch.logsumexp(f[:, None] - cost / epsilon, 0)
        return (torch.exp(f[:, None] + g[None, :] - cost / epsilon) * cost).sum()

    near, far = distance(best, middle), distance(best, worst)
    loss = -torch.nn.functional.logsigmoid(far - near)
    loss.backward()
    return {
        "epsilon": epsilon,
        "clips": [c.tolist() for c in clips],
        "near": near.item(),
        "far": far.item(),
        "loss": loss.item(),
        "gradients": [t.grad.tolist() for t in (best, middle, worst)],
    }


def main():
    rng = np.random.default_rng(20261126)
    problems = []
    for rows, cols, dim in [(6, 6, 4), (9, 5, 8), (12, 17, 3), (1, 4, 2)]:
        x = np.cumsum(rng.normal(size=(rows, dim)), axis=0)
        y = np.cumsum(rng.normal(size=(cols, dim)), axis=0)
        for epsilon in EPSILONS:
            plan, rewards = solve(cosine(x, y), epsilon)
            problems.append(
                {"epsilon": epsilon, "from": x.tolist(), "to": y.tolist(), "plan": plan.tolist(), "rewards": rewards.tolist()}
            )
    triplets = []
    for epsilon in [1.0, 0.1]:
        clips = [np.cumsum(rng.normal(size=(n, 5)), axis=0) for n in (5, 7, 4)]
        triplets.append(triplet(clips, epsilon))
    print(json.dumps({"problems": problems, "triplets": triplets}))


main()
