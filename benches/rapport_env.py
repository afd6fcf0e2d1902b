"""Rapport's environments for Gymnasium, through `rapport sim serve`: `RapportEnv("so101-reach")`."""

import json
import os
import subprocess
from pathlib import Path

import gymnasium
import numpy as np

ROOT = Path(__file__).resolve().parent.parent


class RapportEnv(gymnasium.Env):
    """Actions are in -1..1, observations in SI units; `info` holds `success`, by the task's own test."""

    def __init__(self, name):
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        binary = os.environ.get("RAPPORT", target / "debug/rapport")
        self.process = subprocess.Popen([binary, "sim", "serve", "--env", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        hello = json.loads(self.process.stdout.readline())
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (hello["observation_dim"],), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (hello["action_dim"],), np.float32)

    def _ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise ValueError(answer["error"])
        return np.array(answer.pop("observation"), np.float32), answer

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._ask({"reset": int(self.np_random.integers(2**32))})[0], {}

    def step(self, action):
        seen, answer = self._ask({"step": [float(a) for a in np.clip(action, -1, 1)]})
        return seen, answer["reward"], answer["terminated"], answer["truncated"], {"success": answer["success"]}

    def close(self):
        self.process.stdin.close()
        self.process.wait()
