"""Pictures per second of MuJoCo's own Python renderer: render_speed.py MJCF CAMERA SECONDS.

Prints one line per configuration, with pictures per second by the wall and per second of processor time: "default" (what a user gets: shadows, 4 samples per pixel, 28 slices) and "tuned" (no shadows,
no reflections, 1 sample, 8 slices), each at 64, 128 and 224 pixels. Called by sim/examples/render_speed.rs.
"""
import os
import sys
import time

os.environ.setdefault("MUJOCO_GL", "egl")
# Mesa's software renderer: worker threads cost more than they bring at these sizes. Nothing changes where there is a GPU.
os.environ.setdefault("LP_NUM_THREADS", "0")

import mujoco  # noqa: E402
import numpy as np  # noqa: E402

path, camera, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])


def measure(settings, size):
    model = mujoco.MjModel.from_xml_path(path)
    model.vis.global_.offwidth = model.vis.global_.offheight = size
    if settings == "tuned":
        quality = model.vis.quality
        quality.shadowsize = quality.offsamples = 0
        quality.numslices = quality.numstacks = 8
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = mujoco.Renderer(model, size, size)
    if settings == "tuned":
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[flag] = False
    picture = np.zeros((size, size, 3), np.uint8)

    def draw():
        renderer.update_scene(data, camera or -1)
        renderer.render(out=picture)

    draw()
    count, begun, spent = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begun < seconds:
        draw()
        count += 1
    wall, spent = time.perf_counter() - begun, time.process_time() - spent
    renderer.close()
    return count / wall, count / spent


for settings in ("default", "tuned"):
    for size in (64, 128, 224):
        wall, processor = measure(settings, size)
        print(settings, size, f"{wall:.1f} {processor:.1f}", flush=True)
