"""`plena_emu.sweep` and `search`: studies from Python, with the keys, engines and stores of the commands."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import UsageError
from ..inputs.schema import misfit_of
from ..inputs.words import shown
from .engine import EngineOptions, Watcher
from .execution import open_store, run_study
from .results import SweepResult
from .study import SearchSpec, Study, load_study, make_study

if TYPE_CHECKING:
    from .search import SearchResult

PathLike = str | bytes | os.PathLike


def sweep(
    study: PathLike | None = None, /, *, axes: Mapping[str, Any] | None = None, zip: Sequence[Sequence[str]] = (),
    where: str | Sequence[str] = (), store: PathLike | None = None, resume: bool = False, retry_failed: bool = False,
    scheduler: str | None = None, workers: int | None = None, memory_limit: int | None = None,
    watcher: Watcher | None = None, **keys: Any,
) -> SweepResult:
    """Run every combination of values, each without data.

    Parameters
    ----------
    study : str, bytes or os.PathLike, optional
        A study file; `axes` and `keys` take the place of its axes of the same name.
    axes : mapping
        Values by key, for keys with a dot such as `board.latency.vector_add`.
    zip : sequence of sequences of str
        Axes that go side by side.
    where : str or sequence of str
        Conditions; a combination that breaks one is no point.
    store : str, bytes or os.PathLike, optional
        Directory that keeps the record of each point; what it holds is not run again.
    resume, retry_failed : bool
        The store has to be there; run points again that failed.
    scheduler : str, optional
        Address of a Dask cluster that runs.
    workers : int, optional
        Processes; 0: this one; None: one a CPU where that is worth it.
    memory_limit : int, optional
        Bytes of a worker.
    watcher : Watcher, optional
        Told how it goes.
    **keys
        Values by key: `build`, `model`, `board`, `ddr_capacity` and so on; a value, a list, or text such as `2M..1G`.

    Returns
    -------
    SweepResult
        A row a point, in the order of the axes, the last changing fastest. A point that failed is a row with its
        message.

    Raises
    ------
    EmuError
        Anything wrong with the study, before the first point runs; a store that cannot be written; a cluster that is
        gone.
    """
    options = EngineOptions(scheduler=scheduler, workers=workers, memory_limit=memory_limit)
    made = study_from(study, axes, zip, where, keys)
    watching = _watching(watcher)
    kept = open_store(_store_path(store), resume, retry_failed, watching)
    return run_study(made, options, kept, watching)


def search(
    study: PathLike | None = None, /, *, minimize: str | Sequence[str] = (), maximize: str | Sequence[str] = (),
    constraints: str | Sequence[str] = (), trials: int | None = None, seed: int | None = None,
    parallel: int | None = None, fidelity: Mapping[str, int] | None = None, axes: Mapping[str, Any] | None = None,
    zip: Sequence[Sequence[str]] = (), where: str | Sequence[str] = (), store: PathLike | None = None,
    resume: bool = False, retry_failed: bool = False, scheduler: str | None = None, workers: int | None = None,
    memory_limit: int | None = None, watcher: Watcher | None = None, **keys: Any,
) -> SearchResult:
    """Search a study for its best points: an optimiser chooses which points run.

    Parameters
    ----------
    study : str, bytes or os.PathLike, optional
        A study file; all other arguments take the place of what it says.
    minimize, maximize : str or sequence of str
        Columns of the results.
    constraints : str or sequence of str
        Conditions on keys and columns that an answer has to keep.
    trials : int, optional
        Points that are run, at most; 100.
    seed : int, optional
        The same seed asks for the same points.
    parallel : int, optional
        Points asked for at a time, whatever the number of workers; 8.
    fidelity : mapping, optional
        A cheaper point to run first, such as `{"layers": 2}`.
    axes, zip, where, store, resume, retry_failed, scheduler, workers, memory_limit, watcher, **keys
        As for `sweep`.

    Returns
    -------
    SearchResult
        Its `answers` are the best row, or with several objectives the rows that no other beats.

    Raises
    ------
    EmuError
        As `sweep`; also where Optuna is not installed.
    """
    from .search import run_search

    made = study_from(study, axes, zip, where, keys)
    if fidelity is not None and not isinstance(fidelity, Mapping):
        raise UsageError(f"fidelity: found {shown(fidelity)}, expected a mapping such as {{'layers': 2}}")
    said = {"minimize": _texts("minimize", minimize), "maximize": _texts("maximize", maximize),
            "constraints": _texts("constraints", constraints), "trials": trials, "seed": seed, "parallel": parallel,
            "fidelity": dict(fidelity or {})}
    changes = {name: value for name, value in said.items() if value not in (None, [], {})}
    made = msgspec.structs.replace(made, search=msgspec.structs.replace(made.search, **changes))
    misfit = misfit_of(msgspec.to_builtins(made.search), SearchSpec)
    if misfit:
        raise UsageError(misfit)
    options = EngineOptions(scheduler=scheduler, workers=workers, memory_limit=memory_limit)
    watching = _watching(watcher)
    kept = open_store(_store_path(store), resume, retry_failed, watching)
    return run_search(made, options, kept, watching)


def _watching(watcher):
    if watcher is not None and not isinstance(watcher, Watcher):
        raise UsageError(f"watcher: found {shown(watcher)}, expected a Watcher")
    return watcher or Watcher()


def _store_path(store):
    if store is not None and not isinstance(store, str | bytes | os.PathLike):
        raise UsageError(f"store: found {shown(store)}, expected the path of a directory")
    return None if store is None else os.fsdecode(store)


def _texts(name, value):
    """Take a text or a list of them as a list."""
    found = [value] if isinstance(value, str) else list(value) if isinstance(value, Sequence) else [value]
    for one in found:
        if not isinstance(one, str):
            raise UsageError(f"{name}: found {shown(one)}, expected text or a list of texts")
    return found


def study_from(study: PathLike | None, axes: Mapping[str, Any] | None, zipped: Sequence[Sequence[str]],
               where: str | Sequence[str], keys: Mapping[str, Any]) -> Study:
    """Make the study of a call's arguments; raises `EmuError`.

    Returns
    -------
    Study
    """
    if axes is not None and not isinstance(axes, Mapping):
        raise UsageError(f"axes: found {shown(axes)}, expected a mapping of keys to values")
    for key in axes or {}:
        if not isinstance(key, str):
            raise UsageError(f"axes: found the key {shown(key)}, expected text such as board.latency.vector_add")
    where = _texts("where", where)
    if isinstance(zipped, str) or not isinstance(zipped, Sequence):
        raise UsageError(f"zip: found {shown(zipped)}, expected a list of lists of keys")
    pairs = [_texts("zip", names) for names in zipped]
    both = set(axes or {}) & set(keys)
    if both:
        raise UsageError(f"{min(both)}: found in axes and as a keyword, expected one of them")
    written = {key: _plain(key, value) for key, value in {**(axes or {}), **keys}.items()}
    if study is None:
        return make_study(written, pairs, where)
    if not isinstance(study, str | bytes | os.PathLike):
        raise UsageError(f"study: found {shown(study)}, expected the path of a study file")
    if zipped or where:
        raise UsageError("zip and where: a study file has keys of its own for them")
    return load_study(os.fsdecode(study), written)


def _plain(key, value):
    """Take paths as text and anything that iterates as a list; numbers of numpy become Python's."""
    if isinstance(value, bytes | os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, str | bool | int | float | None):
        return value
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        return value.item()
    try:
        return [_plain(key, one) for one in value]
    except TypeError:
        raise UsageError(f"{key}: found {shown(value)}, expected a value, a list of them or text") from None
