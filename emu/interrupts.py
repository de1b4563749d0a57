"""What signals do to a process: none is lost, none cuts work in two, and nothing half-written is left.

The executables call `watch` before they import anything. From then on Ctrl-C ends the process at once, with its one
line and status 130, wherever it is. No exception is raised for it: one raised while a library is imported, or in a
callback from C, gets lost, turns into another error, or crashes the library. Work that holds more than output files,
such as temporary directories, runs within `unwinding` and gets a `KeyboardInterrupt`. Imports nothing of weight.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

_ENDING = (signal.SIGTERM, signal.SIGHUP)  # end a process by default, without a word to Python
_cleanups: list[Callable[[], None]] = []  # called before a signal ends the process, the last first


class _Watch:
    """Whether `watch` was called, what to say at the end, and how Ctrl-C is taken now."""

    announce: Callable[[], None] | None = None
    is_unwinding = False
    is_pending = False  # a KeyboardInterrupt was raised; whoever it met may have lost it
    number = signal.SIGINT  # the signal that came


def watch(announce: Callable[[], None]) -> None:
    """Take Ctrl-C for a process, unless it is ignored (`nohup`); `announce` says that the process was interrupted."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)
    _Watch.announce = announce


def announce_by(announce: Callable[[], None]) -> None:
    """Let another function say that the process was interrupted; nothing where nobody watches."""
    if _Watch.announce is not None:
        _Watch.announce = announce


def end_watch() -> None:
    """Ignore Ctrl-C from here on: the exit status is decided."""
    if signal.getsignal(signal.SIGINT) is _on_interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def word() -> str:
    """Say what ended the process: `interrupted`, or `ended by SIGTERM`."""
    return "interrupted" if _Watch.number == signal.SIGINT else f"ended by {signal.Signals(_Watch.number).name}"


def status() -> int:
    """Tell the exit status after the signal that came: 128 and its number, 130 for Ctrl-C."""
    return 128 + _Watch.number


def _on_interrupt(number, frame):
    _Watch.number = number
    if _Watch.is_unwinding and not _Watch.is_pending:
        _Watch.is_pending = True
        raise KeyboardInterrupt
    _leave()


def _leave():
    """End the process, now."""
    _clean_up()
    with contextlib.suppress(BaseException):
        if _Watch.announce is not None:
            _Watch.announce()
    os._exit(status())


def _clean_up():
    for cleanup in reversed(_cleanups):
        with contextlib.suppress(BaseException):
            cleanup()


@contextlib.contextmanager
def unwinding(with_ends: bool = False) -> Iterator[None]:
    """Take Ctrl-C as a `KeyboardInterrupt`, as a context; a second one, or one that was lost, ends the process.

    Parameters
    ----------
    with_ends : bool
        SIGTERM and SIGHUP as well, where this process watches: work that keeps other processes has to end them.
    """
    taken = []
    if with_ends and _Watch.announce is not None and threading.current_thread() is threading.main_thread():
        taken = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    before, _Watch.is_unwinding = _Watch.is_unwinding, True
    for number in taken:
        signal.signal(number, _on_interrupt)
    try:
        yield
        is_lost = _Watch.is_pending
    finally:
        _Watch.is_unwinding = before
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
    if is_lost:
        _leave()


@contextlib.contextmanager
def at_interrupt(cleanup: Callable[[], None]) -> Iterator[None]:
    """Call `cleanup`, as a context, before Ctrl-C ends the process."""
    _cleanups.append(cleanup)
    try:
        yield
    finally:
        _cleanups.remove(cleanup)


@contextlib.contextmanager
def cleaning(cleanup: Callable[[], None]) -> Iterator[None]:
    """Call `cleanup`, as a context, before any signal ends the process: Ctrl-C, SIGTERM or SIGHUP.

    It is for work in Python alone: within compiled code a handler waits, where the signal's own action would not.
    """
    replaced = []
    if threading.current_thread() is threading.main_thread():
        replaced = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    with at_interrupt(cleanup):
        for number in replaced:
            signal.signal(number, _on_end)
        try:
            yield
        finally:
            for number in replaced:
                signal.signal(number, signal.SIG_DFL)


def _on_end(number, frame):
    """Clean up, then let the signal do what it does."""
    _clean_up()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let signals wait for the end of the context: what is within happens as a whole or not at all."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs its handlers in the main thread, not here
        return
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING)}
    taken = [number for number, handler in before.items() if handler is not None and handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, lambda arriving, frame: arrived.append(arriving))
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
        for first in arrived[:1]:
            signal.raise_signal(first)
