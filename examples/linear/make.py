"""Makes the build directory of the example y = x W + b (64 x 64, MX weights and activations).

    python examples/linear/make.py [DIRECTORY]

writes the files a testbench would hand to the emulator, by default to `build` beside this script.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from plena_emu.boards import load_board
from plena_emu.manifests.generate import generate, manifest_json
from plena_emu.program.assembler import assemble, mem_text

HERE = Path(__file__).resolve().parent
BLOCK = 8
SHAPE = (64, 64)
ADDRESSES = {"X": 0, "W_linear": 4608, "Y": 9216}
SIZE = 4608


def mx_matrix(name: str) -> tuple[bytes, np.ndarray]:
    """Bytes of a matrix in e4m3 elements with an e8m0 scale for each block of 8, and its values as f32[64, 64].

    The codes follow from `name` alone: exponents near the bias, scales 2^-4 to 2^-1.
    """
    stream = np.frombuffer(hashlib.shake_256(name.encode()).digest(SIZE), dtype=np.uint8)
    signs, exponents, mantissas = stream[:4096] & 0x80, 4 + (stream[:4096] >> 3 & 3), stream[:4096] & 7
    scales = 123 + (stream[4096:] & 3)
    elements = np.where(signs, -1.0, 1.0) * (1 + mantissas / 8) * np.exp2(exponents - 7.0)
    values = elements * np.repeat(np.exp2(scales - 127.0), BLOCK)
    codes = signs | exponents << 3 | mantissas
    data = codes.astype(np.uint8).tobytes() + scales.astype(np.uint8).tobytes()
    return data, values.reshape(SHAPE).astype(np.float32)


def bias() -> np.ndarray:
    """f32[64], exact in f16 and bf16."""
    return ((np.arange(64) * 5 % 32 - 16) / 8).astype(np.float32)


def expected() -> np.ndarray:
    """y = x W + b by numpy, f32[64, 64]; the machine rounds each row to bf16 after the product and after the sum."""
    return mx_matrix("X")[1] @ mx_matrix("W_linear")[1] + bias()


def make(directory: Path) -> None:
    """Write the build directory."""
    directory.mkdir(parents=True, exist_ok=True)
    text = (HERE / "linear.asm").read_text()
    sizes = dict.fromkeys(ADDRESSES, SIZE)
    files = {
        "generated_asm_code.asm": text.encode(),
        "generated_machine_code.mem": mem_text(assemble(text, "base", "linear.asm")).encode(),
        "hbm_for_behave_sim.bin": mx_matrix("X")[0] + mx_matrix("W_linear")[0],
        "hbm_size.txt": b"16384\n",
        "fp_sram.bin": bias().astype("<f2").tobytes(),
        "hbm_addrs.json": json.dumps(ADDRESSES, indent=1).encode(),
        "hbm_sizes.json": json.dumps(sizes, indent=1).encode(),
    }
    for name, content in files.items():
        (directory / name).write_bytes(content)
    shutil.copyfile(HERE / "plena_settings.toml", directory / "plena_settings.toml")
    manifest, _ = generate(str(directory), load_board("custom_a7"))
    (directory / "weight_manifest.json").write_bytes(manifest_json(manifest).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the build directory of this example.")
    parser.add_argument("directory", nargs="?", type=Path, default=HERE / "build", help="where (default: %(default)s)")
    make(parser.parse_args().directory)
