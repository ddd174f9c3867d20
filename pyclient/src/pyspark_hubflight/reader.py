"""Reading: the plan becomes partitions, one per endpoint, and each task streams its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSourceReader, InputPartition

from pyspark_hubflight.schemas import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

    from hubflight.connection import Server

__all__ = ["Reader", "TicketPartition"]


class TicketPartition(InputPartition):
    """One endpoint: the ticket's bytes and the addresses that serve it, and nothing else."""

    def __init__(self, ticket: bytes, locations: tuple[str, ...]) -> None:
        super().__init__((ticket, locations))

    def __repr__(self) -> str:
        return f"TicketPartition({len(self.value[0])} bytes)"


class Reader(DataSourceReader):
    """Plans on the driver, reads in the tasks. Holds plain data only: it is pickled into every task."""

    def __init__(
        self, server: Server, command: Mapping[str, Any], schema: StructType, facts: Mapping[str, Any] | None
    ) -> None:
        from hubflight.errors import InvalidOption
        from hubflight.reading import pinned

        self._server = server
        self._target = arrow_schema(schema)
        self._facts = facts
        if not schema.fields:
            raise InvalidOption("[invalid] schema: it has no columns: name at least one, or count rows with count()")
        if facts is None:  # the user's schema: a projection
            self._command = {"columns": schema.fieldNames(), **command}
        else:
            self._command = pinned(command, facts)

    def partitions(self) -> Sequence[InputPartition]:
        """Asks for the plan. What would fail in every task fails here: columns, types, a snapshot that is gone."""
        from hubflight.casting import Caster
        from hubflight.connection import Connection
        from hubflight.reading import Plan, check_snapshot, snapshot_of

        with Connection(self._server) as connection:
            plan = Plan.of(connection, self._command)
        if self._facts is not None:
            check_snapshot(self._command["dataset"], self._facts, snapshot_of(plan.schema))
        Caster(plan.schema, self._target, "read")
        return [TicketPartition(p.ticket, p.locations) for p in plan.partitions]

    def read(self, partition: InputPartition | None) -> Iterator[pa.RecordBatch]:
        """The partition's batches, each exactly of the declared schema. Closing the iterator cancels the stream."""
        # A plan without partitions still runs one task, with None or with a partition of None.
        if partition is None or partition.value is None:
            return
        from hubflight.casting import Caster
        from hubflight.reading import Partition, read_partition

        ticket, locations = partition.value
        caster = None
        reading = read_partition(self._server, Partition(ticket, locations), interruptible=False)
        with closing(reading) as batches:  # type: ignore[type-var]
            for batch in batches:
                caster = caster or Caster(batch.schema, self._target, "read")
                yield caster.cast(batch)
