"""Python's collector of cycles, which has nothing to find in what a start makes.

It would go through all that was imported again and again, and with each full round later on: a pause of the
whole process.
"""

from __future__ import annotations

import gc


def pause() -> None:
    """Until `resume`: before the first import."""
    gc.disable()


def resume() -> None:
    """What is there now stays, and is not looked through again."""
    gc.freeze()
    gc.enable()
