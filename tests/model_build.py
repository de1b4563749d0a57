"""A build as a compiler leaves it, with the dumps of a run, written byte by byte without the emulator."""

import numpy as np
import pytest
from model_files import make_model

from plena_emu.config.settings import parse_settings
from plena_emu.models.forward.text import embed
from plena_emu.models.number_formats import encode_stored
from plena_emu.models.presets import find_preset, settings_text
from plena_emu.models.references import references_bytes, text_references
from plena_emu.models.results import HbmResult, HeadPlace, Region, Results, VramResult, results_json
from plena_emu.models.weights import open_weights

BATCH, TOKENS, VLEN, ROWS = 2, 3, 16, 5  # rows a sequence: no multiple of anything
SETTINGS = parse_settings(settings_text(find_preset("m16b4"), 4096), "settings", "test")
KV = SETTINGS.hbm_v_kv_type


def vram_dump(values, first_row, physical_rows, total_rows):
    """Bytes of a vector SRAM with `values` [batch, tokens, columns] in column blocks, the rest NaN."""
    rows = np.full((total_rows, VLEN), np.nan, dtype=np.float32)
    for sequence, token, column in np.ndindex(*values.shape):
        row = first_row + column // VLEN * physical_rows + sequence * ROWS + token
        rows[row, column % VLEN] = values[sequence, token, column]
    return (rows.view("<u4") >> 16).astype("<u2").tobytes()


def hbm_region(values, columns, rows):
    """Bytes of a region with `values` [batch, heads, tokens, head_dim], the heads side by side."""
    matrix = np.zeros((rows, columns), dtype=np.float32)
    for sequence, head, token, column in np.ndindex(*values.shape):
        place = sequence * ROWS + token, head * values.shape[3] + column
        matrix[place] = values[sequence, head, token, column]
    codes, scales = encode_stored(matrix, KV)
    return codes.tobytes() + scales.tobytes()


@pytest.fixture
def build(tmp_path):
    """A build of the tiny Llama as a compiler would leave it, with the dumps of a machine that makes no error."""
    config, _ = make_model(tmp_path / "m")
    weights = open_weights(tmp_path / "m", config)
    references = text_references(config, weights, embed(weights, np.arange(6).reshape(BATCH, TOKENS)), SETTINGS,
                                 logits="all")
    directory = tmp_path / "build"
    directory.mkdir()
    (directory / "plena_settings.toml").write_text(settings_text(find_preset("m16b4"), 4096))
    (directory / "generated_machine_code.mem").write_text("")
    (directory / "references.npz").write_bytes(references_bytes(references))
    size = 10 * 16 * 9 // 8
    results = Results(
        results=(
            VramResult(name="hidden", shape=(BATCH, TOKENS, 16), first_row=4, physical_rows=9, rows_per_sequence=ROWS),
            VramResult(name="logits", shape=(BATCH, TOKENS, 32), first_row=20, physical_rows=8, rows_per_sequence=ROWS),
            *(HbmResult(name=name, shape=(BATCH, 1, TOKENS, 8), heads=(HeadPlace(name, 0),), rows_per_sequence=ROWS)
              for name in ("K_0", "V_0")),
        ),
        regions=tuple(Region(name, address, size, 10, 16) for name, address in (("K_0", 0), ("V_0", 256))),
    )
    (directory / "results.json").write_bytes(results_json(results))
    held = {name: references[f"machine/{name}"] for name in ("hidden", "logits", "K_0", "V_0")}
    write_dumps(directory, held)
    return directory, held


def write_dumps(directory, held):
    """Dumps with these results."""
    hidden = np.frombuffer(vram_dump(held["hidden"], 4, 9, 40), "<u2")
    logits = np.frombuffer(vram_dump(held["logits"], 20, 8, 40), "<u2")
    nothing = 0x7FC0
    (directory / "vram_dump.bin").write_bytes(np.where(hidden == nothing, logits, hidden).astype("<u2").tobytes())
    stored = b"".join(hbm_region(held[name], 16, 10) for name in ("K_0", "V_0"))
    (directory / "hbm_results.bin").write_bytes(stored)
