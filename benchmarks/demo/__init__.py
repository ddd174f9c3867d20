"""``make demo``: the main job end to end, on real data, compared row by row, in about two minutes.

``__main__``   starts what the tour needs, runs the tour as a process of its own, stops everything, and proves that no token was printed
``services``   an embedded Hub and a Flight server on free loopback ports, started and stopped by process id
``tour``       the steps: what a newcomer would type into PySpark, pyarrow and the Go client, each followed by its comparisons
``rows``       comparison of tables row by row; the oracle is pyarrow on the files that the data makers wrote
``screen``     how it looks in a terminal
"""
