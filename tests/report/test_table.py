"""Does the one writer of tables keep every word: one line a row in pipes, wrapped between words on terminals?"""

import io
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plena_emu.report.quantities import byte_count, duration, size
from plena_emu.report.table import Table, Title, pairs, render, terminal_width, write

WORD = st.text(st.sampled_from("abcXYZ019/._-é"), min_size=1, max_size=70)
TEXT = st.lists(WORD, min_size=1, max_size=12).map(" ".join)


def words(text):
    return re.findall(r"\S+", text)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_table_in_a_pipe():
    table = Table([("a", "1,000", "text of any length " * 20), ("bcd", "2", "x")], "lrl", ("name", "n", "what"), 2)
    assert render([Title("T"), table, "", "end"]).split("\n") == [
        "T", "  name      n  what", "  a     1,000  " + ("text of any length " * 20).rstrip(), "  bcd       2  x", "",
        "end"]


def test_the_last_column_is_wrapped_between_words():
    rows = [("name", "one two three four five six seven eight"), ("left out", None), ("n", "short")]
    text = render([pairs(rows)], 32)
    assert text.split("\n") == ["name  one two three four five", "        six seven eight", "n     short"]


def test_a_table_of_figures_becomes_blocks():
    table = Table([("p", "1,234", "5"), ("q", "7", "")], "lrr", ("program", "instructions", "a very long heading"))
    assert render([table], 30).split("\n") == [
        "p", "  instructions: 1,234", "  a very long heading: 5", "q", "  instructions: 7"]


def test_a_long_word_is_left_whole():
    path = "/a/" + "b" * 90
    assert path in render([pairs([("program", path)])], 60).split("\n")[1]


@settings(max_examples=200, deadline=None)
@example([("0" * 26, "0" * 26, "0 " + "0" * 23)], "lll", False, 0, 80)  # the second line is indented
@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5), st.sampled_from(["lll", "lrr", "rrl", "lrl"]),
       st.booleans(), st.integers(0, 4), st.integers(20, 120))
def test_no_word_is_lost_or_broken(rows, align, headed, indent, width):
    head = ("first", "second thing", "third") if headed else ()
    table = Table(rows, align, head, indent)
    piped = render([table])
    assert piped.count("\n") == len(rows) - 1 + headed
    assert words(piped) == words(" ".join([*head, *(cell for row in rows for cell in row)]))
    narrow = render([table], width)
    wanted = sorted(words(" ".join(cell for row in rows for cell in row)))
    found = sorted(words(narrow))
    for word in wanted:
        found.remove(word)
    longest = max(map(len, wanted))
    assert all(len(line) <= max(width, longest + indent + len("second thing: ") + 4) for line in narrow.split("\n"))


def test_control_characters_are_shown():
    assert render([Title("a\x1b[2J"), "b\nc", pairs([("k\r", "\ud800")])]) == (
        "a\\x1b[2J\nb\\nc\nk\\r  \\ud800")


def test_terminals_show_titles_bold(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    for stream, colour, expected in ((io.StringIO(), "", "T\n"), (Terminal(), "", "\x1b[1mT\x1b[0m\n"),
                                     (Terminal(), "1", "T\n")):
        monkeypatch.setenv("NO_COLOR", colour)
        write([Title("T")], stream)
        assert stream.getvalue() == expected
    assert (terminal_width(Terminal()), terminal_width(io.StringIO())) == (60, None)


@pytest.mark.parametrize("count, text, exact", [
    (0, "0 bytes", "0 bytes"), (1, "1 byte", "1 byte"), (1023, "1,023 bytes", "1,023 bytes"),
    (2**29, "512 MiB", "536,870,912 bytes = 512 MiB"), (2**35, "32 GiB", "34,359,738,368 bytes = 32 GiB"),
    (4718592, "4.50 MiB", "4,718,592 bytes = 4.50 MiB"), (2**62, "4,194,304 TiB", f"{2**62:,} bytes = 4,194,304 TiB"),
])
def test_sizes(count, text, exact):
    assert (size(count), byte_count(count)) == (text, exact)


@pytest.mark.parametrize("seconds, text", [
    (0, "0.000 ms"), (0.00014, "0.140 ms"), (0.9994, "999.400 ms"), (1, "1.000 s"), (59.9, "59.900 s"),
    (59.99999, "1m 00.0 s"), (150.8, "2m 30.8 s"), (3599.96, "1h 00m 00 s"), (3725, "1h 02m 05 s"),
])
def test_durations(seconds, text):
    assert duration(seconds) == text
