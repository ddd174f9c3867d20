"""Tells which files the datasets library reads for every config and split.

One JSON object per line in, one out. Input: {"repo", "revision"}, of the Hub at HF_ENDPOINT. Output: {"default": name |
null, "configs": {name: [[split, [paths]], ...] | "error"}}, or {"error": text} if not even the configs can be told.
"""

import copy
import json
import logging
import re
import sys

import datasets
import datasets.inspect
import datasets.load
from datasets import load_dataset_builder

datasets.config.USE_PARQUET_EXPORT = False  # features only, from a host that is not there
logging.disable(logging.CRITICAL)

real_factory = datasets.load.dataset_module_factory
known = {}


def factory(path, revision=None, **options):
    """The library's own factory, which would be asked again for every config."""
    key = path, revision
    if key not in known:
        known.clear()
        known[key] = real_factory(path, revision=revision, **options)
    return copy.deepcopy(known[key])


datasets.load.dataset_module_factory = datasets.inspect.dataset_module_factory = factory


def splits(repo, revision, config):
    """The files of a config, as the builder that would read them has them."""
    try:
        builder = load_dataset_builder(repo, config, revision=revision)
    except Exception as error:
        return type(error).__name__
    prefix = re.compile(r"hf://datasets/" + re.escape(repo) + "@[0-9a-f]{40}/")
    return [
        [str(split), [prefix.sub("", path) for path in paths]]
        for split, paths in (builder.config.data_files or {}).items()
    ]


def resolve(repo, revision):
    try:
        names = datasets.get_dataset_config_names(repo, revision=revision)
        default = datasets.get_dataset_default_config_name(repo, revision=revision)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"default": default, "configs": {name: splits(repo, revision, name) for name in names}}


for line in sys.stdin:
    case = json.loads(line)
    print(json.dumps(resolve(case["repo"], case["revision"])), flush=True)
