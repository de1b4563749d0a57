"""Errors of the interface and their exit codes (spec §5.5)."""

EXIT_OK = 0
EXIT_LOG_DIR = 1
EXIT_USAGE = 2
EXIT_MAX_INSTRUCTIONS = 3
EXIT_NOT_VALIDATED = 4
EXIT_ERROR = 101
EXIT_INTERRUPTED = 130
_LONGEST_WORD = 200  # characters; of what a program's text or a command line holds, no more is shown
_LONGEST_MESSAGE = 2000


def printable(text: str) -> str:
    """Escape what does not print, such as a line end in a file's name or a terminal's control sequence.

    Returns
    -------
    str
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def brief(text: str) -> str:
    """Make a message one readable line: escaped as by `printable`, and its long parts cut.

    A word of more than 200 characters keeps both ends, and so does a message of more than 2000: what an input says
    comes first, what was expected last.

    Returns
    -------
    str
    """
    if len(text) > _LONGEST_WORD:
        import re

        text = re.sub(r"\S+", lambda word: _ends(word[0], _LONGEST_WORD), _ends(text, 4 * _LONGEST_MESSAGE))
    return _ends(printable(text), _LONGEST_MESSAGE)


def _ends(text, most):
    """Keep two thirds of `most` characters from the beginning of a text and one from its end."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 3]}...{text[-tail:]}"


class EmuError(Exception):
    """Anything malformed in an input or illegal in a run: one clear line, exit code 101.

    What does not print, such as a line end in a file's name, is shown escaped; what is long is cut (`brief`).
    """

    exit_code = EXIT_ERROR

    def __init__(self, message: str):
        super().__init__(brief(message))


class UsageError(EmuError):
    """What the command line alone shows to be wrong: exit code 2."""

    exit_code = EXIT_USAGE


class DataNeeded(EmuError):
    """A program was to be timed without data, and its timing can depend on them (§1.8)."""


class LogFileError(EmuError):
    """The directory of `--log-file` does not exist: exit code 1."""

    exit_code = EXIT_LOG_DIR


__all__ = ["DataNeeded", "EmuError", "UsageError"]
