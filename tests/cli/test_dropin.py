"""Does the drop-in behave around a sound run as §5.1 - §5.5 say: records, levels, log file, dumps, Ctrl-C?"""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from support import changed, write_settings

from plena_emu.cli import dropin
from plena_emu.precompile import warm
from plena_emu.program.assembler import assemble, mem_text

ARGV = ["--opcode", "p.mem", "--hbm", "hbm.bin", "--fpsram", "fp.bin", "--settings", "s.toml",
        "--memory-model", "resident", "--weight-manifest", "w.json"]
DUMPS = ["fpsram_dump.bin", "mram_dump.bin", "vram_dump.bin"]


@pytest.fixture(scope="module", autouse=True)
def warmed():
    """Compiled kernels, so that no run has a line to say about compiling them."""
    warm()


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Working directory with a program that loops and reads the HBM; returns a function that replaces the program."""
    monkeypatch.chdir(tmp_path)

    def program(text, **settings):
        (tmp_path / "p.mem").write_text(mem_text(assemble(text)))
        write_settings(tmp_path / "s.toml", changed(settings["key"], settings["value"]) if settings else None)

    program("C_LOOP_START gp1, 2\nH_PREFETCH_V gp0, gp0, a0, 1, 0\nC_LOOP_END gp1\nS_ADDI_INT gp2, gp0, 7\n")
    (tmp_path / "hbm.bin").write_bytes(bytes(range(256)))
    (tmp_path / "fp.bin").write_bytes(b"\x00\x3c")
    (tmp_path / "w.json").write_text('{"activation_ceiling": 0, "regions": []}')
    return program


def dumps():
    return sorted(name for name in os.listdir() if name.endswith("_dump.bin"))


def test_a_run_writes_the_scanned_records_in_order(build, capsys):
    assert dropin.main(ARGV) == 0
    text = capsys.readouterr().err
    order = ["Topology mlen=16", "Settings from s.toml", "HBM size 4096 bytes", "mram_dump.bin", "vram_dump.bin",
             "fpsram_dump.bin", "HBM Statistics - Bytes read: ", "Capacity model [resident] - resident bytes: ",
             "Simulation completed. Latency "]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert text.count("\n") == text[: places[-1]].count("\n") + 1
    assert "execute op" not in text
    read = int(re.search(r"HBM Statistics - Bytes read:\s*([0-9]+)\s*\|\s*Bytes written:\s*([0-9]+)", text).group(1))
    assert read > 0 and read % 64 == 0
    assert dumps() == DUMPS
    fp_sram = pathlib.Path("fpsram_dump.bin").read_bytes()
    assert len(fp_sram) == 2048 and fp_sram[:2] == b"\x80\x3f"


def test_asking_for_debug_records_every_executed_instruction(build, capsys, monkeypatch):
    monkeypatch.setenv("RUST_LOG", "debug")
    assert dropin.main(ARGV) == 0
    ops = re.findall(r"DEBUG transactional_emulator::runner: execute op (pc=\d+ op=.*)", capsys.readouterr().err)
    prefetch = "pc=1 op=H_PREFETCH_V { rd: 0, rs1: 0, rs2: 0, rstride: 1, precision: Activation }"
    assert ops == ["pc=0 op=C_LOOP_START { rd: 1, imm: 2 }", prefetch, "pc=2 op=C_LOOP_END { rd: 1 }", prefetch,
                   "pc=2 op=C_LOOP_END { rd: 1 }", "pc=3 op=S_ADDI_INT { rd: 2, rs1: 0, imm: 7 }"]


def test_records_up_to_the_failing_instruction(build, capsys):
    build("S_ADDI_INT gp1, gp0, 3\nV_EXP_V gp1, gp1\n")
    assert dropin.main(ARGV + ["--log-level", "debug"]) == 101
    assert re.findall(r"execute op pc=(\d+)", capsys.readouterr().err) == ["0", "1"]


def test_levels_and_the_log_file(build, capsys):
    assert dropin.main(ARGV + ["--log-level", "info", "--log-file", "run.log"]) == 0
    shown = capsys.readouterr().err
    kept = pathlib.Path("run.log").read_text()
    strip = re.compile(r"^\S+Z ", re.MULTILINE)
    assert strip.sub("", kept) == strip.sub("", shown)
    assert dropin.main(ARGV + ["--log-level", "off"]) == 0
    assert capsys.readouterr().err == ""


def test_two_runs_give_the_same_bytes(build, capsys):
    outcomes = []
    for _ in range(2):
        assert dropin.main(ARGV) == 0
        figures = re.findall(r"Latency.*|Statistics.*", capsys.readouterr().err)
        outcomes.append((figures, [pathlib.Path(name).read_bytes() for name in DUMPS]))
    assert outcomes[0] == outcomes[1] and len(outcomes[0][0]) == 2


def test_ctrl_c_is_status_130_with_one_line_and_no_dumps(build):
    starts = "".join(f"C_LOOP_START gp{reg}, 4194303\n" for reg in (1, 2, 3))
    ends = "".join(f"C_LOOP_END gp{reg}\n" for reg in (3, 2, 1))
    build(starts + ends, key="TRANSACTIONAL.CONFIG.MAX_LOOP_INSTRUCTIONS.value", value=2**62)
    run = subprocess.Popen([sys.executable, "-m", "plena_emu.cli.dropin", *ARGV], stderr=subprocess.PIPE, text=True)
    try:
        assert "Topology" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        _, rest = run.communicate(timeout=300)
    finally:
        run.kill()
    assert run.returncode == 130
    assert rest.splitlines()[-1] == "transactional_emulator: error: interrupted"
    assert "Traceback" not in rest and dumps() == []


def test_standard_error_may_be_closed_early(build):
    """A testbench that stops reading still gets its dumps."""
    emulator = f"{sys.executable} -m plena_emu.cli.dropin {' '.join(ARGV)}"
    command = f"{emulator} 2>&1 | head -n 1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
    assert "Topology" in ran.stdout and ran.stdout.count("\n") == 1
    assert ran.returncode == 0 and ran.stderr == ""
    assert dumps() == DUMPS
