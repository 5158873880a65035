"""Processes that do the work: ours in this environment, a peer's in its own.

The peers' files import nothing of this package but `protocol`, which needs only the standard library.
"""
