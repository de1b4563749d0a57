"""Log records of the drop-in command line (spec §5.2): levels, `$RUST_LOG` directives, stderr and a log file.

No stdlib `logging`: it would cost a tenth of the start-up allowance, and the records have a format of their own.
"""

import os
import sys
import time
from collections.abc import Sequence

from .errors import EmuError, LogFileError, brief, printable

LEVELS = {"off": 0, "error": 1, "warn": 2, "info": 3, "debug": 4, "trace": 5}
TARGET = "transactional_emulator"
RUNNER = f"{TARGET}::runner"
DEFAULT = "debug"  # the level in name, where none was asked for (§5.2)
_ANY = LEVELS["trace"]  # of a target that is named without a level
_COLOURS = {"error": "31", "warn": "33", "info": "32", "debug": "34", "trace": "35"}
_TAGS = {name: name.upper().rjust(5) for name in LEVELS}


class Filter:
    """Which records pass: one level, or directives `target=level`, the longest matching target deciding.

    `problems` names each directive that was not understood (and is ignored), `understood` says whether any was.
    `is_of_others` is true where a bare word, such as a level with a typing mistake, names a target and none is ours.
    """

    def __init__(self, text: str):
        self.default = 0
        self.understood = False
        self.targets: list[tuple[str, int]] = []
        self.problems: list[str] = []
        for directive in filter(None, (part.strip() for part in text.split(","))):
            self._add(directive)
        self.targets.sort(key=lambda entry: -len(entry[0]))
        ours = any(name.startswith(TARGET) or TARGET.startswith(name) for name, _ in self.targets)
        self.is_of_others = not ours and not self.default and any(level == _ANY for _, level in self.targets)

    def _add(self, directive):
        target, equals, level = directive.partition("=")
        if not equals and _level(target) is not None:
            self.default = _level(target)
        elif not equals and _is_target(target):
            self.targets.append((target, _ANY))
        elif equals and _is_target(target) and _level(level) is not None:
            self.targets.append((target, _level(level)))
        else:
            self.problems.append(directive)
            return
        self.understood = True

    def level(self, target: str) -> int:
        """Look up the number of the most talkative level that passes for `target`."""
        for prefix, level in self.targets:
            if target.startswith(prefix):
                return level
        return self.default


def _level(text):
    """Read the number of a level given by name (any case) or digit; None if it is neither."""
    text = text.strip().lower()
    if text in LEVELS:
        return LEVELS[text]
    return int(text) if text in ("0", "1", "2", "3", "4", "5") else None


def _is_target(text):
    return bool(text) and not text.isdigit() and not set(text) & set(" []{}\"/")


class Log:
    """Writes records to standard error and, without colours, to a file.

    Parameters
    ----------
    level : str or None
        `--log-level`; beats `rust_log`. With neither the level is debug in name, and `asked_for_debug` is False.
    rust_log : str or None
        Value of `$RUST_LOG`; one with nothing that is understood counts as none.
    file : str or None
        Path of `--log-file`, created or emptied here.
    plain : bool
        Write `warning: message` instead of the testbenches' record format.

    Raises
    ------
    LogFileError
        The directory of `file` does not exist.
    EmuError
        `file` cannot be written.
    """

    def __init__(
        self, level: str | None = None, rust_log: str | None = None, file: str | None = None, plain: bool = False
    ):
        given = level or rust_log
        self.filter = Filter(given or DEFAULT)
        problems = self.filter.problems
        if not self.filter.understood:
            given = None
            self.filter = Filter(DEFAULT)
        self.asked_for_debug = bool(given) and self.filter.level(RUNNER) >= LEVELS["debug"]
        self.plain = plain
        self._levels: dict[str, int] = {}
        self._second = (None, "")
        self._terminal = (None, False)
        self._file = _open(file) if file else None
        self._file_name = file
        for directive in problems:
            self.warn(f"RUST_LOG directive {directive!r} is not understood and ignored")
        if not level and self.filter.is_of_others:
            self._write("warn", brief(f"RUST_LOG {rust_log!r} names no level and nothing of this program: no records"),
                        TARGET)

    def enabled(self, level: str, target: str = TARGET) -> bool:
        """Tell whether a record of `level` for `target` is written."""
        allowed = self._levels.get(target)
        if allowed is None:
            allowed = self._levels[target] = self.filter.level(target)
        return LEVELS[level] <= allowed

    def record(self, level: str, message: str, target: str = TARGET, **fields) -> None:
        """Write one record if it is enabled: message, then the fields as `key=value`, on one line.

        What does not print is escaped: no file name and no key of a file may look like a record of its own. A long
        message is cut, fields such as paths are not.
        """
        if self.enabled(level, target):
            self._write(level, brief(message) + "".join(f" {k}={printable(str(v))}" for k, v in fields.items()), target)

    def record_lines(self, level: str, lines: Sequence[str], target: str = TARGET) -> None:
        """Write one record of several lines if it is enabled."""
        if self.enabled(level, target):
            self._write(level, "\n".join(map(printable, lines)), target)

    def error(self, message, target=TARGET, **fields):
        """Write a record at level error."""
        self.record("error", message, target, **fields)

    def warn(self, message, target=TARGET, **fields):
        """Write a record at level warn."""
        self.record("warn", message, target, **fields)

    def info(self, message, target=TARGET, **fields):
        """Write a record at level info."""
        self.record("info", message, target, **fields)

    def debug(self, message, target=TARGET, **fields):
        """Write a record at level debug."""
        self.record("debug", message, target, **fields)

    def trace(self, message, target=TARGET, **fields):
        """Write a record at level trace."""
        self.record("trace", message, target, **fields)

    def fatal(self, program: str, message: str) -> None:
        """Write the one line that says why a run failed: on standard error whatever the level, and in the file."""
        self._to_stderr(f"{program}: error: {brief(message)}\n")
        if self._file:
            self._to_file(f"{self._now()} {_TAGS['error']} {TARGET}: {brief(message)}\n")

    def close(self) -> None:
        """Close the log file."""
        if self._file:
            self._file.close()
            self._file = None

    def _write(self, level, message, target):
        if self.plain:
            self._to_stderr(f"{'warning' if level == 'warn' else level}: {message}\n")
        else:
            now = self._now()
            if self._is_coloured():
                tag = f"\x1b[{_COLOURS[level]}m{_TAGS[level]}\x1b[0m"
                self._to_stderr(f"\x1b[2m{now}\x1b[0m {tag} \x1b[2m{target}:\x1b[0m {message}\n")
            else:
                self._to_stderr(f"{now} {_TAGS[level]} {target}: {message}\n")
        if self._file:
            self._to_file(f"{self._now()} {_TAGS[level]} {target}: {message}\n")

    def _is_coloured(self):
        """Whether standard error is a terminal that wants colours; asked once a stream."""
        stream = sys.stderr
        if stream is not self._terminal[0]:
            self._terminal = (stream, stream.isatty() and not os.environ.get("NO_COLOR"))
        return self._terminal[1]

    def _now(self):
        """UTC with microseconds; the text of the second is kept, formatting it is the slow part."""
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{nanoseconds // 1000:06d}Z"

    def _to_stderr(self, text):
        try:
            sys.stderr.write(text)
        except (OSError, ValueError):
            # Nobody reads it any more (`2>&1 | head`): the run and its dumps go on.
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process

    def _to_file(self, text):
        try:
            self._file.write(text)
        except OSError as error:
            self._file = None
            self.warn(f"log file {self._file_name}: cannot write: {error.strerror}; no more records go there")


def _open(path):
    """Open the log file, line-buffered so that a killed run leaves whole records."""
    parent = os.path.dirname(path) or "."
    if not os.path.isdir(parent):
        raise LogFileError(f"--log-file {path}: directory {parent} does not exist")
    try:
        return open(path, "w", buffering=1, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise EmuError(f"--log-file {path}: cannot write: {error.strerror}") from None
