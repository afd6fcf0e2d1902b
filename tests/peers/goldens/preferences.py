"""Numbers of `reward/tests/data/preferences.json`.

imitation 1.0.1 (its own functions), torch 2.x (the formulas of B-Pref, commit f3ece2e, and SURF, commit 2088ee8, which are
scripts that cannot be imported without a GPU and MuJoCo: their torch expressions are written out here), numpy 2.x.

    python tests/peers/goldens/preferences.py > reward/tests/data/preferences.json
"""

import json

import numpy as np
import torch
import torch.nn.functional as F

from imitation.algorithms.preference_comparisons import QUERY_SCHEDULES, PreferenceModel
from imitation.util import util

rng = np.random.default_rng(7)


def rounded(x):
    return [round(float(v), 9) for v in np.asarray(x).reshape(-1)]


# Returns of 24 pairs under 3 to 5 members; the first is the one of the reference page.
returns = [np.array([[0.2, 0.5], [1.0, 0.1], [-0.3, 0.4]])]
for i in range(23):
    returns.append(rng.normal(scale=[0.3, 1.0, 4.0, 12.0][i % 4], size=(3 + i % 3, 2)).round(4))

out = {k: [] for k in ["gaps", "disagreement", "entropy", "logit_variance", "probability_variance", "label_variance"]}
for pair in returns:
    r = torch.tensor(pair, dtype=torch.float64)
    probs = F.softmax(r, dim=-1)[:, 0]
    out["gaps"].append(rounded(r[:, 0] - r[:, 1]))
    # B-Pref: get_rank_probability, get_entropy.
    out["disagreement"].append(float(np.std(probs.numpy(), axis=0)))
    entropies = (F.softmax(r, dim=-1) * F.log_softmax(r, dim=-1)).sum(axis=-1).abs()
    out["entropy"].append(float(entropies.mean()))
    # imitation: ActiveSelectionFragmenter.variance_estimate; the probability is PreferenceModel.probability's.
    model = PreferenceModel.__new__(PreferenceModel)
    torch.nn.Module.__init__(model)
    model.threshold, model.discount_factor, model.noise_prob, model.ensemble_model = 50, 1.0, 0.0, None
    p = torch.stack([model.probability(a.reshape(1), b.reshape(1)) for a, b in r])
    out["logit_variance"].append(float((r[:, 0] - r[:, 1]).var()))
    out["probability_variance"].append(float(p.var()))
    share = (p > 0.5).double().mean()
    out["label_variance"].append(float(share * (1 - share)))

out["probabilities"] = []
for noise in [0.0, 0.1]:
    for _ in range(8):
        a, b = rng.normal(size=4).round(3), rng.normal(size=4).round(3)
        model = PreferenceModel.__new__(PreferenceModel)
        torch.nn.Module.__init__(model)
        model.threshold, model.discount_factor, model.noise_prob, model.ensemble_model = 50, 1.0, noise, None
        first, second = torch.tensor(a, requires_grad=True), torch.tensor(b)
        p = model.probability(first, second)
        label = float(rng.integers(0, 3)) / 2
        loss = F.binary_cross_entropy(p, torch.tensor(label, dtype=p.dtype))
        loss.backward()
        out["probabilities"].append(
            {
                "first": a.tolist(),
                "second": b.tolist(),
                "noise": noise,
                "label": label,
                "probability": float(p),
                "loss": float(loss),
                "slope": float(first.grad[0]),
            }
        )

out["schedules"] = []
for name in ["constant", "hyperbolic", "inverse_quadratic"]:
    for total, initial, rounds in [(100, 0.1, 7), (200, 0.1, 5), (5000, 0.1, 60), (1000, 0.25, 13), (37, 0.0, 10), (700, 0.33, 11), (50, 0.1, 2), (999, 0.9, 3)]:
        # PreferenceComparisons.train, where the shares are made.
        first = int(total * initial)
        weights = np.vectorize(QUERY_SCHEDULES[name])(np.linspace(0, 1, rounds))
        shares = util.oric((weights / weights.sum()) * (total - first))
        out["schedules"].append(
            {
                "schedule": name.replace("_", "-"),
                "total": total,
                "initial": initial,
                "rounds": rounds,
                "shares": [first, *[int(s) for s in shares]],
            }
        )


def bpref(r1, r2, beta, gamma, mistake, skip, equal):
    """B-Pref's get_label for one pair: the probability of preferring the first, before it is drawn."""
    s1, s2 = r1.sum(), r2.sum()
    if skip is not None and not max(s1, s2) > skip:
        return None
    t1, t2 = r1.copy(), r2.copy()
    for index in range(len(r1) - 1):
        t1[: index + 1] *= gamma
        t2[: index + 1] *= gamma
    m1, m2 = t1.sum(), t2.sum()
    if abs(s1 - s2) < equal:
        return 0.5
    second = float(F.softmax(torch.tensor([m1, m2]) * beta, dim=-1)[1]) if beta is not None else float(m1 < m2)
    second = second * (1 - mistake) + (1 - second) * mistake
    return 1 - second


out["teachers"] = []
for i in range(36):
    r1, r2 = rng.normal(size=5).round(3), rng.normal(size=5).round(3)
    teacher = dict(beta=None, gamma=1.0, mistake=0.0, skip=None, equal=0.0)
    teacher.update(
        [{}, {"beta": 1.0}, {"mistake": 0.1}, {"skip": 0.5}, {"equal": 1.0}, {"gamma": 0.9}, {"beta": 0.5, "gamma": 0.8, "mistake": 0.2, "equal": 0.3, "skip": -0.5}][i % 7]
    )
    p = bpref(r1, r2, **teacher)
    out["teachers"].append(
        {
            "teacher": {
                "beta": teacher["beta"],
                "gamma": teacher["gamma"],
                "mistake": teacher["mistake"],
                "skip_below": teacher["skip"],
                "equal_within": teacher["equal"],
            },
            "first": r1.tolist(),
            "second": r2.tolist(),
            "first_is_preferred": p,
        }
    )

# SURF: pseudo-labels of unlabelled pairs.
logits = torch.tensor(rng.normal(scale=2.5, size=(40, 2)).round(3))
out["pseudo"] = []
for threshold in [0.95, 0.99, 0.8]:
    pred = torch.softmax(logits, dim=1)
    pred_max = pred.max(1)
    mask = pred_max[0] >= threshold
    out["pseudo"].append(
        {
            "threshold": threshold,
            "gaps": rounded(logits[:, 0] - logits[:, 1]),
            # 1 when the first is the better one.
            "labels": [1.0 - float(v) for v in pred_max[1]],
            "mask": [bool(m) for m in mask],
        }
    )

print(json.dumps(out))
