"""`write_parquet`: a DataFrame as Parquet files at a path of a dataset repository, like the Hub's own helper."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from hubflight import literals
from hubflight._secret import Secret
from hubflight.errors import InvalidOption, Unsupported
from hubflight.options import WriteOptions, dataset_name, parse_mode, parse_write, split_revision
from pyspark_hubflight.conf import is_case_sensitive, with_token

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from hubflight.writing import Job, WriteResult

__all__ = ["write_parquet"]

# Keywords of pyarrow.parquet.ParquetWriter that mean the same here (the value, if the name differs).
_MAPPED = {
    "compression": "compression",
    "compression_level": "compression_level",
    "use_dictionary": "use_dictionary",
    "write_statistics": "write_statistics",
    "data_page_size": "data_page_size",
    "write_page_index": "write_page_index",
    "row_group_size": "row_group_size",
    "row_group_bytes": "row_group_bytes",
    "keep_features": "keep_features",
    "max_bytes_per_file": "max_bytes_per_file",
    "max_operations_per_commit": "max_operations_per_commit",
    "commit_message": "commit_message",
    "create_repo": "create_repo",
    "private": "private",
    "create_pr": "create_pr",
    "publish": "publish",
    "revision": "revision",
    "server": "server",
    "server_token": "server_token",
    "token": "token",
    "endpoint": "endpoint",
}
# Keywords of ParquetWriter that the server decides, with the values that are what it does anyway.
_FIXED: dict[str, tuple[Any, ...]] = {
    "version": ("2.6", "2.4"),
    "flavor": (None,),
    "use_deprecated_int96_timestamps": (None, False),
    "coerce_timestamps": (None, "us"),
    "allow_truncated_timestamps": (False, True),
    "data_page_version": ("1.0",),
    "use_compliant_nested_type": (True,),
    "use_byte_stream_split": (False,),
    "column_encoding": (None,),
    "encryption_properties": (None,),
    "write_batch_size": (None,),
    "dictionary_pagesize_limit": (None,),
    "store_schema": (True,),
    "write_page_checksum": (False,),
    "sorting_columns": (None,),
    "store_decimal_as_integer": (False,),
    "write_time_adjusted_to_utc": (False,),
    "max_rows_per_page": (None,),
    "memory_pool": (None,),
    "writer_engine_version": (None, "V2"),
    "metadata_collector": (None,),
}
_IGNORED = ("use_content_defined_chunking",)


def write_parquet(
    df: DataFrame, path: str | PathLike[str], *, progress: bool | None = None, **kwargs: Any
) -> WriteResult:
    """Writes ``df`` as Parquet to ``path``: tasks upload in parallel, then the driver commits 50 files at a time.

    A path that ends in ``.parquet`` or ``.pq`` becomes one file of exactly that name; any other is a folder in which
    ``part-00000.parquet``, ``part-00001.parquet``, … are written, in partition order and without empty partitions.

    Args:
        df: the DataFrame.
        path: ``hf://datasets/ns/name[@revision][/path]`` or ``file:///folder[/path]``.
        progress: whether a bar counts the files as they are uploaded (needs tqdm); by default only on a terminal.
        kwargs: ``mode``: by default files of the same names are replaced and stale ones of an earlier, longer write
            are reported; ``"append"`` continues the numbering, ``"overwrite"`` also deletes stale parts, ``"error"``
            refuses an existing target. ``storage_options={"token": …}`` or ``filesystem``: where the token comes from.
            ``server``, ``server_token``, ``create_repo``, ``private``, ``create_pr``, ``max_operations_per_commit``,
            ``commit_message``. All others are keywords of `pyarrow.parquet.ParquetWriter`; those that cannot be
            honoured are refused by name.

    Returns:
        What the commit did: the commits, the paths, the rows, and stale files.
    """
    given = kwargs.pop("mode", None)
    mode = None if given is None else parse_mode(given)
    options, naming = _options(path, kwargs, df.sparkSession)
    if naming == "file":
        df = df.coalesce(1)
    job = _begin(df, options, mode, naming)
    if job.skipped is not None:
        from hubflight.writing import WriteResult

        return WriteResult(skipped=job.skipped)
    return run_job(df, job, keep_schema=mode != "append", progress=progress)


def run_job(df: DataFrame, job: Job, keep_schema: bool, progress: bool | None = None) -> WriteResult:
    """Stages the partitions of ``df`` in tasks and commits; with ``keep_schema`` also if there is not one row."""
    from hubflight.progress import Bar
    from pyspark_hubflight.counting import counter

    try:
        # How many files there will be is known only when all are written: each partition may make several, or none.
        with Bar("write", -1, "files", progress) as bar:
            staging = _stage_function(job, counter(df.sparkSession, bar))
            rows = df.mapInArrow(staging, "files string").collect()
        files = [record for row in rows for record in json.loads(row["files"])]
        if not files and keep_schema:
            files = job.stage_empty()
    except BaseException:
        job.abort()
        raise
    return job.commit(files)


def _begin(df: DataFrame, options: WriteOptions, mode: str | None, naming: str) -> Job:
    from hubflight.connection import connect_to
    from hubflight.writing import Job

    return Job.begin(connect_to(options.connecting, options.dataset), options, mode, written_schema(df), naming)


def written_schema(df: DataFrame) -> pa.Schema:
    """The Arrow schema in which a DataFrame is written; one that cannot be is refused, by its column."""
    from pyspark_hubflight.schemas import arrow_schema, check_names

    if not is_case_sensitive(df.sparkSession):
        check_names(df.schema, "set spark.sql.caseSensitive")
    return arrow_schema(df.schema)


def _stage_function(
    job: Job, count: Callable[[int], None]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def stage(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        from pyspark_hubflight.attempts import attempt_of_task

        files = job.stage(batches, *attempt_of_task(), interruptible=False)
        count(len(files))
        yield pa.RecordBatch.from_pydict({"files": [json.dumps(files)]}, schema=pa.schema([("files", pa.string())]))

    return stage


def _options(path: str | PathLike[str], kwargs: Mapping[str, Any], session: SparkSession) -> tuple[WriteOptions, str]:
    """The options of the job, and the naming: file or parts."""
    given: dict[str, Any] = {}
    for name, value in kwargs.items():
        if name in _MAPPED:
            given[_MAPPED[name]] = value
        elif name in _FIXED:
            if value not in _FIXED[name]:
                raise Unsupported(
                    f"[unsupported] write_parquet: {name}={value!r}: the server writes the files and cannot do that"
                )
        elif name == "bloom_filter_options":
            given["bloom_columns"] = _bloom_columns(value)
        elif name in _IGNORED:
            warnings.warn(f"hubflight: {name} has no effect", stacklevel=3)
        elif name not in ("filesystem", "storage_options"):
            others = ("bloom_filter_options", "mode", "filesystem", "storage_options")
            hint = literals.nearest(name, [*_MAPPED, *_FIXED, *others])
            raise InvalidOption(f"[invalid] write_parquet: unknown argument {name!r}{hint}")
    if isinstance(given.get("compression"), Mapping):
        raise Unsupported("[unsupported] write_parquet: compression per column: give one for all columns")
    for name, value in _credentials(kwargs.get("storage_options"), kwargs.get("filesystem")).items():
        given.setdefault(name, value)
    dataset, directory, naming = _target(path)
    options = parse_write({**with_token(given, session), "path": dataset})
    if directory:
        options.target["dir"] = directory
    return options, naming


# Of a value that is not there, how often a filter of the server says that it may be.
_FALSE_POSITIVES = 0.01


def _bloom_columns(options: object) -> list[str] | None:
    """The columns of pyarrow's ``bloom_filter_options``.

    The server counts the values and makes its filters as large as they need, so that ``ndv`` has nothing to say; an
    ``fpp`` that is smaller than the server's is refused.
    """
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise InvalidOption(
            "[invalid] write_parquet: bloom_filter_options is a dict such as {'url': True} or {'url': {'fpp': 0.01}}"
        )
    columns: list[str] = []
    for column, wanted in options.items():
        if isinstance(wanted, Mapping) and set(wanted) <= {"ndv", "fpp"}:
            if wanted.get("fpp", _FALSE_POSITIVES) < _FALSE_POSITIVES:
                raise Unsupported(
                    f"[unsupported] write_parquet: bloom_filter_options: fpp={wanted['fpp']!r} of {column!r}: the "
                    f"server's filters are made for {_FALSE_POSITIVES}: give that or more"
                )
        elif not isinstance(wanted, bool):
            raise InvalidOption(
                f"[invalid] write_parquet: bloom_filter_options of {column!r}: true, false or a dict with ndv and fpp "
                f"is needed, not {wanted!r}"
            )
        if wanted is not False:
            columns.append(column)
    return columns or None


def _target(path: str | PathLike[str]) -> tuple[str, str, str]:
    """A path divided into dataset, what is below it, and the naming."""
    path = dataset_name(path.strip() if isinstance(path, str) else path)
    naming = "file" if path.endswith((".parquet", ".pq")) else "parts"
    if path.startswith("file://"):
        path = path.rstrip("/")
        if naming == "file":
            folder, _, name = path.rpartition("/")
            return folder, name, naming
        return path, "", naming
    if path.startswith("hf://") and not path.startswith("hf://datasets/"):
        return path, "", naming  # a bucket, perhaps: the server says what it thinks of it
    name, revision = split_revision(path)
    below = name.removeprefix("hf://datasets/").strip("/").split("/", 2)
    if len(below) < 2:
        raise InvalidOption(f"[invalid] write_parquet: {path!r} is not hf://datasets/ns/name[/path]")
    dataset = "/".join(below[:2]) + (f"@{_escaped(revision)}" if revision else "")
    return dataset, below[2] if len(below) == 3 else "", naming


def _escaped(revision: str) -> str:
    if revision.startswith(("refs/pr/", "refs/convert/")):
        return revision
    return revision.replace("%", "%25").replace("/", "%2F")


def _credentials(storage_options: object, filesystem: Any) -> dict[str, Any]:
    """Token and endpoint out of fsspec's options, or out of a Hub filesystem."""
    out: dict[str, Any] = {}
    if filesystem is not None:
        protocol = getattr(filesystem, "protocol", ())
        if "hf" not in ((protocol,) if isinstance(protocol, str) else protocol):
            raise Unsupported("[unsupported] write_parquet: filesystem: only a Hub filesystem (hf), for its token")
        out = {"token": getattr(filesystem, "token", None), "endpoint": getattr(filesystem, "endpoint", None)}
    if storage_options is not None:
        if not isinstance(storage_options, Mapping):
            raise InvalidOption("[invalid] write_parquet: storage_options is a dict such as {'token': …}")
        unknown = [name for name in storage_options if name not in ("token", "endpoint")]
        if unknown:
            raise InvalidOption(
                f"[invalid] write_parquet: storage_options has {unknown[0]!r}; only token and endpoint are known"
            )
        out.update(storage_options)
    # A filesystem's token may be True or False: "the login's" or "none"; neither is one to send.
    return {name: value for name, value in out.items() if isinstance(value, (str, Secret)) and value}
