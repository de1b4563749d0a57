"""`plena-emu check` and `plena-emu results` on a build with dumps (spec §9.2, §9.7)."""

import json

import numpy as np
import pytest
from model_build import write_dumps

from plena_emu.cli.main import main


def test_check_prints_every_error(build, capsys):
    directory, _ = build
    assert main(["check", str(directory)]) == 0
    out = capsys.readouterr().out
    expected = ("hidden", "logits", "K_0", "V_0", "every bar holds", "0.03, 0.08  hold", "weights: of")
    assert all(name in out for name in expected)
    assert main(["check", str(directory), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [result["name"] for result in report["results"]] == ["hidden", "logits", "K_0", "V_0"]
    assert report["choices"]["tokens"] == 6


def test_a_broken_bar_is_an_error(build, capsys):
    directory, held = build
    write_dumps(directory, held | {"hidden": -held["hidden"]})
    assert main(["check", str(directory), "--per-layer"]) == 101
    out = capsys.readouterr().out
    assert "BROKEN" in out and " 2.0" in out


def test_results_are_written_and_listed(build, capsys, tmp_path):
    directory, held = build
    assert main(["results", str(directory), "-o", str(tmp_path / "r.npz")]) == 0
    with np.load(tmp_path / "r.npz") as found:
        assert set(found) == set(held) and found["K_0"].shape == held["K_0"].shape
        assert np.array_equal(found["K_0"], held["K_0"])
    assert main(["results", str(directory)]) == 0
    out = capsys.readouterr().out
    assert "vram_dump.bin" in out and "2 x 1 x 3 x 8  hbm_results.bin" in out


@pytest.mark.parametrize("arguments, status, message", [
    (["check", "{build}", "--dump-dir", "{tmp}"], 101, "vram_dump.bin: cannot read: No such file or directory"),
    (["check", "{tmp}"], 101, "references.npz: not found"),
    (["results", "{tmp}"], 101, "results.json: cannot read"),
    (["results", "{build}", "-o", "{tmp}/none/r.npz"], 101, "does not exist"),
    (["results", "{build}", "-o", "{tmp}"], 101, "found a directory, expected a file"),
])  # fmt: skip
def test_errors_are_one_line(build, capsys, tmp_path, arguments, status, message):
    directory, _ = build
    empty = tmp_path / "empty"
    empty.mkdir()
    filled = [argument.format(build=directory, tmp=empty) for argument in arguments]
    assert main(filled) == status
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
