"""Pictures a second of EfficientNet-Lite0 up to a block: Rapport beside the same layers in PyTorch, in the same run.

    python benches/features.py                 build and run `cargo run -p rapport-perception --example encoder_speed`
    python benches/features.py --ours PATH     use that program instead

Timing only: PyTorch's weights are random (its package has no EfficientNet-Lite0), normalisation folded into the convolutions as ours is, in
`torch.inference_mode`, plain and traced with `torch.jit`. Needs torch.
"""

import argparse
import os
import subprocess
import time

import torch
from torch import nn

STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]


class Block(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, expansion):
        super().__init__()
        wide = inputs * expansion
        layers = [nn.Conv2d(inputs, wide, 1), nn.ReLU6(True)] if expansion > 1 else []
        layers += [nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide), nn.ReLU6(True), nn.Conv2d(wide, outputs, 1)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return self.layers(x) + x if self.residual else self.layers(x)


def network(blocks):
    layers, inputs = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6(True)], 32
    for repeats, kernel, stride, expansion, outputs in STAGES:
        for repeat in range(repeats):
            if len(layers) - 2 < blocks:
                layers.append(Block(inputs, outputs, kernel, stride if repeat == 0 else 1, expansion))
            inputs = outputs
    return nn.Sequential(*layers).eval()


def rate(run, count, seconds):
    run()
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        run()
        best = max(best, count / (time.perf_counter() - begin))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", help="the program; without it cargo builds and runs it")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    command = [args.ours] if args.ours else "cargo run -q -p rapport-perception --example encoder_speed --".split()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for blocks, size in [(11, 112), (5, 112), (16, 224)]:
        if torch.cuda.is_available():
            there, crowd = network(blocks).cuda(), torch.rand(args.batch, 3, size, size)
            with torch.inference_mode():
                # As for ours: pictures go there and features come back.
                gpu = rate(lambda: there(crowd.cuda()).cpu(), args.batch, args.seconds)
            print(f"torch on {torch.cuda.get_device_name()}, block {blocks - 1} at {size} px, batch {args.batch}: {gpu:.0f} pictures/s")
        net, pictures = network(blocks), torch.rand(args.batch, 3, size, size)
        with torch.inference_mode():
            plain = rate(lambda: net(pictures), args.batch, args.seconds)
            last = net.to(memory_format=torch.channels_last)
            lines = pictures.to(memory_format=torch.channels_last)
            channels_last = rate(lambda: last(lines), args.batch, args.seconds)
            traced = torch.jit.freeze(torch.jit.trace(last, lines))
            for _ in range(3):
                traced(lines)
            frozen = rate(lambda: traced(lines), args.batch, args.seconds)
        print(f"torch, block {blocks - 1} at {size} px, batch {args.batch}: {plain:.0f} pictures/s, channels last {channels_last:.0f}, traced {frozen:.0f}")


if __name__ == "__main__":
    main()
