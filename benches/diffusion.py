"""Diffusion Policy's U-Net: training steps a second and milliseconds a chunk, ours and the same network in PyTorch, in turns.

    cargo build -p rapport-policy --example diffusion_speed
    python benches/diffusion.py target/debug/examples/diffusion_speed [--threads 1] [--rounds 3] [--seconds 10] [--device gpu]

The network in PyTorch is put together here from torch.nn as LeRobot's DiffusionConditionalUnet1d is (down_dims, kernel 5, 8
groups, FiLM with scales, ConvTranspose1d upsampling), with AdamW and a running average of weights; horizon 16, batch 64,
2 x 64 observations, 6 actions. Neither side is compiled or quantised; both single precision. `cpu_ms_per_step` is the
main thread's own time: at one thread it holds on a busy machine, where the other two do not. With --device gpu both train on the graphics
adapter (ours through wgpu, so build with --features gpu; PyTorch through CUDA); chunks are the processor's for ours, as a policy acts there.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time

SIZES = {"laptop": ([64, 128, 256], 64), "paper": ([256, 512, 1024], 128)}
HORIZON, BATCH, OBSERVATIONS, LOOKS, ACTIONS = 16, 64, 64, 2, 6


def torch_side(size, seconds, threads, device):
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    if device == "gpu":
        torch.set_default_device("cuda")
    finished = torch.cuda.synchronize if device == "gpu" else lambda: None
    torch.manual_seed(0)
    dims, width = SIZES[size]

    class Block(nn.Sequential):
        def __init__(self, i, o):
            super().__init__(nn.Conv1d(i, o, 5, padding=2), nn.GroupNorm(8, o), nn.Mish())

    class Residual(nn.Module):
        def __init__(self, i, o, condition):
            super().__init__()
            self.first, self.second = Block(i, o), Block(o, o)
            self.condition = nn.Sequential(nn.Mish(), nn.Linear(condition, 2 * o))
            self.past = nn.Conv1d(i, o, 1) if i != o else nn.Identity()

        def forward(self, x, condition):
            scale, shift = self.condition(condition).unsqueeze(-1).chunk(2, 1)
            return self.second(scale * self.first(x) + shift) + self.past(x)

    class Unet(nn.Module):
        def __init__(self):
            super().__init__()
            condition = width + LOOKS * OBSERVATIONS
            pair = lambda i, o: nn.ModuleList([Residual(i, o, condition), Residual(o, o, condition)])
            self.step = nn.Sequential(nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width))
            inputs = [ACTIONS, *dims[:-1]]
            self.down = nn.ModuleList([pair(i, o) for i, o in zip(inputs, dims)])
            self.halve = nn.ModuleList([nn.Conv1d(d, d, 3, 2, 1) for d in dims[:-1]])
            self.middle = pair(dims[-1], dims[-1])
            self.up = nn.ModuleList([pair(2 * o, i) for i, o in reversed(list(zip(dims, dims[1:])))])
            self.twice = nn.ModuleList([nn.ConvTranspose1d(d, d, 4, 2, 1) for d in reversed(dims[:-1])])
            self.last = nn.Sequential(Block(dims[0], dims[0]), nn.Conv1d(dims[0], ACTIONS, 1))

        def forward(self, noisy, step, observations):
            half = width // 2
            angles = step[:, None] * torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
            condition = torch.cat([self.step(torch.cat([angles.sin(), angles.cos()], 1)), observations.flatten(1)], 1)
            x, beside = noisy.transpose(1, 2), []
            for level, pair in enumerate(self.down):
                for block in pair:
                    x = block(x, condition)
                beside.append(x)
                if level < len(self.halve):
                    x = self.halve[level](x)
            for block in self.middle:
                x = block(x, condition)
            for pair, double in zip(self.up, self.twice):
                x = torch.cat([x, beside.pop()], 1)
                for block in pair:
                    x = block(x, condition)
                x = double(x)
            return self.last(x).transpose(1, 2)

    network, average = Unet(), Unet()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4, (0.95, 0.999), 1e-8, 1e-6)
    kept = torch.cos((torch.linspace(0, 1, 101)[1:] + 0.008) / 1.008 * math.pi / 2) ** 2

    def train():
        clean, noise = torch.rand(BATCH, HORIZON, ACTIONS) * 2 - 1, torch.randn(BATCH, HORIZON, ACTIONS)
        step = torch.randint(0, 100, (BATCH,))
        a = kept[step][:, None, None]
        out = network(a.sqrt() * clean + (1 - a).sqrt() * noise, step, torch.randn(BATCH, LOOKS, OBSERVATIONS))
        loss = F.mse_loss(out, noise)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 0.01)

    train(), train()
    finished()
    started, spent, steps = time.perf_counter(), time.thread_time(), 0
    while time.perf_counter() - started < seconds:
        train()
        steps += 1
    finished()
    rate = steps / (time.perf_counter() - started)
    cpu = (time.thread_time() - spent) / steps * 1e3
    times = []
    with torch.inference_mode():
        observations = torch.randn(1, LOOKS, OBSERVATIONS)
        for _ in range(20):
            started = time.perf_counter()
            x = torch.randn(1, HORIZON, ACTIONS)
            for t in range(90, -1, -10):
                now, then = kept[t], kept[t - 10] if t >= 10 else torch.tensor(1.0)
                out = average(x, torch.tensor([t]), observations)
                clean = ((x - (1 - now).sqrt() * out) / now.sqrt()).clamp(-1, 1)
                x = then.sqrt() * clean + (1 - then).sqrt() * out
            finished()
            times.append((time.perf_counter() - started) * 1e3)
    count = sum(p.numel() for p in network.parameters())
    print(json.dumps({"size": size, "parameters": count, "steps_per_second": round(rate, 3), "cpu_ms_per_step": round(cpu, 1), "ms_per_chunk": round(sorted(times)[10], 2)}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--torch", choices=SIZES)
    args = parser.parse_args()
    if args.torch:
        return torch_side(args.torch, args.seconds, args.threads, args.device)
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads), "OMP_NUM_THREADS": str(args.threads)}
    for size in SIZES:
        for _ in range(args.rounds):
            same = ["--threads", str(args.threads), "--seconds", str(args.seconds), "--device", args.device]
            for name, command in {
                "ours": [args.ours, size, str(args.seconds), args.device],
                "torch": [sys.executable, __file__, args.ours, "--torch", size, *same],
            }.items():
                line = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
                print(f"{name:6} threads {args.threads}", line.strip(), flush=True)


main()
