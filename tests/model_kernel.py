"""Runs a few instructions written with the builder: operands in, vector SRAM and HBM out."""

import numpy as np

import plena_emu
from plena_emu.assembler import mem_text
from plena_emu.config.settings import load_settings
from plena_emu.models.builder import Builder
from plena_emu.models.constants import Constants
from plena_emu.models.machine import Activation, HbmTensor, Machine, round_up
from plena_emu.models.number_formats import decode_mx, encode_stored, round_bf16
from plena_emu.models.presets import find_preset, settings_text


class Kernel:
    """A program under test with its memories; `vram` is f32 [rows, VLEN] and rounded to bf16, `hbm` a byte array."""

    def __init__(self, preset: str, tmp_path, vector_rows: int = 4096, hbm_size: int = 1 << 20, head_dim: int = 0):
        self.preset = find_preset(preset).for_head_dim(head_dim)
        self.machine = Machine.of(self.preset, vector_rows)
        self.b = Builder(self.machine.max_loop_instructions)
        self.path = tmp_path
        self.vram = np.zeros((vector_rows, self.machine.mlen), np.float32)
        self.hbm = np.zeros(hbm_size, np.uint8)
        self.fp = Constants()
        self.next_row = 0
        self.next_byte = 0
        (tmp_path / "settings.toml").write_text(settings_text(self.preset, hbm_size, vector_sram_rows=vector_rows))
        self.mx = load_settings(str(tmp_path / "settings.toml"), "test").hbm_m_weight_type

    def activation(self, values, rows=None, fill=0.0) -> Activation:
        """Place [tokens, columns], rows padded to `rows` with `fill`."""
        tokens, columns = values.shape
        rows = rows or round_up(tokens, self.machine.blen)
        place = Activation(self.next_row * self.machine.mlen, rows, columns, self.machine.mlen)
        padded = np.zeros((rows, place.blocks * self.machine.mlen), np.float32)
        padded[tokens:, :columns] = fill
        padded[:tokens, :columns] = values
        blocks = padded.reshape(rows, place.blocks, -1).swapaxes(0, 1).reshape(-1, self.machine.mlen)
        self.vram[self.next_row : self.next_row + len(blocks)] = round_bf16(blocks)
        self.next_row += len(blocks)
        return place

    def read(self, place: Activation, tokens: int) -> np.ndarray:
        """[tokens, columns] of an activation after the run."""
        first = place.address // self.machine.mlen
        blocks = self.vram[first : first + place.blocks * place.rows].reshape(place.blocks, place.rows, -1)
        return blocks.swapaxes(0, 1).reshape(place.rows, -1)[:tokens, : place.columns]

    def tensor(self, values, name="W") -> tuple[HbmTensor, np.ndarray]:
        """Place a weight, padded to tiles; returns the tensor and the values that the machine reads."""
        rows, columns = values.shape
        padded_shape = (round_up(size, self.machine.mlen) for size in values.shape)
        tensor = HbmTensor(name, self.next_byte, *padded_shape)
        padded = np.zeros((tensor.rows, tensor.columns), np.float32)
        padded[:rows, :columns] = values
        codes, scales = encode_stored(padded, self.mx)
        data = np.concatenate([codes.ravel(), scales.ravel()])
        self.hbm[tensor.address : tensor.address + tensor.size] = data
        self.next_byte = round_up(tensor.address + tensor.size, 64)
        return tensor, decode_mx(codes, scales, self.mx)[:rows, :columns]

    def run(self, model="hbm"):
        """Run the program; the memories hold what it left."""
        program = self.b.finish()
        files = {"program.mem": mem_text(program.words).encode(), "fp.bin": self.fp.image(),
                 "vram.bin": (self.vram.view(np.uint32) >> 16).astype("<u2").tobytes(), "hbm.bin": self.hbm.tobytes()}
        for name, content in files.items():
            (self.path / name).write_bytes(content)
        at = {key: str(self.path / name) for key, name in
              (("opcode", "program.mem"), ("fpsram", "fp.bin"), ("vram", "vram.bin"), ("hbm", "hbm.bin"))}
        result = plena_emu.run(plena_emu.RunRequest(
            **at, settings_path=str(self.path / "settings.toml"), dump_dir=str(self.path), dump_hbm=True,
            memory_model=model, threads=1))
        dump = np.fromfile(self.path / "vram_dump.bin", "<u2").astype(np.uint32) << 16
        self.vram = dump.view(np.float32).reshape(self.vram.shape)
        self.hbm = np.fromfile(self.path / "hbm_dump.bin", np.uint8)
        assert result.dropped.vector_rows == result.dropped.hbm_bytes_read_outside == 0
        return result


def relative_error(found, expected) -> float:
    """RMS of the difference over the RMS of the expected values."""
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


def attention_of(q, k, v, causal):
    """softmax(q · kᵀ) · v in f64, [heads, tokens, dim] each."""
    scores = q @ k.swapaxes(-1, -2)
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v
