"""Errors of the interface and their exit codes (spec §5.5)."""

EXIT_OK = 0
EXIT_LOG_DIR = 1
EXIT_USAGE = 2
EXIT_MAX_INSTRUCTIONS = 3
EXIT_NOT_VALIDATED = 4
EXIT_ERROR = 101
EXIT_INTERRUPTED = 130


def printable(text: str) -> str:
    """Escape what does not print, such as a line end in a file's name or a terminal's control sequence.

    Returns
    -------
    str
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class EmuError(Exception):
    """Anything malformed in an input or illegal in a run: one clear line, exit code 101.

    What does not print, such as a line end in a file's name, is shown escaped.
    """

    exit_code = EXIT_ERROR

    def __init__(self, message: str):
        super().__init__(printable(message))


class UsageError(EmuError):
    """What the command line alone shows to be wrong: exit code 2."""

    exit_code = EXIT_USAGE


class DataNeeded(EmuError):
    """A program was to be timed without data, and its timing can depend on them (§1.8)."""


class LogFileError(EmuError):
    """The directory of `--log-file` does not exist: exit code 1."""

    exit_code = EXIT_LOG_DIR


__all__ = ["DataNeeded", "EmuError", "UsageError"]
