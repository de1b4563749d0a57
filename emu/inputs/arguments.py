"""Arguments of Python's functions: what is of another type is told by name, as on the command line.

Light on purpose: command lines import it before anything heavy.
"""

import operator
import os
from collections.abc import Iterable

from ..errors import UsageError
from .words import cut, one_of, shown

_U64_MAX = 2**64 - 1


def check_names(unknown: Iterable[str], names: Iterable[str]) -> None:
    """Refuse keywords that there are not, with the closest that there is. Raises `UsageError`."""
    known = list(names)
    for name in unknown:
        import difflib  # where there is something to say

        close = difflib.get_close_matches(name.lower().replace("-", "_"), known, 1, 0.6)
        hint = f"{close[0]} perhaps" if close else one_of(known)
        raise UsageError(f"{cut(name)}: found an unknown keyword, expected {hint}")


def path_of(name: str, value: object, expected: str = "a path") -> str | None:
    """Take a path (or a name) as text; None stays None. Raises `UsageError` that says what was `expected`.

    Returns
    -------
    str or None
    """
    if value is None:
        return None
    try:
        text = os.fsdecode(value)  # type: ignore[arg-type]
    except TypeError:
        text = ""
    if not text or "\0" in text:
        raise UsageError(f"{name}: found {cut(repr(value))}, expected {expected}")
    return text


def given_path(name: str, value: object, expected: str = "a path") -> str:
    """Take a path, or a name, that must be there. Raises `UsageError`.

    Returns
    -------
    str
    """
    text = path_of(name, value, expected)
    if text is None:
        raise UsageError(f"{name}: found nothing, expected {expected}")
    return text


def index_of(name: str, value: object) -> object:
    """Take anything that counts as an integer, as those of numpy do, for an int; leave the rest as it is.

    Raises `UsageError` above 2^64 - 1.
    """
    if isinstance(value, bool):
        return value
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return value
    if number > _U64_MAX:
        raise UsageError(f"{name}: found {shown(number)}, expected at most {_U64_MAX}")
    return number


def count_of(name: str, value: object, smallest: int) -> int | None:
    """Take a count of at least `smallest`, or None. Raises `UsageError`.

    Returns
    -------
    int or None
    """
    number = index_of(name, value)
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < smallest):
        raise UsageError(f"{name}: found {shown(value)}, expected an integer from {smallest}")
    return number
