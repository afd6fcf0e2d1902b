"""Numbers for `reward/tests/data/progress.json`: losses by the published trainers, distances by SciPy.

Made with Python 3.11, torch 2.15.0, SciPy 1.17.1 (see "versions" in the file written) and the sources, checked out by
whoever runs this (they are not part of this repository):

  XIRL   google-research/google-research, xirl/xirl/losses.py (same function in paichichi/TCC-core a0ddbb4, used here)
  VIP    facebookresearch/vip 81b0520, vip/trainer.py
  R3M    facebookresearch/r3m b2334e7, r3m/trainer.py

  python3 tests/peers/goldens/progress.py --xirl LOSSES.py --vip TRAINER.py --r3m TRAINER.py --out reward/tests/data/progress.json
"""

import argparse
import importlib.util
import json
import platform
import sys
import types
from unittest import mock

import numpy as np
import scipy
import scipy.linalg
import torch


def load(name, path):
    """A published file as a module, with what it imports but does not need for its loss left empty."""
    for missing in ["hydra", "torchvision", "torchvision.utils", "torchvision.transforms", "numpy.core.numeric"]:
        if missing not in sys.modules:
            try:
                __import__(missing)
            except Exception:
                module = types.ModuleType(missing)
                module.save_image = module.full = module.transforms = None
                sys.modules[missing] = module
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DIM = 3


def pictures(embeddings, size):
    """Frames of the size that a trainer insists on, with the embeddings in front."""
    batch, count, dim = embeddings.shape
    frames = torch.zeros((batch, count, 3 * size * size), dtype=torch.float64)
    frames[:, :, :dim] = torch.tensor(embeddings)
    return frames.reshape(batch, count, 3, size, size)


class Settings:
    """What the trainers read off a model; a frame's first numbers are its embedding."""

    gamma, l1weight, l2weight, num_negatives, langweight, tcnweight = 0.98, 0.0, 0.0, 0, 0.0, 1.0

    def sim(self, a, b):
        return -torch.linalg.norm(a - b, dim=-1)


class Model:
    def __init__(self, **changes):
        self.module = Settings()
        for name, value in changes.items():
            setattr(self.module, name, value)

    def eval(self):
        pass

    def __call__(self, frames):
        return frames.reshape(frames.shape[0], -1)[:, :DIM]


def with_orders(orders, work):
    """Runs with `torch.randperm` giving these orders in turn."""
    queue = iter(orders)
    with mock.patch.object(torch, "randperm", lambda n: torch.tensor(next(queue))):
        return work()


def main():
    parser = argparse.ArgumentParser()
    for name in ["xirl", "vip", "r3m", "out"]:
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    rng = np.random.default_rng(4)
    found = {
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        }
    }

    xirl = load("xirl_losses", args.xirl)
    clips, frames, dim = 3, 5, 4
    embeddings = rng.normal(size=(clips, frames, dim)).round(3)
    times = np.sort(rng.integers(0, 20, size=(clips, frames)), axis=1)
    lengths = np.array([20, 24, 31])
    values = {}
    for temperature in [1.0, 0.1]:
        x = torch.tensor(embeddings, dtype=torch.float64, requires_grad=True)
        loss = xirl.compute_tcc_loss(
            x,
            torch.tensor(times),
            torch.tensor(lengths),
            loss_type="regression_mse",
            similarity_type="l2",
            temperature=temperature,
        )
        loss.backward()
        values[str(temperature)] = {"loss": loss.item(), "gradient": x.grad.numpy().ravel().tolist()}
    found["cycle"] = {
        "dim": dim,
        "embeddings": embeddings.reshape(clips, -1).tolist(),
        "times": times.tolist(),
        "lengths": lengths.tolist(),
        "by_temperature": values,
    }

    batch, dim = 6, DIM
    orders = [rng.permutation(batch).tolist() for _ in range(6)]

    vip = load("vip_trainer", args.vip)
    frames = rng.normal(size=(batch, 4, dim)).round(3)
    found["value"] = {"dim": dim, "frames": frames.reshape(batch, -1).tolist(), "orders": orders[:3], "loss": {}}
    images = pictures(frames, 1)
    rewards = -torch.ones(batch, dtype=torch.float64)
    for negatives in [0, 3]:
        model = Model(num_negatives=negatives)
        work = lambda: vip.Trainer(1).update(model, (images, rewards), 0, eval=True)[0]["vip_loss"]
        found["value"]["loss"][str(negatives)] = with_orders(orders, work)

    r3m = load("r3m_trainer", args.r3m)
    frames = rng.normal(size=(batch, 5, dim)).round(3)
    images = pictures(frames, 224)
    model = Model(num_negatives=3)
    work = lambda: r3m.Trainer(1).update(model, (images, [""] * batch), 0, eval=True)[0]["tcnloss"]
    found["contrast"] = {
        "dim": dim,
        "triples": frames[:, 2:].reshape(batch, -1).tolist(),
        "orders": orders,
        "loss": with_orders(orders, work),
    }

    cases = []
    for n, m, d in [(12, 15, 3), (4, 5, 6)]:
        a, b = rng.normal(size=(n, d)).round(3), (0.5 + 1.5 * rng.normal(size=(m, d))).round(3)
        sa, sb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        root = scipy.linalg.sqrtm(sa @ sb)
        frechet = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(sa + sb - 2 * root.real)
        kernel = lambda x, y: np.exp(-((x[:, None] - y[None]) ** 2).sum(-1) / 2)
        discrepancy = kernel(a, a).mean() + kernel(b, b).mean() - 2 * kernel(a, b).mean()
        eigenvalues = scipy.linalg.eigvalsh(kernel(b, b) / m)
        eigenvalues = eigenvalues[eigenvalues > 1e-15]
        vendi = np.exp(-(eigenvalues * np.log(eigenvalues)).sum())
        cases.append(
            {
                "dim": d,
                "a": a.ravel().tolist(),
                "b": b.ravel().tolist(),
                "frechet": frechet,
                "discrepancy": discrepancy,
                "vendi": vendi,
            }
        )
    found["exemplars"] = cases

    with open(args.out, "w") as out:
        # One line for each method.
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
        out.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
