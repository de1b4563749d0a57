"""A search: an optimiser (Optuna, the extra `search`) asks which point of a study to run next.

Points are asked for in rounds of a fixed size (`rounds`), and told in their order, with a sampler that is seeded by the
number of the trial: so the same points come in whatever order they are done, on any number of workers, after a resume,
and where more trials are asked for later.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..atomic_files import make_directory
from ..errors import EmuError, UsageError
from .conditions import Condition
from .engine import EngineOptions, Interrupted, Watcher
from .execution import Session
from .points import Point, assignments, combinations
from .results import FIGURES, STATISTICS, TEXT, Row, SweepResult, row_of
from .rounds import BROKEN, POINT, Round, seed_of
from .space import Space
from .specify import Specifier
from .store import SEARCHES, Store
from .study import SearchSpec, Study

MOST_MISSES = 25  # suggestions in a row that are no new point, until one is drawn that is
DEFAULT_TRIALS = 100
MOST_CHECKED = 2000  # combinations that are all made, to find values with which no program fits its machine
_WHY = "why"  # attribute of a trial without figures


class SearchResult(SweepResult):
    """Rows of a search in the order of its trials.

    Attributes
    ----------
    directions : dict of str to str
        `minimize` or `maximize` by column.
    answers : SweepResult
        The best row that keeps every constraint, or the front of those that no other beats; empty where none does.
    pruned : int
        Points whose cheaper kin were so much worse that they were not run in full.
    combinations : int
        All there are.
    """

    def __init__(self, rows: Sequence[Row], study: Study, directions: Mapping[str, str], good: Sequence[Row],
                 pruned: int):
        super().__init__(rows, list(study.axes), study.varying)
        self.directions = dict(directions)
        self.pruned = pruned
        self.combinations = combinations(study)
        kept = self._with(list(good))
        (first, direction), *others = self.directions.items()
        self.answers = kept.best(first, 1, direction == "maximize") if not others else kept.pareto(
            *(f"{'-' if way == 'maximize' else ''}{name}" for name, way in self.directions.items()))

    def __repr__(self) -> str:
        return f"<SearchResult {len(self.rows)} of {self.combinations} points, {len(self.answers)} answers>"


def check_search(study: Study, spec: SearchSpec) -> None:
    """Refuse a search that makes no sense.

    Raises
    ------
    UsageError
        No objective, an unknown column, a constraint on something else, a fidelity that is no key of a model.
    EmuError
        The extra is not installed.
    """
    names = [*spec.minimize, *spec.maximize]
    if not names:
        raise UsageError("search: found no objective, expected minimize or maximize with a column such as time_ms")
    if len(set(names)) < len(names):
        raise UsageError("search: found a column twice, expected each objective once")
    axes = [Row(id="", values={key: value}) for key, found in study.axes.items() for value in found]
    SweepResult(axes, list(study.axes), study.varying).check_columns(names, numbers=True)
    for name in names:
        _check_has(study, name)
    samples = {name: "" if name in TEXT else 1.0 for name in ("id", "error", *FIGURES)} | {
        key: next((value for value in found if value is not None), None) for key, found in study.axes.items()}
    for condition in constraints_of(spec):
        for name in sorted(condition.keys - samples.keys()):
            raise UsageError(f"constraint {condition.text!r}: {name}: found no such key or column")
        condition.check_kinds(samples)
    for name, value, least in (("trials", spec.trials, 1), ("parallel", spec.parallel, 1), ("seed", spec.seed, 0)):
        if value is not None and value < least:
            raise UsageError(f"search.{name}: found {value}, expected at least {least}")
    if spec.fidelity and len(names) > 1:
        raise UsageError("search.fidelity: needs one objective, because pruning compares points by one figure")
    for key in spec.fidelity:
        if key not in ("layers", "prefill", "batch") or "model" not in study.axes:
            raise UsageError(f"search.fidelity: {key}: expected layers, prefill or batch of a model")
        _check_cheaper(study, key, spec.fidelity[key])
    if importlib.util.find_spec("optuna") is None:
        raise EmuError("a search needs optuna, which is not installed: pip install optuna (the extra `search`)")


def _check_cheaper(study, key, number):
    """Refuse a fidelity that makes no point of the study cheaper."""
    from ..models.options import DEFAULT_PREFILL
    from ..models.sources import find_model

    if number < 1:
        raise UsageError(f"search.fidelity: {key}: found {number}, expected at least 1")
    found = [value for value in study.axes.get(key, [None]) if value is not None]
    if len(found) < len(study.axes.get(key, [None])):  # what a point has without a value
        found += {"layers": [find_model(name).part("text").layers for name in study.axes["model"]],
                  "prefill": [] if "past" in study.axes else [DEFAULT_PREFILL], "batch": [1]}[key]
    if number >= max(found, default=0):
        raise UsageError(f"search.fidelity: {key}: found {number}, expected fewer than the {max(found, default=0)} of"
                         " the points: no point gets cheaper")


def _check_has(study, name):
    """Refuse an objective that no point of the study can have."""
    if name in ("board_time_ms",) and "board" not in study.axes:
        raise UsageError(f"search: {name}: no point has it, expected an axis board")
    if name in ("streamed_bytes", *STATISTICS) and study.axes.get("memory_model") == ["hbm"]:
        raise UsageError(f"search: {name}: no point has it with the memory model hbm")


def constraints_of(spec: SearchSpec) -> list[Condition]:
    """Parse the constraints of a search; raises `UsageError`."""
    return [Condition(text, "constraint") for text in spec.constraints]


def run_search(study: Study, engine: EngineOptions, store: Store, watcher: Watcher) -> SearchResult:
    """Search a study for the best points.

    Returns
    -------
    SearchResult

    Raises
    ------
    EmuError
        The study makes no sense, the store cannot be written, or the cluster is gone.
    Interrupted
        Ctrl-C; trials that were told are in the journal.
    """
    check_search(study, study.search)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        search = _Search(study, store, watcher)
        try:
            with Session(search.specifier, engine, store, watcher, search.most) as session:
                search.run(session)
        except KeyboardInterrupt:
            raise Interrupted(search.done, search.most) from None
        return search.result()


class _Search:
    """One search under way."""

    def __init__(self, study: Study, store: Store, watcher: Watcher):
        self.study, self.spec, self.store, self.watcher = study, study.search, store, watcher
        self.space = Space(study)
        self.specifier = Specifier()
        if combinations(study) <= MOST_CHECKED:
            self.specifier.points(study)
        else:  # every input is read, and every value checked alone, before a point runs
            for values in self.space.each_value():
                self.specifier.point(values)
        self.constraints = constraints_of(self.spec)
        self.directions = {**dict.fromkeys(self.spec.minimize, "minimize"),
                           **dict.fromkeys(self.spec.maximize, "maximize")}
        self.most = min(self.spec.trials or DEFAULT_TRIALS, combinations(study))
        self.optimiser = self._open()
        self.points: dict[int, Point] = {}  # by number of the trial
        self.rows: dict[str, Row] = {}

    def _open(self):
        """Open Optuna's study: in the store's journal, or in memory."""
        import optuna

        storage = None
        if self.store.directory is not None:
            from optuna.storages.journal import JournalFileBackend

            folder = os.path.join(self.store.directory, SEARCHES)
            make_directory(folder, "store")
            storage = optuna.storages.JournalStorage(JournalFileBackend(os.path.join(folder, f"{self._name()}.log")))
        self.pruner = optuna.pruners.MedianPruner(n_startup_trials=5)
        return optuna.create_study(storage=storage, study_name="search", load_if_exists=True,
                                   directions=list(self.directions.values()))

    def _name(self):
        """What a search is: a journal is gone on with by the same search only. More trials are the same search."""
        spec = msgspec.structs.replace(self.spec, trials=None)
        said = msgspec.json.encode([self.study.axes, self.study.zipped, [c.text for c in self.study.conditions],
                                    msgspec.to_builtins(spec), self.specifier.emulator])
        return hashlib.sha256(said).hexdigest()[:16]

    @property
    def done(self) -> int:
        """Trials that are told."""
        return sum(trial.state.is_finished() and POINT in trial.user_attrs for trial in self.optimiser.trials)

    def run(self, session: Session) -> None:
        """Ask, run and tell, round by round."""
        self.watcher.planned(self.most, self._recall())
        size = self.spec.parallel
        while True:
            begun, running = self._counted()
            if not running and begun >= self.most:
                return
            told = begun - len(running)
            here = Round(self.optimiser.trials, told - told % size, list(self.directions.values()), self.pruner)
            # With trials that run, and a whole number of rounds, all of the round were asked for already.
            room = 0 if running and begun % size == 0 else min(size - begun % size, self.most - begun)
            asked = running + list(self._ask(here, room))
            if not asked:
                return
            self._tell(asked, here, session)

    def _counted(self):
        """How many trials are points, told or not, and those that are not told."""
        import optuna

        trials = [trial for trial in self.optimiser.trials if POINT in trial.user_attrs]
        running = [optuna.trial.Trial(self.optimiser, trial._trial_id) for trial in trials
                   if not trial.state.is_finished()]
        return len(trials), running

    def _recall(self):
        """Know the points of a journal again; returns how many are told."""
        for trial in self.optimiser.trials:
            if POINT in trial.user_attrs:
                self.points[trial.number] = self.specifier.point(self.space.values_of(trial.params))
        return self.done

    def _sampler(self, number):
        """Make the sampler of a trial. What it depends on does not depend on how many trials are wanted."""
        import optuna

        constrained = self.constraints and not _sets_constraints()
        return optuna.samplers.TPESampler(
            seed=seed_of(self.spec.seed, number), multivariate=True, constant_liar=True,
            n_startup_trials=min(10, max(4, combinations(self.study) // 40)),
            **({"constraints_func": _broken} if constrained else {}))

    def _begin(self, number, identity, parameters):
        """Begin a trial in the journal, or go on with one that was begun, with parameters that were chosen."""
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.optimiser.sampler = optuna.samplers.PartialFixedSampler(parameters, self._sampler(number))
            trial = self.optimiser.ask() if identity is None else optuna.trial.Trial(self.optimiser, identity)
            self.space.suggest(trial)
        return trial

    def _ask(self, here, room) -> Iterator[Any]:
        """Ask for so many new points of a round; suggestions that are no point, or an old one, are dropped."""
        from optuna.trial import TrialState

        misses = 0
        half = [trial for trial in self.optimiser.trials
                if not trial.state.is_finished() and POINT not in trial.user_attrs]
        while room:
            begun = half.pop(0) if half else None
            drawn = None
            if misses >= MOST_MISSES:
                drawn = self._draw()
                if drawn is None:
                    return
            number = len(self.optimiser.trials) if begun is None else begun.number
            parameters, values = here.suggest(self._sampler(number), self.space,
                                              drawn and self.space.parameters_of(drawn))
            trial = self._begin(number, begun and begun._trial_id, parameters)
            point = self.specifier.point(values) if self.space.holds(values) else None
            if point is None or point.id in {old.id for old in self.points.values()}:
                self.optimiser.tell(trial, state=TrialState.FAIL)
                here.drop()
                misses += 1
                continue
            trial.set_user_attr(POINT, point.id)
            self.points[trial.number] = point
            misses = 0
            room -= 1
            yield trial

    def _draw(self):
        """A combination that is no point of the search yet, the same for the same trials; None where all are."""
        known = {old.id for old in self.points.values()}
        left = [values for values in assignments(self.study) if self.specifier.point(values).id not in known]
        if not left:
            return None
        key = hashlib.sha256(f"{self.spec.seed} {len(known)}".encode()).digest()
        return left[int.from_bytes(key[:8]) % len(left)]

    def _tell(self, asked, here, session):
        """Run a round and tell what it found, in the order of the trials."""
        asked.sort(key=lambda trial: trial.number)
        worth = [trial for trial in asked if not self._is_pruned(trial, asked, here, session)]
        points = [self.points[trial.number] for trial in worth]
        session.run(points)
        for trial, point in zip(worth, points, strict=True):
            self._tell_one(trial, self._row(point))

    def _is_pruned(self, trial, asked, here, session):
        """Run the cheaper kin of a round once; tell the trial where its own is worse than most before it."""
        if not self.spec.fidelity:
            return False
        from optuna.trial import TrialState

        kin = {one.number: self._cheaper(self.points[one.number]) for one in asked}
        if trial is asked[0]:
            session.run(kin.values())
        row = self._row(kin[trial.number])
        value = row.get(next(iter(self.directions)))
        if row.failure is not None or value is None:
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a resumed round has reported it already, which is as well
            trial.report(float(value), step=0)
        if not here.prunes(self.optimiser.trials[trial.number]):
            return False
        self.optimiser.tell(trial, state=TrialState.PRUNED)
        return True

    def _cheaper(self, point):
        """The point with the fidelity's values where they are smaller."""
        values = {key: min(value, point.values.get(key, value)) for key, value in self.spec.fidelity.items()}
        return self.specifier.point(point.values | values)

    def _row(self, point):
        return row_of(point, self.store.get(point.id))

    def _tell_one(self, trial, row):
        """Tell the figures of a point, and which constraints it breaks; a failure has none."""
        from optuna.trial import TrialState

        found = [row.get(name) for name in self.directions]
        if row.failure is not None or any(not isinstance(value, int | float) for value in found):
            trial.set_user_attr(_WHY, row.failure or "a figure is missing")
            self.optimiser.tell(trial, state=TrialState.FAIL)
            return
        broken = [float(not self._keeps(condition, row)) for condition in self.constraints]
        trial.set_user_attr(BROKEN, broken)
        if _sets_constraints():
            for number, value in enumerate(broken):
                trial.set_constraint(str(number), value)
        self.optimiser.tell(trial, [float(value) for value in found])

    @staticmethod
    def _keeps(condition, row):
        return condition.holds({key: row.get(key) for key in condition.keys})

    def result(self) -> SearchResult:
        """Collect the rows of all trials that were run."""
        from optuna.trial import TrialState

        rows, good, pruned = [], [], 0
        for trial in self.optimiser.trials:
            if trial.number not in self.points or not trial.state.is_finished():
                continue
            if trial.state == TrialState.PRUNED:
                pruned += 1
                continue
            rows.append(self._row(self.points[trial.number]))
            if trial.state == TrialState.COMPLETE and not any(trial.user_attrs.get(BROKEN, ())):
                good.append(rows[-1])
        return SearchResult(rows, self.study, self.directions, good, pruned)


def _sets_constraints():
    """Whether this Optuna takes constraints from the trial; before its version 5 the sampler asks for them."""
    import optuna

    return hasattr(optuna.trial.Trial, "set_constraint")


def _broken(trial):
    """How much a trial breaks each constraint, as Optuna's samplers take it: above 0 is broken."""
    return trial.user_attrs.get(BROKEN, [1.0])
