"""pyspark_huggingface with a write that works; in a module because Spark's workers import it by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyspark_huggingface.huggingface import HuggingFaceDatasets  # type: ignore[import-untyped,unused-ignore]
from pyspark_huggingface.huggingface_sink import HuggingFaceDatasetsWriter  # type: ignore[import-untyped,unused-ignore]


class WorkingHuggingFace(HuggingFaceDatasets):  # type: ignore[misc,unused-ignore]
    """pyspark_huggingface whose writer lists the split: as released it fails there, after having uploaded everything."""

    @classmethod
    def name(cls) -> str:
        return "huggingface_working"

    def writer(self, schema: Any, overwrite: bool) -> Any:
        from pyspark_huggingface.huggingface_sink import HuggingFaceSink

        made = HuggingFaceSink(self.options).writer(schema, overwrite)
        made.__class__ = _WorkingWriter
        return made


class _WorkingWriter(HuggingFaceDatasetsWriter):  # type: ignore[misc,unused-ignore]
    def _list_split(self, api: Any) -> Iterator[Any]:
        from huggingface_hub.errors import EntryNotFoundError

        try:
            for found in api.list_repo_tree(self.repo_id, self.data_dir, repo_type=self.repo_type, revision=self.revision):
                if found.path.startswith(self.prefix):
                    yield found
        except EntryNotFoundError:
            return
