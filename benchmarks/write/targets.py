"""What was promised of writing."""

from __future__ import annotations

CPU = 1.0
"""Rows per CPU second, hubflight's server and client together, over those of pyarrow with huggingface_hub."""

STREAM_BYTES, GROUP_SHARE = 64 << 20, 1.25
"""What a stage stream may take above an idle server: that, and this share of a row group."""

IN_MEMORY_SHARE = 4.0
"""How many times hubflight's peak a writer's is that builds its files in memory."""

FLAT = 0.15
"""By how much the peak may differ when four times as much is written."""
