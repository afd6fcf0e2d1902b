"""Golden numbers for reward/src/eval, computed by numpy 2.4.6 and scipy 1.17.1 (Python 3).

    python tests/peers/goldens/evaluate.py > reward/tests/data/evaluate.json

Inputs are drawn here and stored with the results, so that the Rust tests need no Python.
"""

import json

import numpy as np
from scipy import stats

rng = np.random.default_rng(20261126)
out = {"versions": {"numpy": np.__version__, "scipy": __import__("scipy").__version__}}

# Rank correlations, with and without ties.
cases = []
for n, ties in [(12, False), (40, False), (30, True), (9, True)]:
    x = rng.normal(size=n)
    y = 0.5 * x + rng.normal(size=n)
    if ties:
        x, y = np.round(x), np.round(y)
    cases.append(
        {
            "x": x.tolist(),
            "y": y.tolist(),
            "pearson": stats.pearsonr(x, y)[0],
            "spearman": stats.spearmanr(x, y)[0],
            "kendall": stats.kendalltau(x, y, variant="b")[0],
        }
    )
out["correlation"] = cases

# EPIC with canonical shaping, by explicit sums over a random table R[s, a, s'].
S, A, gamma = 5, 3, 0.9
mu_s, mu_a = rng.dirichlet(np.ones(S)), rng.dirichlet(np.ones(A))


def canonical(R):
    mean_from = np.einsum("san,a,n->s", R, mu_a, mu_s)  # E R(s, A, S')
    everywhere = mean_from @ mu_s  # E R(S, A, S')
    return R + gamma * mean_from[None, None, :] - mean_from[:, None, None] - gamma * everywhere


one = rng.normal(size=(S, A, S))
other = 0.4 * one + rng.normal(size=(S, A, S))
rho = np.corrcoef(canonical(one).ravel(), canonical(other).ravel())[0, 1]
out["epic"] = {
    "states": mu_s.tolist(),
    "actions": mu_a.tolist(),
    "gamma": gamma,
    "one": one.ravel().tolist(),
    "other": other.ravel().tolist(),
    "canonical_one": canonical(one).ravel().tolist(),
    "distance": float(np.sqrt((1 - rho) / 2)),
}

# Coverage of central normal intervals, and what else is said of deviations.
deviations = rng.uniform(0.2, 2.0, size=60)
errors = rng.normal(size=60) * deviations * 1.3
levels = [0.5, 0.8, 0.9, 0.95]
kept = [float(np.mean(np.abs(errors) <= stats.norm.ppf(0.5 + l / 2) * deviations)) for l in levels]
out["calibration"] = {
    "errors": errors.tolist(),
    "deviations": deviations.tolist(),
    "kept": kept,
    "error": float(np.mean(np.abs(np.array(kept) - levels))),
    "knows_where": stats.spearmanr(np.abs(errors), deviations)[0],
    "ratio": float(np.sqrt(np.mean((errors / deviations) ** 2))),
}

# Expected calibration error over ten bins.
chances = rng.uniform(size=80)
happened = rng.uniform(size=80) < chances**1.5
bins = np.minimum((chances * 10).astype(int), 9)
ece = sum(
    abs(chances[bins == b].mean() - happened[bins == b].mean()) * (bins == b).mean()
    for b in range(10)
    if (bins == b).any()
)
out["chances"] = {"p": chances.tolist(), "happened": happened.tolist(), "error": float(ece)}

# Separation is the Mann-Whitney statistic over the number of pairs.
good, poor = np.round(rng.normal(0.6, 1, 14), 1), np.round(rng.normal(0, 1, 11), 1)
u = stats.mannwhitneyu(good, poor).statistic
out["separation"] = {"good": good.tolist(), "poor": poor.tolist(), "area": float(u / (14 * 11))}

# Best of N with replacement: the distribution of the largest rank among N.
proxy, truth = rng.normal(size=25), rng.normal(size=25)
order = np.argsort(proxy)
best = {}
for n in [1, 2, 4]:
    top = np.arange(1, 26) / 25.0
    chance = top**n - np.concatenate([[0.0], top[:-1]]) ** n
    best[str(n)] = float(chance @ truth[order])
out["best_of"] = {"proxy": proxy.tolist(), "truth": truth.tolist(), "truth_of_best": best}

# The line of least squares.
x = rng.normal(size=20)
y = 0.7 * x - 0.2 + 0.1 * rng.normal(size=20)
out["line"] = {
    "x": x.tolist(),
    "y": y.tolist(),
    "slope": stats.linregress(x, y).slope,
    "offset": stats.linregress(x, y).intercept,
}

print(json.dumps(out, indent=1))
