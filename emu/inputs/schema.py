"""Checks plain values against a msgspec type, and says in one wording what does not fit (the one message mapper).

msgspec decides whether a value fits; its words never reach a message. Where it refuses, `explain` walks value and type
side by side to the first place that does not fit.
"""

import math
import os
import re
import threading
from typing import Any, NamedTuple, TypeVar

import msgspec

from ..errors import EmuError
from .words import cut, one_of, shown

T = TypeVar("T")

# msgspec builds what it knows of a class at its first use, and shows it to other threads half built: they crash.
_using_msgspec = threading.RLock()


def _after_fork():
    """In a forked child: the thread that holds the lock is not in this process."""
    global _using_msgspec
    _using_msgspec = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


class Misfit(NamedTuple):
    """Where a value does not fit its type: dotted path, what was found, what was expected."""

    path: str
    found: str
    expected: str


def convert(data: object, kind: type[T], where: str, known_only: bool = False) -> T:
    """Make a `kind` of plain values.

    Parameters
    ----------
    data
        Dicts, lists, strings, numbers, booleans, None.
    kind : type
        Anything msgspec converts to.
    where : str
        What holds the data: kind of file and path.
    known_only : bool
        Refuse unknown keys at every depth, also where the type itself lets them pass.

    Returns
    -------
    kind

    Raises
    ------
    EmuError
        `WHERE: KEY: found X, expected Y`.
    """
    misfit: Misfit | None
    try:
        try:
            made = _converted(data, kind)
        except (msgspec.ValidationError, OverflowError):
            misfit = explain(data, kind, known_only)
        else:
            misfit = _find_misfit(data, kind, True) if known_only and not _is_all_of(data, made) else None
    except RecursionError:
        raise EmuError(f"{where}: nested too deeply") from None
    if misfit:
        raise EmuError(f"{where}: {sentence(misfit)}")
    return made


def misfit_of(data: object, kind: Any) -> str | None:
    """Say what does not fit a type, for data that no file holds.

    Returns
    -------
    str or None
        `KEY: found X, expected Y`; None where everything fits.
    """
    try:
        _converted(data, kind)
    except msgspec.ValidationError:
        return sentence(explain(data, kind))
    return None


def _converted(data, kind):
    with _using_msgspec:
        return msgspec.convert(data, kind)


def sentence(misfit: Misfit) -> str:
    """Put a misfit into words.

    Returns
    -------
    str
        `KEY: found X, expected Y`, without the key for the whole document.
    """
    text = f"found {misfit.found}, expected {misfit.expected}"
    return f"{misfit.path}: {text}" if misfit.path else text


def explain(data: object, kind: Any, known_only: bool = False) -> Misfit:
    """Find the first place where a value does not fit its type.

    Returns
    -------
    Misfit
    """
    return _find_misfit(data, kind, known_only) or Misfit("", shown(data), "a document of another form")


def _is_all_of(data, made):
    """Tell at a glance whether what was made holds all of the data, every key and value as it was written.

    Only where it does not does it need the words of a `_Walker`, which takes longer than reading most files.
    """
    if isinstance(data, dict):
        if isinstance(made, msgspec.Struct):
            names = dict(zip(made.__struct_encode_fields__, made.__struct_fields__, strict=True))
            return all(key in names and _is_all_of(value, getattr(made, names[key])) for key, value in data.items())
        return isinstance(made, dict) and data.keys() == made.keys() and all(
            _is_all_of(value, made[key]) for key, value in data.items())
    if isinstance(data, list):
        return isinstance(made, list | tuple) and len(data) == len(made) and all(map(_is_all_of, data, made))
    if isinstance(made, float):
        return type(data) in (int, float) and data == made and math.isfinite(made)
    return type(data) is type(made) and data == made


def _find_misfit(data, kind, known_only):
    import msgspec.inspect

    return _Walker(known_only).walk("", data, msgspec.inspect.type_info(kind))


def _misfit(path, data, expected):
    return Misfit(path, shown(data), expected)


class _Walker:
    """Compares a value with msgspec's description of a type; every method returns a `Misfit`, or None."""

    def __init__(self, known_only):
        self.known_only = known_only

    def walk(self, path, data, kind):
        """Compare by the kind of type; a kind without words here is a mistake in a schema, not in a file."""
        return getattr(self, _METHODS[type(kind).__name__])(path, data, kind)

    def walk_metadata(self, path, data, kind):
        """Ask the type itself; `description` and `extra={"most": N}` of its `Meta` are words for what is expected."""
        found = self.walk(path, data, kind.type)
        if found is None or found.path != path:
            return found
        if kind.extra and "most" in kind.extra:
            return found._replace(expected=f"{found.expected} to {kind.extra['most']}")
        words = (kind.extra_json_schema or {}).get("description")
        return found._replace(expected=words) if words else found

    def walk_any(self, path, data, kind):
        return None

    def walk_none(self, path, data, kind):
        return None if data is None else _misfit(path, data, "nothing")

    def walk_bool(self, path, data, kind):
        return None if isinstance(data, bool) else _misfit(path, data, "true or false")

    def walk_int(self, path, data, kind):
        fits = type(data) is int and _in_range(data, kind)
        return None if fits else _misfit(path, data, f"an integer{_range(kind, 1)}")

    def walk_float(self, path, data, kind):
        fits = type(data) in (int, float) and _is_finite(data) and _in_range(data, kind)
        return None if fits else _misfit(path, data, f"a number{_range(kind, 0)}")

    def walk_str(self, path, data, kind):
        if isinstance(data, str):
            if kind.min_length and len(data) < kind.min_length:
                return _misfit(path, data, "text that is not empty")
            if kind.pattern is not None and not re.search(kind.pattern, data):
                return _misfit(path, data, f"text of the form {kind.pattern}")
            return None
        return _misfit(path, data, "text")

    def walk_literal(self, path, data, kind):
        fits = any(type(data) is type(value) and data == value for value in kind.values)
        return None if fits else _misfit(path, data, _one_of_with_hint(data, kind.values))

    def walk_list(self, path, data, kind):
        if not isinstance(data, list | tuple):
            return _misfit(path, data, "a list")
        for at, value in enumerate(data):
            found = self.walk(f"{path}[{at}]", value, kind.item_type)
            if found:
                return found
        return None

    def walk_tuple(self, path, data, kind):
        if not isinstance(data, list | tuple) or len(data) != len(kind.item_types):
            return _misfit(path, data, f"a list of {len(kind.item_types)} values")
        return next(filter(None, (self.walk(f"{path}[{at}]", value, item)
                                  for at, (value, item) in enumerate(zip(data, kind.item_types, strict=True)))), None)

    def walk_dict(self, path, data, kind):
        if not isinstance(data, dict):
            return _misfit(path, data, "a table")
        for key, value in data.items():
            where = _below(path, key)
            if self.walk("", key, kind.key_type):
                return Misfit(where, "an unknown key", self.walk("", key, kind.key_type).expected)
            found = self.walk(where, value, kind.value_type)
            if found:
                return found
        return None

    def walk_union(self, path, data, kind):
        """Ask the alternative that the value looks like, so that the message speaks of what was meant."""
        kinds = [inner for inner in kind.types if type(inner).__name__ != "NoneType"]
        if data is None and len(kinds) < len(kind.types):
            return None
        structs = [inner for inner in kinds if getattr(inner, "tag_field", None)]
        if structs and isinstance(data, dict):
            return self.walk_tagged(path, data, structs)
        misfits = [self.walk(path, data, inner) for inner in kinds]
        if not all(misfits):
            return None
        deeper = [found for found in misfits if found.path != path]
        if deeper:
            return deeper[0]
        if any(type(inner).__name__ == "FloatType" for inner in kinds):  # any number: of integers nothing is to be said
            kinds, misfits = zip(*((inner, found) for inner, found in zip(kinds, misfits, strict=True)
                                   if type(inner).__name__ != "IntType"), strict=True)
        words = list(dict.fromkeys("a table" if getattr(inner, "tag_field", None) else found.expected
                                   for inner, found in zip(kinds, misfits, strict=True)))
        return _misfit(path, data, " or ".join(words))

    def walk_tagged(self, path, data, structs):
        """Choose among tagged structs by the tag."""
        field = structs[0].tag_field
        tags = one_of([struct.tag for struct in structs])
        if field not in data:
            return Misfit(_below(path, field), "nothing", tags)
        chosen = [struct for struct in structs if struct.tag == data[field]]
        return self.walk(path, data, chosen[0]) if chosen else _misfit(_below(path, field), data[field], tags)

    def walk_struct(self, path, data, kind):
        if kind.array_like:
            return self.walk_row(path, data, kind)
        if not isinstance(data, dict):
            return _misfit(path, data, "a table")
        if kind.tag_field and data.get(kind.tag_field, kind.tag) != kind.tag:
            return _misfit(_below(path, kind.tag_field), data[kind.tag_field], one_of([kind.tag]))
        names = [field.encode_name for field in kind.fields]
        for key in data:
            unknown = key not in names and key != kind.tag_field
            if not isinstance(key, str) or unknown and (self.known_only or kind.forbid_unknown_fields):
                return Misfit(_below(path, key), "an unknown key", _close_to(key, names))
        for field in kind.fields:
            where = _below(path, field.encode_name)
            if field.encode_name in data:
                found = self.walk(where, data[field.encode_name], field.type)
                if found:
                    return found
            elif field.required:
                return Misfit(where, "nothing", self.walk(where, _NOTHING, field.type).expected)
        return None

    def walk_row(self, path, data, kind):
        """Compare a list with a struct whose fields are written in order."""
        needed = sum(field.required for field in kind.fields)
        if not isinstance(data, list | tuple) or not needed <= len(data) <= len(kind.fields):
            found = f"a list of {len(data)}" if isinstance(data, list | tuple) else shown(data)
            names = ", ".join(field.encode_name if field.required else f"[{field.encode_name}]"
                              for field in kind.fields)
            return Misfit(path, found, f"a list of {names}")
        return next(filter(None, (self.walk(f"{path}[{at}]", value, field.type)
                                  for at, (value, field) in enumerate(zip(data, kind.fields, strict=False)))), None)


class _Nothing:
    """A value that fits no type."""


_NOTHING = _Nothing()
_METHODS = {
    "Metadata": "walk_metadata", "AnyType": "walk_any", "NoneType": "walk_none", "BoolType": "walk_bool",
    "IntType": "walk_int", "FloatType": "walk_float", "StrType": "walk_str", "LiteralType": "walk_literal",
    "ListType": "walk_list", "VarTupleType": "walk_list", "TupleType": "walk_tuple", "DictType": "walk_dict",
    "UnionType": "walk_union", "StructType": "walk_struct",
}


def _close_matches(word, words):
    import difflib  # where there is something to say

    return difflib.get_close_matches(word, words, 1, 0.75)


def _one_of_with_hint(data, values):
    """Say which values there are, and the one that was perhaps meant."""
    texts = [value for value in values if isinstance(value, str)]
    close = _close_matches(data.strip().lower(), texts) if isinstance(data, str) else []
    return one_of(values) + (f" ({close[0]} perhaps)" if close else "")


def _close_to(key, names):
    close = _close_matches(str(key), names)
    return f"{close[0]} perhaps" if close else one_of(names)


def _below(path, key):
    name = cut(str(key))
    return f"{path}.{name}" if path else name


def _is_finite(value):
    return isinstance(value, int) or math.isfinite(value)


def _in_range(value, kind):
    return ((kind.ge is None or value >= kind.ge) and (kind.gt is None or value > kind.gt)
            and (kind.le is None or value <= kind.le) and (kind.lt is None or value < kind.lt))


def _range(kind, step):
    """Say which numbers a type allows; `step` 1 for integers."""
    low = kind.ge if kind.ge is not None or kind.gt is None or not step else kind.gt + step
    if low is not None and kind.le is not None:
        return f" from {low} to {kind.le}"
    if low is not None:
        return f" from {low}"
    if kind.gt is not None:
        return f" above {kind.gt}"
    return "" if kind.le is None else f" up to {kind.le}"
