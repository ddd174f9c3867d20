"""How fast, and in how much memory, Parquet files on this machine become Arrow, beside the readers that people use today.

``make bench-scan`` runs ``python -m benchmarks.scan``.  Every question is put to hubflight's scan itself (no server between), to the
Parquet library that it is built on as a user of that library would call it, to pyarrow, DuckDB and Polars: the same files, in turn.

============  ==========================================================================================================
``datasets``  the seeded files, and the questions to each
``reader``    the Go program: hubflight's scan, and the Go library plainly used
``peers``     the Python readers, one class each
``worker``    the process in which a Python reader lives, so that its CPU seconds and its memory are its own
``readers``   all of them as processes, asked and checked alike
``timings``   checks of rows, then rounds of timings
``memory``    peaks of fresh processes; files that differ in nothing but the size of their row groups
``targets``   what was promised
``report``    the tables and the JSON
============  ==========================================================================================================

How rounds take turns and are judged is ``benchmarks.measure``'s business.
"""
