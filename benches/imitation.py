"""ACT: steps a second of training and the time of one look, ours against PyTorch on the same processor, turn about.

  cargo build -p rapport-policy --example act_speed
  python3 benches/imitation.py [--rounds 3] [--seconds 6] [--lerobot] [--device gpu]

Ours is `policy/examples/act_speed.rs` in the profile it was built with. PyTorch is the same network (`tests/peers/goldens/act.py`)
with AdamW and gradient clipping; with --lerobot, for the cases without pictures, LeRobot's own `ACT` module (its ResNet never
runs then). Pictures are tokens of a frozen encoder for both: LeRobot's ResNet-18 backbone is left out. Medians of the rounds;
threads are what each chooses, or --threads for both. With --device gpu both train on the graphics adapter (ours through wgpu, so build with
--features gpu; PyTorch through CUDA); the look is the processor's for ours, as a policy acts there.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = {
    "laptop": dict(chunk=20, dim=128, heads=4, width=512, style_layers=2, encoder_layers=2, decoder_layers=1, latent=32),
    "pictures": dict(chunk=20, dim=128, heads=4, width=512, style_layers=2, encoder_layers=2, decoder_layers=1, latent=32, tokens=49, token_dim=112),
    "published": dict(chunk=100, dim=512, heads=8, width=3200, style_layers=4, encoder_layers=4, decoder_layers=1, latent=32),
}
BATCH = {"laptop": 32, "pictures": 32, "published": 8}
STATE, ACTIONS = 14, 6


def lerobot_act(shape):
    """LeRobot's network for a state alone."""
    import lerobot

    # The packages' own __init__ imports what every policy needs; only ACT's files are wanted.
    for name in ("lerobot.policies", "lerobot.policies.act"):
        package = sys.modules.setdefault(name, types.ModuleType(name))
        package.__path__ = [str(Path(lerobot.__file__).parent / name.partition(".")[2].replace(".", "/"))]
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACT

    config = ACTConfig(
        chunk_size=shape["chunk"], n_action_steps=shape["chunk"], dim_model=shape["dim"], n_heads=shape["heads"], dim_feedforward=shape["width"],
        n_vae_encoder_layers=shape["style_layers"], n_encoder_layers=shape["encoder_layers"], n_decoder_layers=shape["decoder_layers"], latent_dim=shape["latent"],
        input_features={"observation.state": PolicyFeature(FeatureType.STATE, (STATE,)), "observation.environment_state": PolicyFeature(FeatureType.ENV, (STATE,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (ACTIONS,))},
        device="cpu",
    )
    return ACT(config)


def torch_side(case, seconds, lerobot, device):
    import torch

    if device == "gpu":
        torch.set_default_device("cuda")
    finished = torch.cuda.synchronize if device == "gpu" else lambda: None

    if threads := os.environ.get("BENCH_THREADS"):
        torch.set_num_threads(int(threads))
    shape, batch = CASES[case], BATCH[case]
    torch.manual_seed(0)
    state, actions = torch.rand(batch, STATE), torch.rand(batch, shape["chunk"], ACTIONS)
    pad = torch.zeros(batch, shape["chunk"], dtype=torch.bool)
    within, tokens = (~pad).float(), None
    if lerobot:
        network = lerobot_act(shape)
        seen = {"observation.state": state, "observation.environment_state": state}

        def losses():
            chunk, (mean, log_variance) = network({**seen, "action": actions, "action_is_pad": pad})
            l1 = ((chunk - actions).abs() * within[..., None]).mean()
            return l1 + 10 * (-0.5 * (1 + log_variance - mean**2 - log_variance.exp())).sum(-1).mean()

        def look():
            return network({name: value[:1] for name, value in seen.items()})[0]
    else:
        spec = importlib.util.spec_from_file_location("golden_act", ROOT / "tests/peers/goldens/act.py")
        golden = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(golden)
        network = golden.Act(state=STATE, actions=ACTIONS, dropout=0.1, **shape)
        if shape.get("tokens"):
            tokens = torch.rand(batch, shape["tokens"], shape["token_dim"])

        def losses():
            *_, l1, kl = network.losses(state, actions, within, torch.randn(batch, shape["latent"]), tokens)
            return l1 + 10 * kl

        def look():
            return network.decode(state[:1], torch.zeros(1, shape["latent"]), None if tokens is None else tokens[:1])

    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=1e-4)

    def step():
        loss = losses()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()

    network.train()
    for _ in range(3):
        step()
    finished()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        count += 1
    finished()
    rate = count / (time.perf_counter() - start)
    network.eval()
    looks, start = [], time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - start < 0.3 * seconds:
            before = time.perf_counter()
            look()
            finished()
            looks.append(1e3 * (time.perf_counter() - before))
    print(json.dumps({"steps_per_second": rate, "look_ms": statistics.median(looks)}))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=6)
    arguments.add_argument("--threads")
    arguments.add_argument("--lerobot", action="store_true")
    arguments.add_argument("--cases", nargs="*", default=list(CASES))
    arguments.add_argument("--ours", default=os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target")) + "/debug/examples/act_speed")
    arguments.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    arguments.add_argument("--torch-side", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.torch_side:
        return torch_side(options.torch_side, options.seconds, options.lerobot, options.device)
    environment = dict(os.environ)
    if options.threads:
        environment |= {"RAYON_NUM_THREADS": options.threads, "OMP_NUM_THREADS": options.threads, "BENCH_THREADS": options.threads}
    for case in options.cases:
        commands = {"ours": [options.ours, case, str(options.seconds), options.device]}
        peer = [sys.executable, __file__, "--torch-side", case, "--seconds", str(options.seconds), "--device", options.device]
        commands["pytorch"] = peer
        if options.lerobot and "tokens" not in CASES[case]:
            commands["lerobot"] = peer + ["--lerobot"]
        runs = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
                runs[name].append(json.loads(output.stdout.splitlines()[-1]))
        for name, results in runs.items():
            middle = {key: statistics.median(r[key] for r in results) for key in ("steps_per_second", "look_ms")}
            print(f"{case:10} {name:8} {middle['steps_per_second']:8.2f} steps/s  {middle['look_ms']:8.3f} ms a look", flush=True)


if __name__ == "__main__":
    main()
