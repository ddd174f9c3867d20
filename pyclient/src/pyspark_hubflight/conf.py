"""What is read from the conf of a Spark session by everything that runs in the driver's own process: the Hub token,
and whether names of columns that differ in case are different ones.

A data source's `format()` is not among them: Spark makes it in processes of its own, to which it gives the options and
no conf.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["is_case_sensitive", "with_token"]

_KEY = "spark.hubflight.token"


def is_case_sensitive(session: SparkSession) -> bool:
    """Whether Spark tells ``id`` from ``ID``; unless somebody said so, it does not."""
    try:
        value = session.conf.get("spark.sql.caseSensitive", "false")
    except Exception:  # a Connect server may refuse to tell
        return False
    return str(value).strip().lower() == "true"


def with_token(options: Mapping[str, Any], session: SparkSession) -> dict[str, Any]:
    """``options`` with the token of the session's conf, unless they name one themselves."""
    if any(name.lower() == "token" and value is not None for name, value in options.items()):
        return dict(options)
    try:
        token = session.conf.get(_KEY, None)
    except Exception:  # a Connect server may refuse to tell
        token = None
    rest = {name: value for name, value in options.items() if name.lower() != "token"}
    return {**rest, "token": token} if token and token.strip() else rest
