"""The argument parser of both executables, and how its help is laid out."""

import argparse
import contextlib
import os
import sys

from ..errors import brief

_LONGEST_CHOICES = 30  # characters of a list of choices that stands in the usage


class HelpFormatter(argparse.HelpFormatter):
    """Lays help out for terminals of any width: paragraphs are filled, and no word is broken.

    Lines that begin with blanks are commands: one that is too long goes on below, after a backslash.
    """

    def __init__(self, prog, **options):
        super().__init__(prog, **({"width": _columns() - 2} | options))

    def _fill_text(self, text, width, indent):
        lines, paragraph = [], []
        for line in [*text.splitlines(), ""]:
            if line.strip() and not line.startswith(" "):
                paragraph.append(line)
                continue
            lines += _wrapped(" ".join(paragraph), width)
            paragraph = []
            lines += _command(line, width)
        return "".join(f"{indent}{line}\n" for line in lines).rstrip()

    def _split_lines(self, text, width):
        return _wrapped(" ".join(text.split()), width)

    def _metavar_formatter(self, action, default_metavar):
        if _has_long_choices(action):
            name = action.dest.rpartition("_")[2].upper()
            return lambda count: (name,) * count
        return super()._metavar_formatter(action, default_metavar)

    def _expand_help(self, action):
        text = super()._expand_help(action)
        return f"{text}: {', '.join(action.choices)}" if _has_long_choices(action) else text


def _has_long_choices(action):
    """Tell whether the choices of an argument stand in its help, as the usage has no room for them."""
    return (action.metavar is None and action.choices is not None and not isinstance(action.choices, dict)
            and len(",".join(map(str, action.choices))) > _LONGEST_CHOICES)


def _columns():
    """Find the columns of the terminal as `shutil` does, which argparse would import: it makes a formatter a flag."""
    with contextlib.suppress(ValueError):
        if int(os.environ.get("COLUMNS", 0)) > 0:
            return int(os.environ["COLUMNS"])
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80
    except (AttributeError, ValueError, OSError):  # no standard output, or it is no terminal
        return 80


def _wrapped(text, width):
    import textwrap  # for help alone

    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _command(line, width):
    """A blank line, or a command in as many lines as it needs."""
    import textwrap

    if len(line) <= width:
        return [line]
    begin = " " * (len(line) - len(line.lstrip()))
    parts = textwrap.wrap(line, width - 2, subsequent_indent=begin + "    ", break_long_words=False,
                          break_on_hyphens=False)
    return [f"{part} \\" for part in parts[:-1]] + parts[-1:]


class Parser(argparse.ArgumentParser):
    """Usage errors are one line (spec §5.5), and a flag is never guessed from its beginning."""

    def __init__(self, **options):
        super().__init__(**({"allow_abbrev": False, "formatter_class": HelpFormatter} | options))

    def error(self, message):
        """End the process with status 2 and `message` on one line."""
        line = " ".join(message.split())
        self.exit(2, f"{self.prog}: error: {brief(line)} (see --help)\n")
