"""Answers which rows the datasets library reads of a split.

One JSON object per line in, one out. Input: {"repo", "config"?, "revision"?, "splits": [name | null, ...]}; the
repository is on the Hub at HF_ENDPOINT and its rows have a column id. Output: {"error"} if the config cannot be
read, else {"answers": [{"ids": {split: [...]}} | {"error"}]}, one answer per split asked for, in order; the split
is "" where one was named.
"""

import json
import logging
import sys

import datasets
from datasets import load_dataset_builder

datasets.config.USE_PARQUET_EXPORT = False  # features only, from a host that is not there
datasets.disable_progress_bars()
logging.disable(logging.CRITICAL)


def ask(builder, split):
    try:
        data = builder.as_dataset(split=split)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    parts = data if isinstance(data, dict) else {"": data}
    return {"ids": {name: list(part["id"]) for name, part in parts.items()}}


for line in sys.stdin:
    case = json.loads(line)
    try:
        builder = load_dataset_builder(case["repo"], case.get("config"), revision=case.get("revision"))
        builder.download_and_prepare()
        answer = {"answers": [ask(builder, split) for split in case["splits"]]}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
