"""Benchmarks: this project and its peers, measured in the same run, in turns. `make bench`, or `python -m benchmarks`.

A case (`benchmarks.cases`) measures contenders (`benchmarks.contenders`), each in a process of its own
(`benchmarks.process`), in turns (`benchmarks.turns`), and answers with a table (`benchmarks.table`).
"""
