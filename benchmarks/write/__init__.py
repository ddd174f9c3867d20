"""How fast, and in how much memory, rows become Parquet files in a repository of a Hub, beside what Python users do today.

``make bench-write`` runs ``python -m benchmarks.write``.  Every writer gets the same batches, from files of this machine, in one or four
tasks at a time, and ends with one commit.

============  ==========================================================================================================
``tasks``     the seeded batches, a file for each task
``writers``   those who write: one class each
``worker``    the process in which a writer lives, so that its CPU seconds and its memory are its own
``rig``       a new Hub, and a new Flight server, for every measurement; their requests, CPU seconds and memory
``rounds``    checks of what was written, then rounds of timings and of peaks
``targets``   what was promised
``report``    the tables and the JSON
============  ==========================================================================================================

How rounds take turns and are judged is ``benchmarks.measure``'s business.
"""
