"""Benchmarks beside other engines: the same work, in turns, in one run. `scripts/bench NAME` runs one.

Each peer works in a process and a virtual environment of its own. Nothing here decides whether a goal is met.
"""
