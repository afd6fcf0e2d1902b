"""Environment steps a second of the simulators that others wrote, one JSON line each. `./x bench sim` runs it beside ours.

usage: sim_peers.py default|tuned SECONDS NAME...      NAME: gymnasium, envpool, dm_control, so101, gym_hil, gym_aloha

`default` is the package as it comes. `tuned` sets the quality of every model that is loaded to no shadows, one sample and eight slices,
which is what a person who knows MuJoCo does on a machine without a GPU; physics are untouched.
"""

import json
import os
import sys
import time
import warnings

os.environ.setdefault("MUJOCO_GL", "egl")
warnings.filterwarnings("ignore")
SIZES = (64, 128, 224)


def tune_loaded_models():
    import mujoco

    def tuned(model):
        quality = model.vis.quality
        quality.shadowsize, quality.offsamples, quality.numslices, quality.numstacks, quality.numquads = 0, 0, 8, 8, 2
        return model

    def wrap(owner, name):
        load = getattr(owner, name)
        setattr(owner, name, staticmethod(lambda *a, **k: tuned(load(*a, **k))))

    wrap(mujoco.MjModel, "from_xml_path")
    wrap(mujoco.MjModel, "from_xml_string")
    compile_spec = mujoco.MjSpec.compile
    mujoco.MjSpec.compile = lambda self, *a, **k: tuned(compile_spec(self, *a, **k))


def rate(step, seconds, steps_per_call=1):
    """Best of three runs, calls until a third of the time is over each."""
    step()
    best = (0.0, 0.0)
    for _ in range(3):
        n, wall, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - wall < seconds / 3:
            step()
            n += steps_per_call
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        best = max(best, (n / wall, n / max(cpu, 1e-9)))
    return best


def gym_stepper(env):
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(500)]
    state = {"i": 0}

    def step():
        state["i"] += 1
        outcome = env.step(actions[state["i"] % 500])
        if outcome[2] or outcome[3]:
            env.reset()

    return step


def report(peer, env, size, setting, measured):
    print(json.dumps({"peer": peer, "env": env, "size": size, "setting": setting, "per_s": measured[0], "per_cpu_s": measured[1]}), flush=True)


def gymnasium_envs(setting, seconds):
    import gymnasium

    for name in ("Pendulum-v1", "Reacher-v5", "HalfCheetah-v5", "Humanoid-v5"):
        if setting == "default":
            report("gymnasium", name, 0, setting, rate(gym_stepper(gymnasium.make(name)), seconds))
        if name == "Pendulum-v1":
            continue
        for size in SIZES:
            env = gymnasium.make(name, render_mode="rgb_array", width=size, height=size)
            step = gym_stepper(env)
            report("gymnasium", name, size, setting, rate(lambda: (step(), env.render()), seconds))
            env.close()


def envpool_envs(setting, seconds):
    import envpool
    import numpy

    for name in ("Reacher-v5", "HalfCheetah-v5", "Humanoid-v5"):
        for threads, count in ((1, 8), (2, 16)):
            envs = envpool.make_gymnasium(name, num_envs=count, num_threads=threads)
            envs.reset()
            space = envs.action_space
            actions = numpy.random.default_rng(0).uniform(space.low, space.high, (count,) + space.shape)
            report(f"envpool, {threads} threads", name, 0, setting, rate(lambda: envs.step(actions), seconds, count))


def dm_control_envs(setting, seconds):
    import numpy
    from dm_control import suite

    for domain, task in (("reacher", "easy"), ("cheetah", "run"), ("humanoid", "walk")):
        env = suite.load(domain, task)
        spec = env.action_spec()
        actions = numpy.random.default_rng(0).uniform(spec.minimum, spec.maximum, (500,) + spec.shape)
        state = {"i": 0, "time": env.reset()}

        def step():
            state["i"] += 1
            state["time"] = env.step(actions[state["i"] % 500])

        if setting == "default":
            report("dm_control", f"{domain}-{task}", 0, setting, rate(step, seconds))
        for size in SIZES:
            look = lambda: (step(), env.physics.render(size, size, camera_id=0))
            report("dm_control", f"{domain}-{task}", size, setting, rate(look, seconds))


def so101_envs(setting, seconds):
    from lerobot_env_so101 import GymRenderingSpec, SO101PickCubeGymEnv

    if setting == "default":
        report("lerobot-env-so101", "PickCube", 0, setting, rate(gym_stepper(SO101PickCubeGymEnv(image_obs=False)), seconds))
    for size in SIZES:
        spec = GymRenderingSpec(height=size, width=size, camera_id="front")
        env = SO101PickCubeGymEnv(image_obs=True, render_spec=spec)
        report("lerobot-env-so101", "PickCube", size, setting, rate(gym_stepper(env), seconds))


def gym_hil_envs(setting, seconds):
    import gym_hil  # noqa: F401
    import gymnasium

    name = "gym_hil/PandaPickCubeBase-v0"
    if setting == "default":
        report("gym_hil", "PandaPickCube", 0, setting, rate(gym_stepper(gymnasium.make(name, image_obs=False)), seconds))
    report("gym_hil, two cameras", "PandaPickCube", 128, setting, rate(gym_stepper(gymnasium.make(name, image_obs=True)), seconds))


def gym_aloha_envs(setting, seconds):
    import gym_aloha  # noqa: F401
    import gymnasium

    for size in SIZES:
        env = gymnasium.make("gym_aloha/AlohaTransferCube-v0", obs_type="pixels_agent_pos", observation_width=size, observation_height=size)
        report("gym_aloha", "TransferCube", size, setting, rate(gym_stepper(env), seconds))


PEERS = {
    "gymnasium": gymnasium_envs,
    "envpool": envpool_envs,
    "dm_control": dm_control_envs,
    "so101": so101_envs,
    "gym_hil": gym_hil_envs,
    "gym_aloha": gym_aloha_envs,
}


def main():
    setting, seconds, names = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
    if setting == "tuned":
        tune_loaded_models()
    for name in names:
        try:
            PEERS[name](setting, seconds)
        except Exception as error:  # a peer that does not run here is a line of the table, not the end of it
            print(json.dumps({"peer": name, "setting": setting, "error": f"{type(error).__name__}: {error}"[:200]}), flush=True)


main()
