"""What Spark makes of hubflight, beside what people use today: ``make bench-spark`` runs ``python -m benchmarks.spark``.

================  =================================================================================================
``sources``       sources with next to no work: ready batches from memory, writers that drop their rows or their Parquet
``reference``     pyspark_huggingface with a write that works
``session``       the process in which one reader's Spark lives
``processes``     CPU seconds and peak memory of a whole tree of processes
``rounds``        the questions, and the order in which they are asked
``report``        the table, the targets and the JSON
================  =================================================================================================

The repositories and the Hub, with and without delay, are those of ``benchmarks.hub``; how rounds take turns and are judged is
``benchmarks.measure``'s business.
"""
