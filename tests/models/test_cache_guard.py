"""A decode step takes the cache of the same model and weights, whatever their directory is called (spec §9.2)."""

import shutil

import pytest
from model_files import make_model, write_safetensors

import plena_emu
from plena_emu.errors import EmuError
from plena_emu.models.check import check_build
from plena_emu.models.compiler import compile as compile_model

OPTIONS = {"preset": "m16b4", "logits": "none"}
CHANGED = ("model.layers.0.self_attn.k_proj.weight", "model.layers.0.input_layernorm.weight",
           "model.embed_tokens.weight")


@pytest.fixture(scope="module")
def prefill(tmp_path_factory):
    """A model, its tensors, and a prefill of it that was run."""
    base = tmp_path_factory.mktemp("guard")
    _, tensors = make_model(base / "m")
    compile_model(base / "m", base / "prefill", prefill=3, **OPTIONS)
    plena_emu.run(base / "prefill", dump_dir=base / "prefill")
    return base, tensors


def test_a_copy_under_another_name_and_other_logits(prefill, tmp_path):
    base, _ = prefill
    shutil.copytree(base / "m", tmp_path / "copy")
    options = OPTIONS | {"logits": "last"}
    compile_model(tmp_path / "copy", tmp_path / "step", cache_from=str(base / "prefill"), **options)
    plena_emu.run(tmp_path / "step", dump_dir=tmp_path / "step")
    assert check_build(tmp_path / "step").ok


@pytest.mark.parametrize("name", CHANGED)
def test_other_weights_of_the_same_shape(prefill, tmp_path, name):
    base, tensors = prefill
    shutil.copytree(base / "m", tmp_path / "m")
    changed = dict(tensors)
    changed[name] = changed[name] * 1.5
    write_safetensors(tmp_path / "m" / "model.safetensors", changed)
    with pytest.raises(EmuError, match="its cache was made with other weights"):
        compile_model(tmp_path / "m", tmp_path / "step", cache_from=str(base / "prefill"), **OPTIONS)
    with pytest.raises(EmuError, match="its cache was made with other weights"):
        compile_model(base / "m", tmp_path / "step", cache_from=str(base / "prefill"), weights="random:5", **OPTIONS)
    assert not (tmp_path / "step").exists()


def test_another_config(prefill, tmp_path):
    base, _ = prefill
    make_model(tmp_path / "m", {"rope_theta": 5e5})
    with pytest.raises(EmuError, match="was compiled from another model"):
        compile_model(tmp_path / "m", tmp_path / "step", cache_from=str(base / "prefill"), **OPTIONS)
