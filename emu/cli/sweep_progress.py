"""Shows how a sweep or a search goes: a bar with rate and time left on a terminal, else a line now and then."""

import collections
import contextlib
import sys
import time

from .. import interrupts
from .entry import say

TELL_EACH_S = 10  # a line, where there is no terminal
WINDOW_S = 60  # the rate is that of the last minute: points at the start compile and load, and kinds of points differ
ENOUGH_S, ENOUGH_POINTS = 5, 10  # of the window, until it says how much is left


class Pace:
    """How fast points came lately, and so how long the rest takes.

    Parameters
    ----------
    clock : callable
        Seconds that rise.
    """

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._seen = collections.deque([(clock(), 0)])

    def restart(self) -> None:
        """Forget the rate: points run somewhere else now."""
        self._seen = collections.deque([(self._clock(), self._seen[-1][1])])

    def reached(self, finished: int) -> None:
        """Take note of how many points are done."""
        now = self._clock()
        self._seen.append((now, finished))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_S:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Points a second in the window; 0.0 where none came."""
        (began, before), (now, finished) = self._seen[0], self._seen[-1]
        return (finished - before) / (now - began) if now > began else 0.0

    def left(self, points: int) -> float | None:
        """Tell how many seconds the rest of so many points takes; None where too little was seen to say it."""
        (began, before), (now, finished) = self._seen[0], self._seen[-1]
        if finished >= points:
            return 0.0
        if now - began < ENOUGH_S or finished - before < ENOUGH_POINTS:
            return None
        return (points - finished) / self.rate


class sweep_progress:
    """Context whose value watches a sweep: a bar on a terminal, else a line now and then."""

    def __init__(self, quiet):
        self.quiet = quiet
        self.bar = None
        self.points = self.finished = self.failed = 0
        self.told_at = time.monotonic()
        self.pace = Pace()

    def __enter__(self):
        return self

    def planned(self, points, stored):
        """Say how many points there are."""
        self.points = points - stored
        known = f", {stored:,} of them stored already" if stored else ""
        self._line(f"{points:,} point{'s' * (points != 1)}{known}")

    def began(self, where):
        """Say where points run; the bar starts."""
        self.pace.restart()
        if self.quiet:
            return
        if not sys.stderr.isatty():
            self._line(f"points run {where}")
            return
        if self.bar is None:
            self._start_bar()
        if self.bar is not None:
            self.bar.update(self.task, description=where)

    def _start_bar(self):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"),
                   TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.bar.add_task("", total=self.points, told="")
        with contextlib.suppress(RuntimeError):  # no thread can be started that draws it
            self.bar.start()

    def done(self, points, failures):
        """Count points that are done."""
        self.finished += points
        self.failed += failures
        self.pace.reached(self.finished)
        if self.bar is not None:
            self.bar.update(self.task, completed=self.finished, told=self._told())
        elif time.monotonic() - self.told_at > TELL_EACH_S:
            self.told_at = time.monotonic()
            self._line(f"{self.finished:,} of {self.points:,} points, {self._told()}")

    def _told(self):
        """Rate, failures, and what is left where enough was seen to say it."""
        left = self.pace.left(self.points)
        parts = [f"{self.pace.rate:,.1f}/s", f"{self.failed:,} failed" if self.failed else "",
                 f"{duration(left)} left" if left else ""]
        return ", ".join(part for part in parts if part)

    def said(self, line):
        """Tell what happened."""
        if self.bar is not None:
            self.bar.console.print(f"warning: {line}", markup=False, highlight=False)
        else:
            print(f"warning: {line}", file=sys.stderr)

    def interrupted(self, command, stopped, what, is_stored):
        """Say how far a sweep came that a signal ended; returns the exit status."""
        self.stop()
        kept = "are stored: the same command goes on" if is_stored else "ran; with --store nothing would be lost"
        say(command, f"{interrupts.word()}: {stopped.stored} of {stopped.points} {what} {kept}")
        return interrupts.status()

    def _line(self, text):
        if not self.quiet:
            print(text, file=sys.stderr)

    def stop(self):
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def __exit__(self, *failure):
        self.stop()


def duration(seconds):
    """Write a duration for people: `12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "less than a second"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
