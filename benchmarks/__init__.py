"""Data makers, the demo and (later) the measuring drivers.  Not part of the wheel: run from the repository's root."""
