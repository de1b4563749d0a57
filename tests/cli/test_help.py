"""Does help fit the terminal, whatever its width, without a broken word and with everything in it?"""

import importlib

import pytest

from plena_emu.cli import dropin
from plena_emu.cli.main import COMMANDS, build_parser

WIDTHS = (60, 80, 200)


def help_of(command, monkeypatch, width):
    """Help of a command, of `plena-emu` (None) or of the drop-in, on a terminal of `width` columns."""
    monkeypatch.setenv("COLUMNS", str(width))
    if command == "drop-in":
        return dropin.build_parser().format_help()
    parser = build_parser([command] if command else [])
    return (parser._subparsers._group_actions[0].choices[command] if command else parser).format_help()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", [None, "drop-in", *COMMANDS])
def test_no_line_is_longer_than_the_terminal(command, monkeypatch, width):
    text = help_of(command, monkeypatch, width)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("command", COMMANDS)
def test_every_word_of_the_description_is_there(command, monkeypatch):
    """In its order; a command that does not fit goes on after a backslash."""
    module = importlib.import_module(f"plena_emu.cli.{command.replace('-', '_')}")
    for width in WIDTHS:
        words = [word for word in help_of(command, monkeypatch, width).split() if word != "\\"]
        said = module.__doc__.split()
        assert any(words[at : at + len(said)] == said for at in range(len(words)))


def test_commands_keep_their_lines(monkeypatch):
    text = help_of("report", monkeypatch, 200)
    assert "\n  plena-emu report r.json -o r.html --capacity-curve\n" in text
    narrow = help_of("report", monkeypatch, 60).splitlines()
    first = next(at for at, line in enumerate(narrow) if line.startswith("  plena-emu run BUILD"))
    assert narrow[first].endswith(" \\") and narrow[first + 1].startswith("      ")


@pytest.mark.parametrize("command, flag, last", [("run", "--memory-model MODEL", "weight-stream"),
                                                 ("dram", "--format FORMAT", "scalesim-ofmap")])
def test_long_choices_stand_in_the_help(monkeypatch, command, flag, last):
    text = help_of(command, monkeypatch, 80)
    assert flag in text and last in text and "{hbm," not in text and "{csv," not in text
