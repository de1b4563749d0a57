"""Do log records look as testbenches scan them (§5.2), and do levels and directives choose them?"""

import re
import sys

import pytest

from plena_emu.errors import EXIT_LOG_DIR, EmuError, LogFileError
from plena_emu.logs import RUNNER, TARGET, Log

RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (TRACE|DEBUG| INFO| WARN|ERROR) [a-z_:]+: .+\n")


def written(capsys, log):
    """Levels that reach standard error for the emulator's own target."""
    for level in ("error", "warn", "info", "debug", "trace"):
        log.record(level, f"a {level}")
    return re.findall(r"a (\w+)", capsys.readouterr().err)


def test_a_record_has_time_level_target_message_and_fields(capsys):
    log = Log("debug")
    log.warn("Topology", RUNNER, mlen=64, vlen=64, hlen=16, blen=4)
    log.info("x")
    first, second = capsys.readouterr().err.splitlines(keepends=True)
    assert RECORD.fullmatch(first) and RECORD.fullmatch(second)
    assert first[27:] == "  WARN transactional_emulator::runner: Topology mlen=64 vlen=64 hlen=16 blen=4\n"
    assert re.search(r"mlen=(\d+)\s+vlen=(\d+)\s+.*blen=(\d+)", first).groups() == ("64", "64", "4")
    assert second[27:] == "  INFO transactional_emulator: x\n"


ORDER = ["error", "warn", "info", "debug", "trace"]


@pytest.mark.parametrize("count, level", list(enumerate(["off"] + ORDER)))
def test_levels(capsys, count, level):
    assert written(capsys, Log(level)) == ORDER[:count]
    assert written(capsys, Log(None, level.upper())) == ORDER[:count]
    assert Log(level).asked_for_debug == (count >= 4)


def test_the_default_is_debug_in_name_only():
    for log in (Log(), Log(None, "")):
        assert log.enabled("debug") and not log.enabled("trace")
        assert not log.asked_for_debug
    assert Log("debug").asked_for_debug and Log(None, "debug").asked_for_debug
    assert not Log("info", "trace").asked_for_debug


@pytest.mark.parametrize("text", ["=", ",,", "9", "transactional_emulator=loud", "[x]"])
def test_a_variable_of_which_nothing_is_understood_counts_as_none(capsys, text):
    """The records that testbenches wait for must not vanish because of it."""
    log = Log(None, text)
    assert text.count(",") or repr(text) in capsys.readouterr().err
    assert log.enabled("debug") and not log.asked_for_debug


def test_the_flag_beats_the_variable(capsys):
    assert written(capsys, Log("error", "trace")) == ["error"]


@pytest.mark.parametrize("text, own, runner, other", [
    ("warn,transactional_emulator=info", "info", "info", "warn"),
    ("transactional_emulator=info,warn", "info", "info", "warn"),
    ("transactional_emulator::runner=error,transactional_emulator=debug", "debug", "error", "off"),
    ("trace,other=off", "trace", "trace", "off"),
    ("transactional_emulator", "trace", "trace", "off"),
    (" info ,other=warn ", "info", "info", "warn"),
    ("3,other=1", "info", "info", "error"),
])
def test_directives(text, own, runner, other):
    log = Log(None, text)
    for target, level in ((TARGET, own), (RUNNER, runner), ("other", other)):
        enabled = [name for name in ORDER if log.enabled(name, target)]
        assert enabled == ORDER[: ["off", *ORDER].index(level)]


@pytest.mark.parametrize("text, asked", [
    ("transactional_emulator::runner=debug", True),
    ("transactional_emulator=debug,transactional_emulator::runner=info", False),
    ("transactional_emulator::settings=trace", False),
])
def test_records_of_instructions_follow_their_own_target(text, asked):
    assert Log(None, text).asked_for_debug == asked


def test_directives_not_understood_are_named(capsys):
    log = Log(None, "info,transactional_emulator=loud,a[span]=info")
    text = capsys.readouterr().err
    assert "'transactional_emulator=loud'" in text and "'a[span]=info'" in text
    assert log.enabled("info") and not log.enabled("debug")


def test_colours_only_on_a_terminal_and_never_in_the_file(tmp_path, capsys, monkeypatch):
    path = tmp_path / "run.log"
    monkeypatch.delenv("NO_COLOR", raising=False)
    log = Log("info", None, str(path))
    log.info("plain")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    log._terminal = (None, False)  # the stream became a terminal
    log.info("coloured")
    log.close()
    plain, coloured = capsys.readouterr().err.splitlines()
    assert "\x1b" not in plain and "\x1b[32m INFO\x1b[0m" in coloured
    assert re.fullmatch(f"({RECORD.pattern}){{2}}", path.read_text())


def test_fatal_reaches_standard_error_at_any_level(tmp_path, capsys):
    path = tmp_path / "run.log"
    log = Log("off", None, str(path))
    log.fatal("prog", "the reason")
    log.close()
    assert capsys.readouterr().err == "prog: error: the reason\n"
    assert path.read_text().endswith("ERROR transactional_emulator: the reason\n")


def test_the_log_file_is_new_each_time(tmp_path):
    path = tmp_path / "run.log"
    path.write_text("old\n")
    Log("info", None, str(path)).close()
    assert path.read_text() == ""


def test_log_file_errors(tmp_path):
    with pytest.raises(LogFileError, match="none does not exist") as caught:
        Log(None, None, str(tmp_path / "none" / "run.log"))
    assert caught.value.exit_code == EXIT_LOG_DIR
    with pytest.raises(EmuError, match="cannot write") as caught:
        Log(None, None, str(tmp_path))
    assert caught.value.exit_code == 101


def test_plain_form(capsys):
    log = Log("warn", plain=True)
    log.warn("rows dropped", count=3)
    log.error("bad")
    log.info("quiet")
    assert capsys.readouterr().err == "warning: rows dropped count=3\nerror: bad\n"


def test_a_reader_that_went_away_does_not_end_the_run(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        def isatty(self):
            return False

    monkeypatch.setattr("sys.stderr", Closed())
    log = Log("info")
    log.info("one")
    log.info("two")
    sys.stderr.close()  # what takes the reader's place


def test_no_name_or_key_can_forge_a_record(capsys, tmp_path):
    log = Log("info", file=str(tmp_path / "log"))
    log.warn("weight manifest m: x\nSimulation completed. Latency 0.000ns: unknown key\x1b[2J", path="a\nb")
    log.record_lines("info", ["HBM Statistics", "Capacity\nmodel"])
    log.close()
    for text in (capsys.readouterr().err, (tmp_path / "log").read_text()):
        lines = text.splitlines()
        assert len(lines) == 3 and lines[0].endswith(r"0.000ns: unknown key\x1b[2J path=a\nb")
        assert lines[1].endswith("HBM Statistics") and lines[2] == r"Capacity\nmodel"
