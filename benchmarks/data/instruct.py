"""``demo/instruct``: question and answer pairs in the shape of BAAI/Infinity-Instruct.

    python -m benchmarks.data.instruct --out DIR

Columns as there: ``id``, ``conversations`` (a list of structs ``from``, ``value``), ``label``, ``langdetect``, ``source``.
Two configs, none of them the default: ``7M-core`` (four files of eight row groups) and ``gen`` (two files of four).
The answers are paragraphs of real documentation. A tenth of the rows is ``zh-cn``: the question and the opening of the answer are
Chinese. They stand in long runs, as crawls do, so that a filter on ``langdetect`` skips whole files and most row groups; run borders
fall inside row groups on purpose, so that rows still have to be filtered one by one.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.data.layout import Features, shard_paths, value, with_features, write_card, write_shards
from benchmarks.data.prose import Passage, passages

GROUP_ROWS = 750


@dataclass(frozen=True)
class Config:
    """One config: its size, and the runs of rows, as fractions of all rows, that are Chinese."""

    name: str
    files: int
    rows: int
    chinese: tuple[tuple[float, float], ...]


CONFIGS = (
    Config("7M-core", files=4, rows=24_000, chinese=((0.31, 0.37), (0.905, 0.945))),
    Config("gen", files=2, rows=6_000, chinese=((0.57, 0.63),)),
)

_TURN = pa.struct([("from", pa.string()), ("value", pa.string())])
_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("conversations", pa.list_(_TURN)),
        ("label", pa.string()),
        ("langdetect", pa.string()),
        ("source", pa.string()),
    ]
)
_FEATURES: Features = {
    "id": value("int64"),
    "conversations": {"feature": {"from": value("string"), "value": value("string")}, "_type": "List"},
    "label": value("string"),
    "langdetect": value("string"),
    "source": value("string"),
}

_ASK = {
    "en": (
        "What does `{name}` do?",
        "Explain `{name}` to somebody who sees it for the first time.",
        "I found `{name}` in a program. What should I know about it?",
        "Quote what the documentation of {package} says about `{name}`.",
    ),
    "zh-cn": (
        "`{name}` 有什么作用？",
        "请向初学者解释 `{name}`。",
        "我在程序里看到了 `{name}`，需要注意什么？",
        "请引用 {package} 文档中关于 `{name}` 的说明。",
    ),
}
_ASK_MORE = {"en": "And what else?", "zh-cn": "还有别的吗？"}
_LEAD = {"en": "", "zh-cn": "下面是 {package} 文档中的原文：\n\n"}


def make(out: Path, seed: int = 7) -> None:
    """Fills ``out`` with README.md and one folder of shards per config."""
    chance = random.Random(seed)
    texts = list(passages())
    chance.shuffle(texts)
    first = 0
    for config in CONFIGS:
        table = _table(config, texts, first, chance)
        write_shards(table, shard_paths(out / config.name, "train", config.files), GROUP_ROWS)
        first += config.rows
    write_card(out, _FRONT_MATTER, _TEXT)


def _table(config: Config, texts: list[Passage], first: int, chance: random.Random) -> pa.Table:
    rows = [_row(config, index, texts, first + index, chance) for index in range(config.rows)]
    return pa.Table.from_pylist(rows, schema=with_features(_SCHEMA, _FEATURES))


def _row(config: Config, index: int, texts: list[Passage], position: int, chance: random.Random) -> dict[str, object]:
    language = "zh-cn" if any(start <= index / config.rows < stop for start, stop in config.chinese) else "en"
    passage = texts[position % len(texts)]
    question = chance.choice(_ASK[language]).format(name=passage.name, package=passage.package)
    answer = _LEAD[language].format(package=passage.package) + passage.text
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    if chance.random() < 0.1:
        more = texts[chance.randrange(len(texts))].text
        turns += [{"from": "human", "value": _ASK_MORE[language]}, {"from": "gpt", "value": more}]
    # In the model repository the label is blank in the 7M configs and filled in the others.
    label = passage.name.rpartition(".")[2] if config.name == "gen" else ""
    return {"id": index, "conversations": turns, "label": label, "langdetect": language, "source": passage.package}


_FRONT_MATTER = (
    "pretty_name: Questions about documentation",
    "language:",
    "- en",
    "- zh",
    "configs:",
    *(
        line
        for config in CONFIGS
        for line in (
            f"- config_name: '{config.name}'",
            "  data_files:",
            "  - split: train",
            f"    path: {config.name}/*",
        )
    ),
    "size_categories:",
    "- 10K<n<100K",
)

_TEXT = """
# Questions about documentation

Made by `python -m benchmarks.data.instruct`. The shape is that of BAAI/Infinity-Instruct; the answers are paragraphs from the documentation
of pyspark, pandas, numpy, huggingface_hub, datasets, duckdb and fsspec, each under the licence of its package.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    parser.add_argument("--seed", type=int, default=7, help="decides the order of texts and the wording of questions")
    arguments = parser.parse_args()
    make(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
