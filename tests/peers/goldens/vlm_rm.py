"""Makes reward/tests/data/vlm_rm.json: the reward of VLM-RM on random embeddings, computed in torch 2.15.0 (float64) by the
formula of `CLIPReward` in AlignmentResearch/vlmrm (MIT, 811d820): prompts normalised, averaged, not made unit again; direction
goal - baseline; projection `a d d^T / |d|^2 + (1 - a) I`; `1 - |(x - goal) P|^2 / 2`.

    python tests/peers/goldens/vlm_rm.py
"""

import json
from pathlib import Path

import torch


def prompt(rows):
    return torch.nn.functional.normalize(rows, dim=-1).mean(dim=0, keepdim=True)


def rewards(images, goals, baselines, alpha):
    images = torch.nn.functional.normalize(images, dim=-1)
    goal, baseline = prompt(goals), prompt(baselines)
    direction = goal - baseline
    onto = direction.T @ direction / torch.linalg.norm(direction) ** 2
    projection = alpha * onto + (1 - alpha) * torch.eye(onto.shape[0], dtype=onto.dtype)
    return 1 - torch.linalg.norm((images - goal) @ projection, dim=-1) ** 2 / 2


def main():
    generator = torch.Generator().manual_seed(2310)
    cases = []
    for dim, prompts in [(4, 1), (16, 2), (33, 3)]:
        # Numbers that single precision holds exactly, since features are kept in it.
        draw = lambda n: torch.randn(n, dim, generator=generator, dtype=torch.float32).double()
        images, goals, baselines = draw(5), draw(prompts), draw(prompts)
        cases.append(
            {
                "dim": dim,
                "images": images.flatten().tolist(),
                "goals": goals.flatten().tolist(),
                "baselines": baselines.flatten().tolist(),
                "rewards": {str(a): rewards(images, goals, baselines, a).tolist() for a in (0.0, 0.25, 0.5, 0.75, 1.0)},
            }
        )
    out = Path(__file__).resolve().parents[3] / "reward/tests/data/vlm_rm.json"
    out.write_text(json.dumps(cases) + "\n")


main()
