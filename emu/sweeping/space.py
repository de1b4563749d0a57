"""The space of a search: a parameter for each column of a study, by number where its values are ordered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .study import Study
from .values import Value


class Space:
    """Parameters of an optimiser and the values of a point, both ways.

    Numbers that rise are one integer parameter, so that neighbours are known as such; all else is categorical. Zipped
    axes are one parameter. An axis of one value is none.

    Parameters
    ----------
    study : Study
    """

    def __init__(self, study: Study):
        self._study = study
        zipped = {key: tuple(names) for names in study.zipped for key in names}
        self._columns = list(dict.fromkeys(zipped.get(key, (key,)) for key in study.axes))
        self._rows = {keys: list(zip(*(study.axes[key] for key in keys), strict=True)) for keys in self._columns}

    def suggest(self, trial: Any) -> dict[str, Value]:
        """Ask for the values of a trial (an `optuna.Trial`).

        Returns
        -------
        dict
            By key; those without a value are left out.
        """
        chosen = {}
        for keys, rows in self._rows.items():
            if len(rows) == 1:
                number = 0
            elif self._is_ordered(keys):
                number = trial.suggest_int(_name(keys), 0, len(rows) - 1)
            else:
                number = trial.suggest_categorical(_name(keys), list(range(len(rows))))
            chosen[_name(keys)] = number
        return self.values_of(chosen)

    def values_of(self, parameters: Mapping[str, int]) -> dict[str, Value]:
        """Look up the values that parameters stand for.

        Returns
        -------
        dict
        """
        found: dict[str, Value] = {}
        for keys, rows in self._rows.items():
            found |= dict(zip(keys, rows[parameters.get(_name(keys), 0)], strict=True))
        return {key: found[key] for key in self._study.axes if found[key] is not None}

    def parameters_of(self, values: Mapping[str, Value]) -> dict[str, int]:
        """Look up the parameters that stand for the values of a point.

        Returns
        -------
        dict of str to int
        """
        return {_name(keys): rows.index(tuple(values.get(key) for key in keys))
                for keys, rows in self._rows.items() if len(rows) > 1}

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Tell whether a combination keeps the study's conditions."""
        return all(condition.holds(values) for condition in self._study.conditions)

    def each_value(self) -> Iterator[dict[str, Value]]:
        """Yield combinations in which every value of every axis occurs.

        Yields
        ------
        dict
        """
        yield self.values_of({})
        for keys, rows in self._rows.items():
            for number in range(1, len(rows)):
                yield self.values_of({_name(keys): number})

    def _is_ordered(self, keys):
        """Whether the first axis of a column rises or falls."""
        found = self._study.axes[keys[0]]
        if any(value is None or isinstance(value, str | bool) for value in found):
            return False
        return found in (sorted(found), sorted(found, reverse=True))  # type: ignore[type-var]


def _name(keys):
    return "+".join(keys)
