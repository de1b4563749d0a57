"""Does the package as it is installed have everything, and do the commands of docs/bench.md run from it?"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDS = {"--plot": "matplotlib"}
QUICK = {"--models": "hbm", "--runs": "2"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A directory for sys.path that holds exactly the files pyproject.toml lists, away from the checkout."""
    place = tmp_path_factory.mktemp("site")
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders, data = tool["package-dir"], tool["package-data"]
    assert set(folders) == set(tool["packages"]) and set(data) <= set(folders)
    for package, folder in folders.items():
        for pattern in ["*.py", *data.get(package, ())]:
            files = [path for path in (ROOT / folder).glob(pattern) if path.is_file()]
            assert files or pattern == "*.py", f"{package}: {pattern} names no file"
            for path in files:
                target = place.joinpath(*package.split("."), path.relative_to(ROOT / folder))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    return place


def plena_emu(installed, folder, *words):
    """Run the command line of the installed package, as a process in an empty directory."""
    code = "import sys; from plena_emu.cli.entry import plena_emu; sys.exit(plena_emu())"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PLENA_ISA", "RUST_LOG"))}
    return subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, timeout=600,
                          env=environment | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"})


def test_the_package_is_the_installed_one(installed, tmp_path):
    code = "import plena_emu; print(plena_emu.__file__)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60,
                         env=os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"})
    assert ran.stdout.strip() == str(installed / "plena_emu" / "__init__.py"), ran.stderr


def test_the_commands_about_speed(installed, tmp_path):
    """In their order, because the comparison reads what those before it wrote; one model and few runs."""
    text = (ROOT / "docs" / "bench.md").read_text()
    commands = [line.split() for line in re.findall(r"^    plena-emu (bench.*?)(?: +#.*)?$", text, re.MULTILINE)]
    assert len(commands) >= 4
    for words in commands:
        if any(flag in words and not _has(module) for flag, module in NEEDS.items()):
            continue
        compares = "--compare" in words
        quick = [] if compares else [word for pair in QUICK.items() if pair[0] not in words for word in pair]
        ran = plena_emu(installed, tmp_path, *words, *quick)
        assert ran.returncode in ((0, 1) if compares else (0,)), (words, ran.stderr)
        assert ("within noise" if compares else "examples/linear") in ran.stdout, (words, ran.stdout)


def _has(module):
    return importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("words, said", [
    (["boards"], "custom_a7"), (["boards", "nexys_video"], "nexys_video"), (["dram", "--list"], "ddr4"),
    (["compile", "--list"], "m64b16"), (["--version"], "plena-emu"),
])
def test_files_the_package_brings(installed, tmp_path, words, said):
    ran = plena_emu(installed, tmp_path, *words)
    assert ran.returncode == 0 and said in ran.stdout, ran.stderr
