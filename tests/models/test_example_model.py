"""The example model and the page docs/models.md: what they show works as shown."""

import importlib.util
import os
import re

import numpy as np
from model_files import ROOT

import plena_emu
from plena_emu.cli.main import COMMANDS, main
from plena_emu.models.check import check_build
from plena_emu.models.compiler import compile as compile_model
from plena_emu.models.descriptions import bundled_names
from plena_emu.models.sources import find_model
from plena_emu.models.weights import open_weights

PAGE = (ROOT / "docs" / "models.md").read_text()


def example():
    spec = importlib.util.spec_from_file_location("example_model", ROOT / "examples" / "model" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_model_compiles_runs_and_checks(tmp_path):
    example().make(tmp_path / "small")
    compile_model(tmp_path / "small", tmp_path / "build", prefill=20)
    plena_emu.run(tmp_path / "build", dump_dir=tmp_path / "build")
    assert check_build(tmp_path / "build").ok
    config = find_model(tmp_path / "small").text
    weights = open_weights(tmp_path / "small", config)
    stored = example().tensors()["model.layers.1.mlp.down_proj.weight"]
    assert stored.dtype == np.float16 and np.array_equal(weights["layers.1.down"], stored.T.astype(np.float32))


def test_the_commands_of_the_page_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"^\$ (.*)$", PAGE, re.M)
    assert len(shown) >= 10
    for line in shown:
        for command in line.split(" && "):
            program, *arguments = command.split()
            if program == "python":
                assert (ROOT / arguments[0]).exists()
                example().make(tmp_path / arguments[1])
            else:
                assert program == "plena-emu" and arguments[0] in COMMANDS
                if "clm60m" in arguments and "--layers" not in arguments:
                    arguments += ["--layers", "1"]
                small = arguments[0] != "estimate"  # a smaller model stands for the one shown
                assert main(arguments if small else ["estimate", "tiny", *arguments[2:-1], "2"]) == 0, command
    assert os.path.exists("step.npz") and "every bar holds" in capsys.readouterr().out


def test_the_python_of_the_page_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(code, "docs/models.md", "exec"), {})
    assert capsys.readouterr().out.startswith("True True [('hidden', 0.0")


def test_the_page_names_what_there_is():
    for name in re.findall(r"`(models/[\w/]+(?:\.py)?)`", PAGE):
        assert (ROOT / name).exists(), name
    assert "tiny" in bundled_names() and "smollm2-135m" in bundled_names()
