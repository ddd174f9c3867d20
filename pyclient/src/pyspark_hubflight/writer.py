"""Writing: every task attempt stages, the driver commits those that Spark chose and says what has become of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage

if TYPE_CHECKING:
    import pyarrow as pa

    from hubflight.writing import Job

__all__ = ["StagedMessage", "Writer"]


class StagedMessage(WriterCommitMessage):
    """What one attempt staged: the server's records, none for an empty partition."""

    def __init__(self, files: list[dict[str, Any]]) -> None:
        self.files = files

    def __repr__(self) -> str:
        return f"StagedMessage({len(self.files)} files)"


class Writer(DataSourceArrowWriter):
    """A begun job; the same (pickled) object stages in the tasks and commits or aborts on the driver."""

    def __init__(self, job: Job, overwrite: bool) -> None:
        self._job = job
        self._overwrite = overwrite

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Runs once per attempt. What a failed or speculative attempt staged is invisible and never committed."""
        from pyspark_hubflight.attempts import attempt_of_task

        return StagedMessage(self._job.stage(iterator, *attempt_of_task(), interruptible=False))

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        from hubflight.errors import InternalError

        files = []
        for i, message in enumerate(messages):
            if not isinstance(message, StagedMessage):
                raise InternalError(f"[internal] commit: Spark gave no message for partition {i}")
            files += message.files
        if not files and self._overwrite:
            files = self._job.stage_empty()  # the schema has to survive
        result = self._job.commit(files)
        # Spark has no place for what a commit did: this is the driver's own output, and logging would not show it. What
        # is committed has not failed because nobody could be told.
        with suppress(OSError, ValueError):
            sys.stderr.write(f"hubflight: {self._job.target['dataset']}: {result.summary()}\n")
            sys.stderr.flush()

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:
        """Forgets what is spooled. Called with all messages after a failed commit, even while an attempt still writes;
        raising here would hide why the job failed."""
        self._job.abort()
