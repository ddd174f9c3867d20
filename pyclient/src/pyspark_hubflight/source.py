"""The data source: options, schema, and the way to reader and writer.

Nothing heavy is imported at the top, because Spark loads this module in many short-lived processes.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NoReturn

from pyspark.sql.datasource import DataSource

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

    from hubflight.connection import Server
    from pyspark_hubflight.reader import Reader
    from pyspark_hubflight.writer import Writer

__all__ = ["DefaultSource", "PythonSource", "register_as"]

_SECRET = ("token", "server_token")
_VIEW = "use CREATE TEMPORARY VIEW name USING hubflight OPTIONS (path 'ns/name')"


class DefaultSource(DataSource):
    """Reads and writes Hugging Face datasets through a hubflight server; the options are those of the README.

    An instance lives through `schema()`, is pickled, and continues as reader or writer in another process: so the
    snapshot that `schema()` saw is kept on the instance, and everything later is pinned to it. If the user gave a
    schema, `schema()` is never called, and the plan pins.
    """

    def __init__(self, options: MutableMapping[str, str]) -> None:
        from hubflight._secret import Secret

        # Options are checked later: here it is not known yet whether they are for reading or for writing. Secrets are
        # wrapped at once, so that no repr of anything can show one.
        self._options: dict[str, Any] = {k: Secret(v) if k.lower() in _SECRET else v for k, v in options.items()}
        self.options = {k: str(v) for k, v in self._options.items()}
        self._facts: dict[str, Any] | None = None
        self._server: Server | None = None

    @classmethod
    def name(cls) -> str:
        return "hubflight"

    def schema(self) -> StructType:
        """Asks the server once, pins the snapshot, and maps the schema to Spark's types."""
        from hubflight.connection import Connection
        from hubflight.reading import snapshot_of
        from pyspark_hubflight.schemas import spark_schema

        command, server = self._read()
        with Connection(server) as connection:
            schema = connection.schema(command)
        self._facts, self._server = snapshot_of(schema), server
        return spark_schema(schema)

    def reader(self, schema: StructType) -> Reader:
        from pyspark_hubflight.reader import Reader

        command, server = self._read()
        return Reader(server, command, schema, self._facts)

    def writer(self, schema: StructType, overwrite: bool) -> Writer:
        from hubflight.connection import connect_to
        from hubflight.options import parse_write
        from hubflight.writing import Job
        from pyspark_hubflight.schemas import arrow_schema, check_names
        from pyspark_hubflight.writer import Writer

        self._check_table()
        options = parse_write(self._options)
        # The session's conf, which could allow them, is not told here.
        check_names(schema, "set spark.sql.caseSensitive and use pyspark_hubflight.write")
        server = connect_to(options.connecting, options.dataset)
        mode = "overwrite" if overwrite else "append"
        return Writer(Job.begin(server, options, mode, arrow_schema(schema)), overwrite)

    def streamReader(self, schema: StructType) -> NoReturn:
        from hubflight.errors import Unsupported

        raise Unsupported("[unsupported] readStream: a dataset is read as it is at one commit: use spark.read")

    def streamWriter(self, schema: StructType, overwrite: bool) -> NoReturn:
        from hubflight.errors import Unsupported

        raise Unsupported(
            "[unsupported] writeStream: write each batch, as a commit of its own: "
            'writeStream.foreachBatch(lambda df, _: df.write.format("hubflight").mode("append").save("ns/name"))'
        )

    def _read(self) -> tuple[dict[str, Any], Server]:
        """The read command and the server; options that are wrong are refused here."""
        from hubflight.connection import connect_to
        from hubflight.options import parse_read

        self._check_table()
        options = parse_read(_with_profile(self._options))
        return options.command, self._server or connect_to(options.connecting, options.command["dataset"])

    def _check_table(self) -> None:
        """Refuses tables of Spark's catalog, with the way out.

        When one is created, Spark gives a source the table's properties with the options. When it is read or inserted
        into, it gives nothing, not even the path.
        """
        from hubflight.errors import InvalidOption, Unsupported

        given = {name.lower() for name in self._options}
        if given & {"provider", "location"}:
            raise Unsupported(
                "[unsupported] CREATE TABLE: Spark tells the source neither path nor options of a table that it reads: "
                + _VIEW
            )
        if "paths" in given:
            raise InvalidOption(
                "[invalid] path: load() takes one dataset and no list: load each and union them, or name files of one "
                "dataset with the option data_files"
            )
        if "path" not in given:
            raise InvalidOption(
                '[invalid] path: the dataset is missing: .load("ns/name") or .save("ns/name"); in the place of a table '
                f"of Spark's catalog, whose path Spark does not tell, {_VIEW}"
            )


class PythonSource(DefaultSource):
    """The same under the name `hubflight_py`."""

    @classmethod
    def name(cls) -> str:
        return "hubflight_py"


def _with_profile(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, asking for Spark's types unless the user asks for others."""
    return dict(options) if any(k.lower() == "profile" for k in options) else {**options, "profile": "spark"}


def register_as(name: str, spark: SparkSession | None = None) -> None:
    """Lets the source also answer to ``name`` in a session, for code whose ``format(...)`` cannot be changed.

    For example ``register_as("huggingface")``, where pyspark_huggingface is not installed.
    """
    from pyspark.sql import SparkSession

    session = spark or SparkSession.getActiveSession()
    if session is None:
        from hubflight.errors import InvalidOption

        raise InvalidOption("[invalid] register_as: there is no active Spark session: give it as the second argument")

    class Renamed(DefaultSource):
        @classmethod
        def name(cls) -> str:
            return name

    session.dataSource.register(Renamed)
