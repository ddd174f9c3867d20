"""What every benchmark stands on: who runs, what it cost, how rounds take turns, how a ratio is judged, what is written down.

=============  ========================================================================================
``processes``  programs and readers started and stopped by their handle, in a clean environment
``load``       CPU seconds of processes and of the machine; how much of it was somebody else's
``turns``      rounds in which the compared take turns, measured again when others used the machine
``digest``     a checksum of rows that does not depend on batch borders
``judge``      ratios of rounds, their interval, and whether a target is met
``terms``      filters of the wire for Python readers
``results``    verdicts, the machine, and the files in ``benchmarks/results``
``screen``     what is shown meanwhile, and the end of a run, which is that of every benchmark
=============  ========================================================================================
"""
