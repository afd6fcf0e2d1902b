"""Makes perception/tests/data/towers.json: what the CLIP and SigLIP towers of transformers 5.24.0 (torch 2.15.0, float32, CPU) make
of given pictures and sentences, with weights that both sides compute from the names of the tensors.

Weight `i` of tensor `name` is `offset + scale * u`, u in -1..1: the upper 24 bits of splitmix64(fnv1a(name) + i) over 2^23, less 1;
offset 1 for the weights of norms, else 0; scale 0.1 for norms, 0.02 for biases, else sqrt(3 / inputs) with `inputs` the product of
all extents but the first (embeddings: 0.5).

    python tests/peers/goldens/towers.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

MASK = (1 << 64) - 1


def fnv1a(name):
    hash = 0xCBF29CE484222325
    for byte in name.encode():
        hash = ((hash ^ byte) * 0x100000001B3) & MASK
    return hash


def uniform(name, count):
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + np.uint64(fnv1a(name)) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def weight(name, shape):
    norm = "norm" in name or "layrnorm" in name
    if norm and name.endswith("weight"):
        offset, scale = 1.0, 0.1
    elif norm or name.endswith("bias"):
        offset, scale = 0.0, 0.1 if norm else 0.02
    elif "embedding" in name and "patch" not in name or name.endswith("probe"):
        offset, scale = 0.0, 0.5
    else:
        offset, scale = 0.0, float(np.sqrt(np.float32(3) / np.float32(np.prod(shape[1:]))))
    values = uniform(name, int(np.prod(shape))) * np.float32(scale) + np.float32(offset)
    return torch.from_numpy(values.reshape(shape))


def pixels(batch, side):
    # Normalised pictures, any numbers will do: the formula again.
    return torch.from_numpy(uniform("pictures", batch * 3 * side * side).reshape(batch, 3, side, side))


def fill(model):
    own = model.state_dict()
    model.load_state_dict({name: weight(name, tuple(t.shape)) for name, t in own.items() if t.dim() > 0 and "position_ids" not in name}, strict=False)
    return model.eval()


def unit(out):
    out = out if torch.is_tensor(out) else out.pooler_output
    return [[round(v, 7) for v in row] for row in torch.nn.functional.normalize(out, dim=-1).tolist()]


SMALL = dict(intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, hidden_size=48)


def clip(text, vision, common, sentences):
    config = CLIPConfig(text_config={**text, "eos_token_id": text["vocab_size"] - 1, "bos_token_id": text["vocab_size"] - 2}, vision_config=vision, projection_dim=common)
    return config, fill(CLIPModel(config)), sentences


def main():
    small_text = {**SMALL, "vocab_size": 100, "max_position_embeddings": 12}
    small_picture = {**SMALL, "hidden_size": 64, "image_size": 34, "patch_size": 8}
    base_text = dict(hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8, vocab_size=49408, max_position_embeddings=77)
    base_picture = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=32)
    short = [[98, 5, 17, 99], [98, 99], [98, 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 99]]
    long = [[49406, 320, 1125, 539, 320, 2368, 49407], [49406, 49407]]
    siglip_text = {**SMALL, "vocab_size": 100, "max_position_embeddings": 8, "eos_token_id": 1, "bos_token_id": 0}
    full = [[7, 3, 1, 1, 1, 1, 1, 1], [1] * 8, [9, 8, 7, 6, 5, 4, 3, 1]]
    cases = {
        "clip-small": clip(small_text, small_picture, 24, short),
        "clip-gelu-small": clip({**small_text, "hidden_act": "gelu"}, {**small_picture, "hidden_act": "gelu"}, 24, short),
        "clip-vit-b-32": clip(base_text, base_picture, 512, long),
    }
    siglip = SiglipConfig(text_config=siglip_text, vision_config={**SMALL, "image_size": 34, "patch_size": 8})
    cases["siglip-small"] = (siglip, fill(SiglipModel(siglip)), full)
    goldens = {}
    for name, (config, model, sentences) in cases.items():
        side = config.vision_config.image_size
        with torch.no_grad():
            pictures = unit(model.get_image_features(pixel_values=pixels(2, side)))
            rows = [unit(model.get_text_features(input_ids=torch.tensor([ids])))[0] for ids in sentences]
        text = {k: config.text_config.to_dict()[k] for k in ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "max_position_embeddings", "hidden_act", "layer_norm_eps"]}
        vision = {k: config.vision_config.to_dict()[k] for k in ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size", "hidden_act", "layer_norm_eps"]}
        described = {"model_type": config.model_type, "text_config": text, "vision_config": vision}
        if config.model_type == "clip":
            described["projection_dim"] = config.projection_dim
        shapes = {k: list(t.shape) for k, t in model.state_dict().items() if "position_ids" not in k and not k.startswith("logit")}
        goldens[name] = {"config": described, "shapes": shapes, "pictures": pictures, "sentences": sentences, "rows": rows}
        print(name, len(shapes), pictures[0][:3], rows[0][:3])
    out = Path(__file__).resolve().parents[3] / "perception/tests/data/towers.json"
    out.write_text(json.dumps(goldens) + "\n")


main()
