"""Is the bundled example what its generator makes, and does it compute what numpy computes?"""

import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import plena_emu
from plena_emu.cli.main import COMMANDS
from plena_emu.cli.main import main as plena_emu_main
from plena_emu.inputs.choices import MEMORY_MODELS

ROOT = Path(__file__).resolve().parents[1]
LINEAR = ROOT / "examples" / "linear"


@pytest.fixture(scope="module")
def linear():
    spec = importlib.util.spec_from_file_location("linear_example", LINEAR / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bf16(data):
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


def test_the_build_directory_is_what_the_generator_makes(linear, tmp_path):
    linear.make(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in (LINEAR / "build").iterdir()}


@pytest.mark.parametrize("model", ["resident", "hbm"])
def test_the_result_is_that_of_numpy(linear, model, tmp_path):
    """y in the vector SRAM: two roundings to bf16 away from numpy; y in HBM: rounded to MX e4m3 once more."""
    result = plena_emu.run(LINEAR / "build", memory_model=model, dump_dir=str(tmp_path), dump_hbm=True)
    assert result.instructions == 1685 and result.instruction_counts["M_MM"] == 256
    assert (result.bytes_read, result.bytes_written) == (24576, 8192)
    expected = linear.expected()
    with open(tmp_path / "vram_dump.bin", "rb") as file:
        rows = bf16(file.read(129 * 128)).reshape(129, 64)
    assert np.array_equal(rows[:64], linear.mx_matrix("X")[1])
    product = expected - linear.bias()
    tolerance = (np.abs(product) + np.abs(expected)) * 2.0**-8 + 1e-5
    assert np.all(np.abs(rows[64:128] - expected) <= tolerance)
    assert np.array_equal(rows[128], linear.bias())
    if model == "hbm":
        stored = (tmp_path / "hbm_dump.bin").read_bytes()[9216:13824]
        codes, scales = (np.frombuffer(part, np.uint8) for part in (stored[:4096], stored[4096:]))
        block = np.repeat(np.exp2(scales - 127.0), 8)
        magnitude = np.where(codes & 0x78, (1 + (codes & 7) / 8) * np.exp2((codes >> 3 & 15) - 7.0), 0.0)
        y = np.where(codes & 0x80, -magnitude, magnitude) * block
        # A block's largest element has exponent 0: steps of 1/8 there, at most 2^-6 lost below the range.
        assert np.all(np.abs(y - rows[64:128].ravel()) <= np.abs(rows[64:128].ravel()) / 8 + block * 2.0**-6)


def test_the_script_of_the_readme_runs_it():
    """Set-up is done here; what is left is the run itself, with a summary."""
    text = (ROOT / "tools" / "try.sh").read_text()
    assert "plena-emu run examples/linear/build" in text and "bash tools/try.sh" in (ROOT / "README.md").read_text()
    for script in (ROOT / "tools").glob("*.sh"):
        assert subprocess.run(["bash", "-n", script]).returncode == 0


def test_the_readme_shows_what_really_happens(monkeypatch, capsys):
    """Every line below its `plena-emu run` command is printed by it, its Python lines print what it says."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "118")
    monkeypatch.delenv("RUST_LOG", raising=False)
    text = (ROOT / "README.md").read_text()
    example = r"^    \$ plena-emu (run examples/linear/build .*)\n((?:    .*\n)+)"
    command, shown = re.search(example, text, re.M).groups()
    assert plena_emu_main(command.split()) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in shown.splitlines() if line.split() not in printed] == []
    code, said = re.search(r"((?:    .*\n|\n)+)\nprints `(.*?)`", text[text.index("## From Python") :]).groups()
    exec(textwrap.dedent(code), {})
    assert capsys.readouterr().out == said + "\n"


def test_the_worked_example_begins_with_a_geometry_that_is_proven():
    """Its commands run in tests/docs/test_commands.py; the published geometry, which exceeds the board, comes below."""
    section = (ROOT / "README.md").read_text().partition("## Worked example")[2].partition("\n## ")[0]
    first, published = section.split("### ", 1)
    assert "tile hint        proven" in first and "exceeds" not in first
    assert "1330774.705 ns" in published and "exceeds the resources" in published


@pytest.mark.parametrize("example", ["linear", "kernel", "model"])
def test_generators_tell_how_they_are_called(example, tmp_path):
    ran = subprocess.run([sys.executable, ROOT / "examples" / example / "make.py", "--help"], cwd=tmp_path, timeout=60,
                         capture_output=True, text=True)
    assert ran.returncode == 0 and "directory" in ran.stdout and list(tmp_path.iterdir()) == [], ran.stderr
    ran = subprocess.run([sys.executable, ROOT / "examples" / example / "make.py", "--nope"], cwd=tmp_path, timeout=60,
                         capture_output=True, text=True)
    assert ran.returncode == 2 and list(tmp_path.iterdir()) == []


def test_the_readme_names_every_command_and_page():
    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if not re.search(rf"^\| .*`{name}[ `]", text, re.MULTILINE)] == []
    assert [model for model in MEMORY_MODELS if f"| `{model}`" not in text] == []
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)]*)\)", text))


def test_the_manifest_fits_the_machine():
    sizes = json.loads((LINEAR / "build" / "hbm_sizes.json").read_text())
    manifest = json.loads((LINEAR / "build" / "weight_manifest.json").read_text())
    assert sum(region["size"] for region in manifest["regions"]) == sum(sizes.values()) <= 16384
