"""A study: what varies, which combinations count, and what a search is after (a YAML file, or flags)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ..errors import EmuError, UsageError
from ..inputs.documents import parse_yaml
from ..inputs.schema import convert
from ..inputs.text import read_text
from ..inputs.words import cut
from .conditions import Condition
from .keys import BUILD, MODEL, key_of, read_axis
from .values import Value

Written = str | int | float | bool | None


class SearchSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a search is after.

    Attributes
    ----------
    minimize, maximize : list of str
        Columns of the results, such as `board_time_ms`.
    constraints : list of str
        Conditions on columns and keys; a point that breaks one is no answer.
    trials : int
        Points that are asked for, at most.
    seed : int
    parallel : int
        Points asked for at a time. It decides which points are asked for, so it does not follow the number of cores.
    fidelity : dict
        A cheaper point to look at first, such as `{layers: 2}`; what is clearly worse there is not run in full.
    """

    minimize: list[str] = []
    maximize: list[str] = []
    constraints: list[str] = []
    trials: int | None = None
    seed: int = 0
    parallel: int = 8
    fidelity: dict[str, int] = {}


class StudyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a study file."""

    axes: dict[str, Written | list[Written]]
    zip: list[list[str]] = []
    where: str | list[str] = []
    search: SearchSpec = SearchSpec()
    name: str | None = None


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A study whose values were read.

    Attributes
    ----------
    axes : dict of str to list
        Values of each key in the order they were written. An axis of one value is fixed.
    zipped : list of list of str
        Axes that go side by side: the first value of one belongs to the first of the others.
    conditions : list of Condition
        Those of `where`; a combination that breaks one is no point.
    """

    axes: dict[str, list[Value]]
    zipped: list[list[str]] = []
    conditions: list[Condition] = []
    search: SearchSpec = SearchSpec()
    name: str | None = None

    @property
    def varying(self) -> list[str]:
        """Keys with more than one value."""
        return [key for key, found in self.axes.items() if len(found) > 1]


def load_study(path: str, more: Mapping[str, object] | None = None) -> Study:
    """Read a study file; axes of `more` take the place of the file's.

    Returns
    -------
    Study

    Raises
    ------
    EmuError
        The file cannot be read, or something in it is wrong: file and key are named; `UsageError` for `more`.
    """
    where = f"study {path}"
    data = parse_yaml(read_text(path, "study"), where)
    if data is None:
        raise EmuError(f"{where}: found nothing, expected a table of keys")
    file = convert(data, StudyFile, where, known_only=True)
    for key, written in (more or {}).items():  # what is wrong with a flag is not the file's mistake
        read_axis(key, written)
    try:
        return make_study(file.axes | dict(more or {}), file.zip, file.where, file.search, file.name)
    except UsageError as error:
        raise EmuError(f"{where}: {error}") from None


def make_study(
    axes: Mapping[str, object], zipped: list[list[str]] | None = None, where: str | Sequence[str] = (),
    search: SearchSpec | None = None, name: str | None = None,
) -> Study:
    """Make a study of axes as they were written.

    Returns
    -------
    Study

    Raises
    ------
    UsageError
        A key, a value, a condition or a zip makes no sense; its key is named.
    """
    read = {key: read_axis(key, written) for key, written in axes.items()}
    _check_programs(read)
    pairs = [list(names) for names in zipped or []]
    _check_zips(pairs, read)
    conditions = [Condition(text) for text in ([where] if isinstance(where, str) else where)]
    for condition in conditions:
        for key in sorted(condition.keys - read.keys()):
            key_of(key)
            raise UsageError(f"where {cut(condition.text)!r}: {key}: found no such axis, expected one of"
                             f" {', '.join(read)}")
    return Study(axes=read, zipped=pairs, conditions=conditions, search=search or SearchSpec(), name=name)


def _check_programs(axes):
    """Refuse a study without a program, or with compiler options for a build."""
    if (BUILD in axes) == (MODEL in axes):
        found = "both build and model" if BUILD in axes else "neither build nor model"
        raise UsageError(f"axes: found {found}, expected one of them")
    if None in axes.get(BUILD, []) + axes.get(MODEL, []):
        raise UsageError(f"{BUILD if BUILD in axes else MODEL}: found no name, expected one for each point")
    for key in axes:
        if BUILD in axes and key_of(key).scope == "compile":
            raise UsageError(f"{key}: a build is compiled already, so that this changes nothing; name a model")


def _check_zips(zipped, axes):
    seen: set[str] = set()
    for names in zipped:
        if len(names) < 2:
            raise UsageError("zip: found fewer than two keys, expected keys whose values go side by side")
        for key in names:
            if key not in axes:
                raise UsageError(f"zip: {key}: found no such axis, expected one of {', '.join(axes)}")
            if key in seen:
                raise UsageError(f"zip: {key}: found twice, expected each axis once")
            seen.add(key)
        lengths = {key: len(axes[key]) for key in names}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise UsageError(f"zip: {told} values, expected as many of each")
