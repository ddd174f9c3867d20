"""How fast a Hub dataset is read through hubflight, beside the readers that people use today, on a Hub in the same machine.

``make bench-hub`` runs ``python -m benchmarks.hub``.  One round of one case reads the same rows first with hubflight and then with
pyarrow over HfFileSystem, or the other way round; every third round also asks the other peers.  The Hub is ``hubflight hub``, reached
directly (0 ms) and through ``benchmarks/netdelay`` (30 ms).

================  =================================================================================================
``repositories``  the seeded data, and the cases: which rows are asked for
``rig``           the processes: Hub, delayed links, Flight server; what they served and what they cost
``peers``         one class per reader
``worker``        the process in which a reader lives, so that its CPU seconds are its own
``rounds``        the order of measurements
``targets``       what was promised
``report``        the table and the JSON
================  =================================================================================================

How rounds take turns and are judged is ``benchmarks.measure``'s business.  Nothing leaves loopback, and every process is stopped by the
handle that started it.
"""
