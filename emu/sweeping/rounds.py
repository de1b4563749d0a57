"""What the optimiser of a search knows when it is asked: the results of earlier rounds, and of its own round only which
points were asked for.

So the points of a round do not depend on when it was asked for: a search of 11 trials that is continued to 30 asks for
what a search of 30 asks for. An example with rounds of 8: trials 8 to 15 are chosen knowing the results of trials 0 to
7, whether trials 8 to 10 were run long ago or are still to be run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

POINT, BROKEN = "point", "broken"  # attributes of a trial: the hash of its point, which constraints it breaks


class Round:
    """Chooses the parameters of new trials; a copy of a search's trials without the results of one round.

    Parameters
    ----------
    trials : iterable of optuna.trial.FrozenTrial
        Every trial of the search so far, in order; one that was begun and is no point yet must be the last.
    first : int
        How many points the rounds before have. Later ones are of this round: their results are not known.
    directions : list of str
    pruner : optuna.pruners.BasePruner
    """

    def __init__(self, trials: Iterable[Any], first: int, directions: list[Any], pruner: Any):
        import optuna

        self._view = optuna.create_study(directions=directions)
        self._pruner = pruner
        points = 0
        for trial in trials:
            is_point = POINT in trial.user_attrs
            if not is_point and not trial.state.is_finished():
                break
            if is_point and points >= first:
                trial = optuna.trial.create_trial(  # noqa: PLW2901
                    state=optuna.trial.TrialState.RUNNING, params=trial.params, distributions=trial.distributions)
            points += is_point
            self._view.add_trial(trial)

    def suggest(self, sampler: Any, space: Any, drawn: Mapping[str, int] | None) -> tuple[dict[str, int], Any]:
        """Choose the parameters of the next trial.

        Parameters
        ----------
        sampler : optuna.samplers.BaseSampler
            Of this trial alone.
        space : Space
        drawn : mapping or None
            Parameters that were chosen otherwise.

        Returns
        -------
        (dict of str to int, dict)
            The parameters, and the values of the point.
        """
        self._view.sampler = sampler
        if drawn is not None:
            self._view.enqueue_trial(dict(drawn))
        self._last = self._view.ask()
        values = space.suggest(self._last)
        return self._last.params, values

    def drop(self) -> None:
        """Forget the point of the last suggestion: it is none of the study, or an old one."""
        from optuna.trial import TrialState

        self._view.tell(self._last, state=TrialState.FAIL)

    def prunes(self, trial: Any) -> bool:
        """Tell whether a trial (FrozenTrial), whose cheaper kin was reported, is worse than most of earlier rounds."""
        return self._pruner.prune(self._view, trial)


def seed_of(seed: int, number: int) -> int:
    """Make the seed of the sampler of a trial from that of the search and the trial's number."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4])
