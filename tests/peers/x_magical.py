"""What the real x-magical does: from given starts, under given actions.

usage: x_magical.py RUNS.json > RESULT.json

RUNS: [{"embodiment": "gripper", "starts": [[x, y], ...], "actions": [[speed, turn, ...], ...]}, ...]. RESULT: for each run, after
each action: "poses" (x, y and angle of the robot and of each block), "states" (the state vector, single precision), "sparse"
and "dense" (both rewards). x-magical 0.0.4 is ISC, pymunk 5.6.0 and Chipmunk are MIT.
"""

import collections
import collections.abc
import json
import os
import sys

collections.Sequence = collections.abc.Sequence  # pymunk 5.6 is older than Python 3.10
os.environ["SDL_VIDEODRIVER"] = "dummy"

import gym
import xmagical
from xmagical.benchmarks import sweep_to_top


def follow(run):
    sweep_to_top.DEFAULT_BLOCK_POSES = [((x, y), 0.0) for x, y in run["starts"]]
    body = run["embodiment"].capitalize()
    env = gym.make(f"SweepToTop-{body}-State-Allo-Demo-v0").unwrapped
    env.render = lambda mode=None: None  # every step draws otherwise
    env.reset()
    result = {"poses": [], "states": [], "sparse": [], "dense": []}
    for action in run["actions"]:
        state, reward, _, _ = env.step(action)
        bodies = [env._robot.body] + [s.shape_body for s in env._SweepToTopEnv__debris_shapes]
        result["poses"].append([v for b in bodies for v in (b.position.x, b.position.y, b.angle)])
        result["states"].append([float(v) for v in state])
        result["sparse"].append(float(reward))
        result["dense"].append(float(env._dense_reward()))
        assert env.score_on_end_of_traj() == reward
    return result


if __name__ == "__main__":
    xmagical.register_envs()
    with open(sys.argv[1]) as file:
        runs = json.load(file)
    print()  # pymunk says something without ending the line when it loads
    print(json.dumps([follow(run) for run in runs]))
