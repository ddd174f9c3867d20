"""Answers what the datasets library makes of repositories.

One JSON object per line in, one out. Input: {"repo", "configs": [name | null, ...],
"data_dir"?, "data_files"?, "revision"?}; the repository is on the Hub at HF_ENDPOINT. Output:
{"configs": [names], "answers": [{"config", "module", "splits"} | {"error", "text"}]},
one answer per config asked for, in order.
"""

import copy
import json
import logging
import re
import sys

import datasets
import datasets.load
from datasets import load_dataset_builder

datasets.config.USE_PARQUET_EXPORT = False  # features only, from a host that is not there
logging.disable(logging.CRITICAL)

real_factory = datasets.load.dataset_module_factory
known = {}


def factory(path, **options):
    """The library's own factory, which would be asked again for every config."""
    key = path, json.dumps([options.get("data_dir"), options.get("data_files"), options.get("revision")])
    if key not in known:
        known.clear()
        try:
            known[key] = real_factory(path, **options), None
        except Exception as error:
            known[key] = None, error
    module, error = known[key]
    if error is not None:
        raise error
    return copy.deepcopy(module)


datasets.load.dataset_module_factory = factory


def ask(case, config, names):
    try:
        builder = load_dataset_builder(
            case["repo"],
            config,
            data_dir=case.get("data_dir"),
            data_files=case.get("data_files"),
            revision=case.get("revision"),
        )
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}
    names[:] = list(builder.builder_configs)
    prefix = re.compile(r"hf://datasets/" + re.escape(case["repo"]) + "@[0-9a-f]{40}/")
    splits = [
        [str(split), [prefix.sub("", path) for path in paths]]
        for split, paths in (builder.config.data_files or {}).items()
    ]
    return {"config": builder.config.name, "module": builder.name, "splits": splits}


for line in sys.stdin:
    case = json.loads(line)
    names = []
    answers = [ask(case, config, names) for config in case["configs"]]
    print(json.dumps({"configs": names, "answers": answers}), flush=True)
