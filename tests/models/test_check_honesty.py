"""`plena-emu check` sees what is destroyed: caches, logits, quantiser, folding, the cache a step starts from (§9.7)."""

import numpy as np
import pytest
from model_build import BATCH, SETTINGS, TOKENS, write_dumps
from model_files import make_model

import plena_emu
from plena_emu.cli.main import main
from plena_emu.models.check import check_build
from plena_emu.models.compiler import compile as compile_model
from plena_emu.models.folding import FoldedWeights
from plena_emu.models.forward import machine_types
from plena_emu.models.forward.machine_types import HeldWeights
from plena_emu.models.forward.text import embed
from plena_emu.models.passes.fold import ProgramWeights
from plena_emu.models.quantise import dequantised
from plena_emu.models.references import load_references, references_bytes, text_references
from plena_emu.models.weight_errors import ComparedWeights
from plena_emu.models.weights import open_weights


def verdicts(report):
    return {result.name: result.verdict for result in report.results}


@pytest.mark.parametrize("name", ["logits", "K_0", "V_0"])
@pytest.mark.parametrize("wrong", [np.zeros_like, np.negative, lambda values: np.roll(values, 1, axis=-2)])
def test_every_result_has_a_bar(build, name, wrong):
    """Zeros, another sign, rows of the next token: of any result."""
    directory, held = build
    write_dumps(directory, held | {name: wrong(held[name])})
    report = check_build(directory)
    assert not report.ok and verdicts(report)[name] == "broken"
    assert all(verdict == "holds" for other, verdict in verdicts(report).items() if other != name)


def test_rounding_excuses_no_more_than_depth_explains(build):
    """Numpy may be as far off as the program: an error far above a bar is none of a shallow model's rounding."""
    directory, held = build
    references = load_references(directory) | {"rounding/hidden": np.array([0.5, 0.5], np.float32)}
    (directory / "references.npz").write_bytes(references_bytes(references))
    for noise, verdict in ((0.05, "rounding"), (0.07, "broken")):
        factors = 1 + noise * np.random.default_rng(3).standard_normal(held["hidden"].shape).astype(np.float32)
        write_dumps(directory, held | {"hidden": held["hidden"] * factors})
        assert verdicts(check_build(directory))["hidden"] == verdict


def two_bits(values, kind):
    """Mantissas of two bits in place of three."""
    bits = dequantised(values, kind).view(np.uint32)
    return (bits + np.uint32(1 << 20) & np.uint32(0xFFE00000)).view(np.float32)


def holes(values, kind):
    """One weight in sixteen is zero."""
    found = dequantised(values, kind)
    found.reshape(-1)[::16] = 0
    return found


def late_block(values, kind):
    """One block of a tensor is doubled."""
    found = dequantised(values, kind)
    found[-1, -8:] *= 2
    return found


@pytest.mark.parametrize("quantiser", [two_bits, holes, late_block])
def test_a_broken_quantiser(build, monkeypatch, tmp_path, quantiser, capsys):
    """Both references read what it makes; the weights are compared with the model's own."""
    directory, _ = build
    config, _ = make_model(tmp_path / "n")
    weights = open_weights(tmp_path / "n", config)
    monkeypatch.setattr(machine_types, "dequantised", quantiser)
    references = text_references(config, weights, embed(weights, np.arange(6).reshape(BATCH, TOKENS)), SETTINGS,
                                 logits="all")
    (directory / "references.npz").write_bytes(references_bytes(references))
    write_dumps(directory, {name: references[f"machine/{name}"] for name in ("hidden", "logits", "K_0", "V_0")})
    report = check_build(directory)
    assert not report.weights.ok and not report.ok
    assert main(["check", str(directory)]) == 101
    assert "THE WEIGHTS ARE WRONG" in capsys.readouterr().out


class NoNorms(FoldedWeights):
    """Forgets to fold the norms."""

    def _rows(self, name, index):
        layer, _, inner = name.rpartition(".")
        values = super()._rows(name, index)
        norm = self._norm_of.get(inner) if layer else None
        return values if norm is None else values / self._weights.rows(f"{layer}.{norm}", index)[:, None]


def errors_of(held, weights):
    compared = ComparedWeights(held, weights, SETTINGS.hbm_m_weight_type)
    for name in weights:
        assert np.array_equal(compared[name], held[name])
    return compared.errors


@pytest.mark.parametrize("changes", [{}, {"model_type": "qwen2"}, {"model_type": "qwen3", "head_dim": 8}], ids=str)
def test_sound_weights_are_within_their_formats(tmp_path, changes):
    config, _ = make_model(tmp_path / "m", changes)
    weights = open_weights(tmp_path / "m", config)
    for folded in (FoldedWeights(weights), ProgramWeights(weights, True), ProgramWeights(weights, False)):
        errors = errors_of(HeldWeights(folded, SETTINGS), weights)
        assert all(error <= guaranteed for error, guaranteed in errors.values()), errors
        assert any(error > 0.5 * guaranteed for error, guaranteed in errors.values())


def test_a_broken_fold(tmp_path):
    config, _ = make_model(tmp_path / "m")
    weights = open_weights(tmp_path / "m", config)
    errors = errors_of(HeldWeights(NoNorms(weights), SETTINGS), weights)
    wrong = {name.rpartition(".")[2] for name, (error, guaranteed) in errors.items() if error > guaranteed}
    assert wrong == {"q", "k", "v", "gate", "up"}


def test_a_step_says_what_its_cache_is_off_by(tmp_path, capsys):
    """Also the step after it, whose own cache has the bad rows on both sides."""
    prefill, step, after = (str(tmp_path / name) for name in ("prefill", "step", "after"))
    options = {"preset": "m16b4", "layers": 1}
    compile_model("tiny", prefill, prefill=5, **options)
    plena_emu.run(prefill, dump_dir=prefill)
    assert check_build(prefill).holds
    compile_model("tiny", step, cache_from=prefill, **options)
    plena_emu.run(step, dump_dir=step)
    report = check_build(step)
    assert report.holds and [start.name for start in report.starts] == ["K_0", "V_0"]
    assert [start.shape for start in report.starts] == [(1, 1, 5, 64)] * 2

    stored = tmp_path / "prefill" / "hbm_results.bin"
    stored.write_bytes(bytes(stored.stat().st_size))
    assert not check_build(prefill).ok
    before = prefill
    for build in (step, after):
        compile_model("tiny", build, cache_from=before, **options)
        plena_emu.run(build, dump_dir=build)
        report = check_build(build)
        assert not report.ok and {start.verdict for start in report.starts} == {"broken"}
        assert main(["check", build]) == 101
        assert "the cache it starts from is off by" in capsys.readouterr().out
        before = build
