"""Imports of a command without garbage collection.

For processes of our own alone: objects of somebody else's process are left as they are.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import modules, as a context, without looking for garbage.

    Importing makes objects by the ten thousand, all to stay: looking through them again and again takes a tenth of a
    short run. They are left out of later collections as well.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
