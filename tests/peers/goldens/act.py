"""Numbers for `policy/tests/data/act.safetensors`: the network of ACT (Zhao et al. 2023, arXiv:2304.13705) in plain PyTorch.

Weights from a seed, one batch with image tokens, padded actions and weights of rows; the chunk, the style, the losses and the
gradient of every weight. Made with Python 3.11, torch 2.15.0:

  python3 tests/peers/goldens/act.py --out policy/tests/data/act.safetensors
"""

import argparse
import json
import struct

import torch
from torch import nn
from torch.nn import functional as F


def sinusoids(count, dim):
    angles = torch.tensor([[p / 10000 ** (2 * (i // 2) / dim) for i in range(dim)] for p in range(count)], dtype=torch.float64)
    table = angles.clone()
    table[:, 0::2], table[:, 1::2] = angles[:, 0::2].sin(), angles[:, 1::2].cos()
    return table.float()


class FeedForward(nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.first, self.second = nn.Linear(dim, width), nn.Linear(width, dim)

    def forward(self, x, drop):
        return self.second(drop(F.relu(self.first(x))))


class EncoderLayer(nn.Module):
    def __init__(self, dim, heads, width, dropout):
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.feed_forward = FeedForward(dim, width)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.drop = [nn.Dropout(dropout)]

    def forward(self, x, position, padded=None):
        drop = self.drop[0].train(self.training)
        q = x + position
        x = self.norm1(x + drop(self.attention(q, q, x, key_padding_mask=padded, need_weights=False)[0]))
        return self.norm2(x + drop(self.feed_forward(x, drop)))


class DecoderLayer(nn.Module):
    def __init__(self, dim, heads, width, dropout):
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.cross = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.feed_forward = FeedForward(dim, width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.drop = [nn.Dropout(dropout)]

    def forward(self, x, queries, memory, position):
        drop = self.drop[0].train(self.training)
        q = x + queries
        x = self.norm1(x + drop(self.attention(q, q, x, need_weights=False)[0]))
        x = self.norm2(x + drop(self.cross(x + queries, memory + position, memory, need_weights=False)[0]))
        return self.norm3(x + drop(self.feed_forward(x, drop)))


class Act(nn.Module):
    """Names as in `policy/src/act/network.rs`."""

    def __init__(self, state, actions, chunk, dim, heads, width, style_layers, encoder_layers, decoder_layers, latent, tokens=0, token_dim=0, dropout=0.0):
        super().__init__()
        self.latent = latent
        self.style_token = nn.Parameter(torch.randn(1, dim))
        self.style_state, self.style_action = nn.Linear(state, dim), nn.Linear(actions, dim)
        self.style_layers = nn.ModuleList(EncoderLayer(dim, heads, width, dropout) for _ in range(style_layers))
        self.style_head = nn.Linear(dim, 2 * latent)
        self.latent_in, self.state_in = nn.Linear(latent, dim), nn.Linear(state, dim)
        self.tokens_in = nn.Linear(token_dim, dim) if tokens else None
        self.position = nn.Parameter(torch.randn(2 + tokens, dim))
        self.encoder = nn.ModuleList(EncoderLayer(dim, heads, width, dropout) for _ in range(encoder_layers))
        self.queries = nn.Parameter(torch.randn(chunk, dim))
        self.decoder = nn.ModuleList(DecoderLayer(dim, heads, width, dropout) for _ in range(decoder_layers))
        self.decoder_norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, actions)
        self.register_buffer("sines", sinusoids(chunk + 2, dim), persistent=False)

    def style(self, state, actions, within):
        batch = state.shape[0]
        x = torch.cat([self.style_token.expand(batch, 1, -1), self.style_state(state)[:, None], self.style_action(actions)], 1)
        padded = torch.cat([torch.zeros(batch, 2, dtype=torch.bool), within == 0], 1)
        for layer in self.style_layers:
            x = layer(x, self.sines, padded)
        return self.style_head(x[:, 0]).split(self.latent, 1)

    def decode(self, state, style, tokens=None):
        x = [self.latent_in(style)[:, None], self.state_in(state)[:, None]]
        if tokens is not None:
            x.append(self.tokens_in(tokens))
        x = torch.cat(x, 1)
        for layer in self.encoder:
            x = layer(x, self.position)
        y = torch.zeros(state.shape[0], *self.queries.shape)
        for layer in self.decoder:
            y = layer(y, self.queries, x, self.position)
        return self.head(self.decoder_norm(y))

    def losses(self, state, actions, within, noise, tokens=None, weights=None):
        mean, log_variance = self.style(state, actions, within)
        chunk = self.decode(state, mean + (log_variance / 2).exp() * noise, tokens)
        weights = torch.ones(state.shape[0]) if weights is None else weights
        counted = (within * weights[:, None])[..., None]
        l1 = ((chunk - actions).abs() * counted).sum() / (counted.sum() * actions.shape[-1])
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(-1)
        return chunk, mean, log_variance, l1, (kl * weights).sum() / weights.sum()


def named(network, pick):
    """Name and tensor as the Rust module has them: products are `x W`, attention has three matrices for its inputs."""
    for name, parameter in network.named_parameters():
        value = pick(parameter)
        place, _, kind = name.rpartition(".")
        if kind in ("in_proj_weight", "in_proj_bias"):
            kind = kind.removeprefix("in_proj_")
            for part, third in zip(("query", "key", "value"), value.chunk(3)):
                yield f"{place}.{part}.{kind}", third.T if kind == "weight" else third
            continue
        name = name.replace("out_proj", "output")
        if "norm" in place.rpartition(".")[2]:
            yield f"{place}.{ {'weight': 'gamma', 'bias': 'beta'}[kind] }", value
        else:
            yield name, value.T if kind == "weight" else value


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        raw = tensor.detach().contiguous().float().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head + data)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", required=True)
    arguments = arguments.parse_args()
    torch.manual_seed(1)
    network = Act(state=5, actions=3, chunk=4, dim=16, heads=2, width=24, style_layers=1, encoder_layers=2, decoder_layers=2, latent=4, tokens=3, token_dim=6)
    for parameter in network.parameters():
        if parameter.dim() == 1:  # biases and norms away from 0 and 1, so that a mistake shows
            parameter.data += 0.2 * torch.randn_like(parameter)
    state, actions, noise, tokens = torch.randn(3, 5), torch.randn(3, 4, 3), torch.randn(3, 4), torch.randn(3, 3, 6)
    within = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    weights = torch.tensor([1.0, 0.5, 2.0])
    chunk, mean, log_variance, l1, kl = network.losses(state, actions, within, noise, tokens, weights)
    (l1 + 10 * kl).backward()
    tensors = {f"network.{name}": value for name, value in named(network, lambda p: p)}
    tensors |= {f"gradient.{name}": value for name, value in named(network, lambda p: p.grad)}
    tensors |= {"in.state": state, "in.actions": actions, "in.noise": noise, "in.tokens": tokens, "in.within": within, "in.weights": weights}
    tensors |= {"out.chunk": chunk, "out.mean": mean, "out.log_variance": log_variance, "out.losses": torch.stack([l1, kl])}
    write_safetensors(arguments.out, tensors)


if __name__ == "__main__":
    main()
