"""`plena-emu inspect`: values at a place inside a run, against dumps, the log of instructions and the preloads."""

import re

import numpy as np
import pytest
from oracle import goldens

from plena_emu.api import run
from plena_emu.cli.main import main


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return goldens.unpack(goldens.find("base_aten_linear"), tmp_path_factory.mktemp("build")).directory


def inspect(capsys, build, *arguments):
    assert main(["inspect", str(build), *arguments]) == 0
    return capsys.readouterr().out


def numbers(text, title):
    """Values below a title; the first number of each line is an index."""
    block = re.search(rf"^{title}.*\n((?:  .*\n?)+)", text, re.MULTILINE)[1]
    return [float(part) for line in block.splitlines() for part in line.split()[1:]]


def test_the_end_is_what_the_dumps_hold(build, tmp_path, capsys):
    result = run(str(build), dump_dir=str(tmp_path))
    text = inspect(capsys, build, "--at", "end", "--rows", "0:64", "--tile", "0", "--fp")
    assert f"after {result.instructions:,} instructions, {result.end_ps / 1e6:,.3f} µs, at the end" in text
    vlen = result.geometry.vlen
    words = np.fromfile(tmp_path / "vram_dump.bin", "<u2", 64 * vlen)
    rows = (words.astype(np.uint32) << 16).view(np.float32).reshape(64, vlen)
    assert rows.any()
    for row in (0, 1, 63):
        assert np.allclose(numbers(text, f"vector row {row} "), rows[row], rtol=1e-5, atol=0)
    tile = (np.fromfile(tmp_path / "mram_dump.bin", "<u2", vlen * vlen).astype(np.uint32) << 16).view(np.float32)
    assert np.allclose(numbers(text, "tile 0, row 3"), tile.reshape(vlen, vlen)[3], rtol=1e-5, atol=0)


@pytest.mark.parametrize("place", ["count=0", "count=57", "count=4000", "pc=40", "linear", "embed"])
def test_registers_in_the_middle(build, tmp_path, capsys, place):
    """Integer registers are those that the log of instructions shows."""
    path = tmp_path / "w.tsv"
    run(str(build), timing_only=True, pc_log=str(path), pc_log_from=place, pc_log_count=1)
    count, start, _, pc, *_, rd, rs1, rs2 = path.read_text().splitlines()[1].split("\t")
    text = inspect(capsys, build, "--at", place, "--gp")
    assert f"after {int(count):,} instructions, {float(start) / 1e3:,.3f} µs, before pc {pc}:" in text
    gp = numbers(text, "integer registers")
    word = int((build / "generated_machine_code.mem").read_text().split()[int(pc)], 16)
    assert [gp[word >> shift & 15] for shift in (6, 10, 14)] == [int(value) for value in (rd, rs1, rs2)]


def test_hbm_is_the_preload_before_anything_ran(build, capsys):
    text = inspect(capsys, build, "--at", "count=0", "--hbm", "10:80")
    preload = (build / "hbm_for_behave_sim.bin").read_bytes()
    found = b"".join(bytes.fromhex(line.split(": ")[1]) for line in text.splitlines() if line.startswith("HBM"))
    assert found == preload[10:80]


@pytest.mark.parametrize("arguments, status, message", [
    (["--at", "nowhere", "--gp"], 101, "--at nowhere: the program has no such stage"),
    (["--at", "X", "--gp"], 2, "--at 'X': expected count=N"), (["--at", "end"], 2, "expected some of --rows"),
    (["--at", "count=99999999", "--gp"], 101, "--at count=99999999: the program ends after "),
    (["--at", "end", "--rows", "5:5"], 2, "expected A or A:B"),
    (["--at", "end", "--rows", "a"], 2, "expected A or A:B"),
    (["--at", "end", "--tile", "999999999"], 101, "the machine has"), (["--at", "pc=80", "--gp"], 101, "has 80 words"),
])
def test_what_cannot_be(build, capsys, arguments, status, message):
    try:
        found = main(["inspect", str(build), *arguments])
    except SystemExit as stop:
        found = stop.code
    assert found == status and message in capsys.readouterr().err
