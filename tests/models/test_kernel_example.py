"""examples/kernel: a kernel written with the builder runs and is right; docs/kernels.md shows what it shows."""

import importlib.util
import re
from pathlib import Path

import numpy as np

import plena_emu
from plena_emu.assembler import disassemble
from plena_emu.models.builder import Builder

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs/kernels.md").read_text()


def example():
    spec = importlib.util.spec_from_file_location("kernel_example", ROOT / "examples/kernel/make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_kernel_is_right(tmp_path):
    module = example()
    module.make(tmp_path)
    plena_emu.run(tmp_path, dump_dir=tmp_path)
    rows = np.fromfile(tmp_path / "vram_dump.bin", "<u2", count=module.ROWS * 64).astype(np.uint32) << 16
    found = rows.view(np.float32).reshape(module.ROWS, 64)
    np.testing.assert_allclose(found, module.expected(), rtol=0.05, atol=1e-6)
    words = [int(word, 16) for word in (tmp_path / "generated_machine_code.mem").read_text().split()]
    shown = re.search(r"head -4\n(.*?)\n```", DOCS, re.DOTALL).group(1).splitlines()
    assert disassemble(words)[:4] == shown


def test_code_of_the_page_runs():
    namespace = {}
    exec(re.search(r"```python\n(.*?)```", DOCS, re.DOTALL).group(1), namespace)
    lines = disassemble(namespace["program"].words)
    assert lines[2] == "C_LOOP_START gp3, 64" and lines[-1] == "C_LOOP_END gp3"


def test_every_method_of_the_page_exists():
    for name in re.findall(r"`b\.(\w+)\(", DOCS):
        assert hasattr(Builder, name), name
