"""Outputs and gradients of the denoisers, from plain PyTorch layers with the same weights.

    python tests/peers/goldens/diffusion.py policy/tests/data/diffusion.safetensors

The networks are put together here from torch.nn alone (Conv1d, ConvTranspose1d, GroupNorm, TransformerDecoderLayer), as the
paper's text and figures describe them. A weight is a sine of its place and its name, so only results are stored.
"""

import json
import math
import struct
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
BATCH, HORIZON, ACTION, LOOKS, SEEN = 2, 8, 2, 2, 3
STEPS = [3, 47]


def sine(name, shape, size=0.3):
    count = int(np.prod(shape))
    start = sum(name.encode())
    return torch.tensor(size * np.sin(0.7 * np.arange(count) + start).reshape(shape)).float().double()


class Ours:
    """Weights by our name, put into torch layers, and their gradients brought back."""

    def __init__(self):
        self.back = {}

    def put(self, name, parameter, shape, forth, back):
        with torch.no_grad():
            parameter.copy_(forth(sine(name, shape)))
        self.back[name] = lambda: back(parameter.grad).reshape(shape)

    def linear(self, name, layer):
        shape = (layer.in_features, layer.out_features)
        self.put(f"{name}.weight", layer.weight, shape, lambda w: w.T, lambda g: g.T)
        self.vector(f"{name}.bias", layer.bias)
        return layer

    def vector(self, name, parameter):
        self.put(name, parameter, (1, parameter.numel()), lambda b: b[0], lambda g: g)

    def norm(self, name, layer):
        self.vector(f"{name}.scale", layer.weight)
        self.vector(f"{name}.shift", layer.bias)
        return layer

    def convolution(self, name, layer):
        out, inputs, kernel = layer.weight.shape
        self.put(
            f"{name}.weight", layer.weight, (kernel * inputs, out),
            lambda w: w.reshape(kernel, inputs, out).permute(2, 1, 0), lambda g: g.permute(2, 1, 0),
        )
        self.vector(f"{name}.bias", layer.bias)
        return layer

    def double(self, name, layer):
        channels = layer.weight.shape[0]
        both = {}
        for part, taps in (("even", (3, 1)), ("odd", (2, 0))):
            shape = (2 * channels, channels)
            value = sine(f"{name}.{part}", shape).reshape(2, channels, channels)
            with torch.no_grad():
                for row, tap in enumerate(taps):
                    layer.weight[:, :, tap] = value[row]
            self.back[f"{name}.{part}"] = lambda taps=taps, shape=shape: torch.cat([layer.weight.grad[:, :, t] for t in taps]).reshape(shape)
        self.vector(f"{name}.bias", layer.bias)
        return layer


def embedding(width):
    half = width // 2
    frequencies = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
    angles = torch.tensor(STEPS)[:, None] * frequencies[None]
    return torch.cat([angles.sin(), angles.cos()], -1)


class Unet:
    def __init__(self, dims, groups, kernel, width):
        self.ours, self.dims, self.groups, self.kernel, self.width = Ours(), dims, groups, kernel, width

    def block(self, name, x, inputs, outputs):
        convolution = self.ours.convolution(f"{name}.convolution", nn.Conv1d(inputs, outputs, self.kernel, padding=self.kernel // 2))
        norm = self.ours.norm(f"{name}.norm", nn.GroupNorm(self.groups, outputs))
        return F.mish(norm(convolution(x)))

    def residual(self, name, x, condition, inputs, outputs):
        y = self.block(f"{name}.first", x, inputs, outputs)
        film = self.ours.linear(f"{name}.condition", nn.Linear(condition.shape[1], 2 * outputs))(condition)
        scale, shift = film[:, :outputs, None], film[:, outputs:, None]
        y = self.block(f"{name}.second", scale * y + shift, outputs, outputs)
        past = self.ours.convolution(f"{name}.past", nn.Conv1d(inputs, outputs, 1)) if inputs != outputs else nn.Identity()
        return y + past(x)

    def both(self, name, x, condition, inputs, outputs):
        x = self.residual(f"{name}.0", x, condition, inputs, outputs)
        return self.residual(f"{name}.1", x, condition, outputs, outputs)

    def __call__(self, noisy, observations):
        first = self.ours.linear("step.0", nn.Linear(self.width, 4 * self.width))
        second = self.ours.linear("step.1", nn.Linear(4 * self.width, self.width))
        step = second(F.mish(first(embedding(self.width))))
        condition = F.mish(torch.cat([step, observations.flatten(1)], 1))
        x, beside, inputs = noisy.transpose(1, 2), [], ACTION
        for level, channels in enumerate(self.dims):
            x = self.both(f"down.{level}", x, condition, inputs, channels)
            beside.append(x)
            if level + 1 < len(self.dims):
                x = self.ours.convolution(f"down.{level}.halve", nn.Conv1d(channels, channels, 3, 2, 1))(x)
            inputs = channels
        x = self.both("middle", x, condition, inputs, inputs)
        for level in range(len(self.dims) - 1, 0, -1):
            channels = self.dims[level - 1]
            x = self.both(f"up.{level}", torch.cat([x, beside.pop()], 1), condition, 2 * self.dims[level], channels)
            x = self.ours.double(f"up.{level}.double", nn.ConvTranspose1d(channels, channels, 4, 2, 1))(x)
        x = self.block("last", x, self.dims[0], self.dims[0])
        return self.ours.linear("out", nn.Linear(self.dims[0], ACTION))(x.transpose(1, 2))


class Transformer:
    def __init__(self, width, layers, heads):
        self.ours, self.width, self.layers, self.heads = Ours(), width, layers, heads

    def place(self, name, rows):
        parameter = nn.Parameter(torch.zeros(rows, self.width))
        self.ours.put(name, parameter, (rows, self.width), lambda p: p, lambda g: g)
        return parameter

    def attention(self, name, layer):
        for i, part in enumerate(("query", "key", "value")):
            rows = slice(i * self.width, (i + 1) * self.width)
            shape = (self.width, self.width)
            with torch.no_grad():
                layer.in_proj_weight[rows] = sine(f"{name}.{part}.weight", shape).T
                layer.in_proj_bias[rows] = sine(f"{name}.{part}.bias", (self.width,))
            self.ours.back[f"{name}.{part}.weight"] = lambda rows=rows: layer.in_proj_weight.grad[rows].T
            self.ours.back[f"{name}.{part}.bias"] = lambda rows=rows: layer.in_proj_bias.grad[rows][None]
        self.ours.linear(f"{name}.out", layer.out_proj)

    def __call__(self, noisy, observations):
        width, ours = self.width, self.ours
        seen = ours.linear("observation", nn.Linear(SEEN, width))(observations)
        memory = torch.cat([embedding(width)[:, None], seen], 1) + self.place("memory_place", 1 + LOOKS)
        wide = ours.linear("memory.0", nn.Linear(width, 4 * width))
        memory = ours.linear("memory.1", nn.Linear(4 * width, width))(F.mish(wide(memory)))
        x = ours.linear("action", nn.Linear(ACTION, width))(noisy) + self.place("action_place", HORIZON)
        row = torch.arange(HORIZON)[:, None]
        later = row < torch.arange(HORIZON)[None]
        unseen = row + 1 < torch.arange(1 + LOOKS)[None]
        for i in range(self.layers):
            layer = nn.TransformerDecoderLayer(width, self.heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            name = f"layers.{i}"
            self.attention(f"{name}.own", layer.self_attn)
            self.attention(f"{name}.cross", layer.multihead_attn)
            ours.linear(f"{name}.wide", layer.linear1)
            ours.linear(f"{name}.narrow", layer.linear2)
            for j, norm in enumerate((layer.norm1, layer.norm2, layer.norm3)):
                ours.norm(f"{name}.norms.{j}", norm)
            x = layer(x, memory, tgt_mask=later, memory_mask=unseen)
        x = ours.norm("norm", nn.LayerNorm(width))(x)
        return ours.linear("out", nn.Linear(width, ACTION))(x)


def write(path, tensors):
    header, body = {}, b""
    for name, tensor in tensors.items():
        data = np.ascontiguousarray(tensor.detach().numpy().astype("<f4")).tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


tensors = {}
for kind, network in {"unet": Unet([8, 16], 4, 5, 8), "transformer": Transformer(8, 2, 2)}.items():
    noisy = sine("noisy", (BATCH, HORIZON, ACTION), 1.0).requires_grad_()
    observations = sine("observations", (BATCH, LOOKS, SEEN), 1.0)
    out = network(noisy, observations)
    (out * sine("probe", out.shape, 1.0)).sum().backward()
    tensors[f"{kind}.out"] = out
    tensors[f"{kind}.noisy"] = noisy.grad
    for name, back in network.ours.back.items():
        tensors[f"{kind}.gradient.{name}"] = back()
write(sys.argv[1], tensors)
