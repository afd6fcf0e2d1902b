"""Plays 100 random steps of Gymnasium's benchmarks and writes everything that can be compared.

    python gym_steps.py

For every environment, lines of a word and numbers that read back exactly:

    env NAME
    limits MAX_STEPS
    low ...            the least action of every component (of a choice: 0)
    high ...           the greatest (of a choice: the last one)
    positions ...      the start: MuJoCo's positions, or the whole state of a classic problem
    velocities ...     the start: MuJoCo's velocities; nothing for a classic problem
    first ...          the first observation
    action ...         then, for every step
    observation ...
    outcome REWARD TERMINATED

Episodes are not cut at their ends: what follows must agree, too.
"""

import sys

import gymnasium
import numpy as np

CLASSIC = ["CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"]
MUJOCO = ["Reacher-v5", "HalfCheetah-v5", "Humanoid-v5"]
STEPS = 100


def line(word, values):
    print(word, *(repr(float(value)) for value in np.ravel(values)))


def play(name, seed):
    env = gymnasium.make(name)
    first, _ = env.reset(seed=seed)
    bare = env.unwrapped
    space = env.action_space
    space.seed(seed)
    print("env", name)
    line("limits", [env.spec.max_episode_steps])
    if hasattr(space, "n"):
        line("low", [0])
        line("high", [space.n - 1])
    else:
        line("low", space.low)
        line("high", space.high)
    if name in MUJOCO:
        line("positions", bare.data.qpos)
        line("velocities", bare.data.qvel)
    else:
        line("positions", bare.state)
        line("velocities", [])
    line("first", first)
    for _ in range(STEPS):
        action = space.sample()
        observation, reward, terminated, _, _ = env.step(action)
        line("action", [action])
        line("observation", observation)
        line("outcome", [reward, terminated])
    env.close()


def main():
    if len(sys.argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    for name in CLASSIC + MUJOCO:
        for seed in (0, 1):
            play(name, seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
