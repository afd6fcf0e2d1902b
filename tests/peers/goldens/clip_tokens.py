"""Makes perception/tests/data/clip_tokens.json: a thousand strings and the numbers that CLIPTokenizer of transformers 5.24.0
(tokenizers 0.23.3) gives them, with OpenAI's vocabulary as the crate instant-clip-tokenizer 0.1.0 carries it.

    python tests/peers/goldens/clip_tokens.py PATH_OF/bpe_simple_vocab_16e6.txt
"""

import json
import random
import sys
from pathlib import Path

from transformers import CLIPTokenizer


def vocabulary(path):
    merges = path.read_text(encoding="utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(m.split()) for m in merges]
    bs = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    cs = bs[:]
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + len(cs) - 188)
    letters = [chr(c) for c in cs]
    tokens = letters + [c + "</w>" for c in letters] + ["".join(m) for m in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: i for i, token in enumerate(tokens)}, merges


WORDS = """a an the red green blue cube block disc gripper robot arm table photo of picture on under next to holds lifted pushing
humanoid kneeling standing meditating lotus position pole cart vertically upright mountain car flag peak is isn't don't we'll they're I've
I'm he'd it's 'tis rock'n'roll COVID-19 3.14159 2,000 100% #robotics @home e-mail C++ naïve café Zürich façade Ångström œuvre straße
ﬁne ½ ²  № Ⅳ 北京 東京タワー 안녕하세요 Привет мир مرحبا שלום नमस्ते สวัสดี 🙂 🤖🦾 👩‍🚀 🇨🇭 ❤️ ∑ ∞ → ≤ π µ € £ ¥ … — – “quoted” ‘single’ «guillemets» ... !!! ??? :-) ;) <tag> </w> a_b
snake_case CamelCase ALLCAPS supercalifragilisticexpialidocious antidisestablishmentarianism xyzzy qwerty zzzzzz 007 1st 2nd 42nd""".split()


def strings():
    draw = random.Random(2103)
    yield from ["", " ", "a photo of a cat", "  leading and trailing  ", "tabs\tand\nlines", "é", "e\u0301", "\u212b", "İstanbul"]
    yield from ("a humanoid robot practicing gymnastics, doing the side splits", "word " * 120)
    while True:
        kind = draw.random()
        if kind < 0.75:
            words = [draw.choice(WORDS) for _ in range(draw.randint(1, 14))]
            words = [w.upper() if draw.random() < 0.1 else w for w in words]
            yield draw.choice([" ", " ", " ", "  ", ", ", "-", ""]).join(words) + draw.choice(["", ".", "!", "?", " …"])
        elif kind < 0.9:
            yield "".join(chr(draw.choice([draw.randint(32, 126), draw.randint(161, 591)])) for _ in range(draw.randint(1, 40)))
        else:
            yield "".join(chr(draw.choice([draw.randint(0x370, 0x52F), draw.randint(0x3041, 0x30FF), draw.randint(0x4E00, 0x9FFF), draw.randint(0x1F300, 0x1F5FF)])) for _ in range(draw.randint(1, 20)))


def main():
    vocab, merges = vocabulary(Path(sys.argv[1]))
    assert len(vocab) == 49408, len(vocab)
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges)
    rows, seen = [], set()
    for text in strings():
        if text in seen:
            continue
        seen.add(text)
        rows.append([text, tokenizer(text, truncation=True, max_length=77)["input_ids"]])
        if len(rows) == 1000:
            break
    assert rows[2][1] == [49406, 320, 1125, 539, 320, 2368, 49407], rows[2]
    out = Path(__file__).resolve().parents[3] / "perception/tests/data/clip_tokens.json"
    out.write_text(json.dumps(rows, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(out.stat().st_size)


main()
