"""From a model to a build directory: the public `compile` (spec §9.2, §9.3)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

import msgspec
import numpy as np

import plena_emu
from plena_emu.boards import load_board
from plena_emu.config.settings import load_settings
from plena_emu.errors import EmuError
from plena_emu.manifests.generate import make_manifest, manifest_json

from . import build_files
from .build_files import IMAGE, PRELOAD
from .configs import TextConfig
from .head_plan import HeadPlan
from .image import preload_rows, write_tensor
from .inputs import text_inputs
from .lowering.program import lower
from .machine import Machine
from .options import CompileOptions
from .passes.fold import ProgramWeights
from .passes.place import place
from .presets import Preset, find_preset, settings_text
from .references import FILE as REFERENCES
from .references import HeldWeights, references_bytes, text_references
from .results import HbmResult, HeadPlace, Region, Results, VramResult
from .sources import open_model
from .stored_cache import cache_from, cache_length, seeded_cache
from .text_contents import TextContents
from .text_graph import TextRequest, TextShape, build_text_graph
from .weights import NoWeights


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """A finished build.

    Attributes
    ----------
    directory : str
    model, preset : str
    words, stages : int
        Of the program.
    vector_rows : int
        Rows of the vector SRAM that are used.
    hbm_bytes : int
        Size of the HBM, caches included.
    """

    directory: str
    model: str
    preset: str
    words: int
    stages: int
    vector_rows: int
    hbm_bytes: int


def compile(model: str | os.PathLike, output: str | os.PathLike, *,  # noqa: A001
            progress: Callable[[str, int, int], None] | None = None, **options) -> Build:
    """Compile a model into a build directory.

    Parameters
    ----------
    model : str or path
        A bundled name, a directory in Hugging Face's formats, or a config file.
    output : str or path
        The build directory; a build that is there is replaced, when the new one is whole.
    progress : callable or None
        Called with (what is written, bytes done, bytes in all) while the image is written.
    **options
        Fields of `CompileOptions`.

    Returns
    -------
    Build

    Raises
    ------
    EmuError
        Anything malformed, unsupported or too large, in one line; nothing is left under `output` then.
    """
    chosen = CompileOptions(**options)
    config, weights = open_model(model, chosen)
    if not isinstance(config, TextConfig):
        raise EmuError(f"model {config.name}: the vision part cannot be compiled yet")
    preset = find_preset(chosen.preset).for_head_dim(config.head_dim)
    compiler = _TextCompiler(config, weights, chosen, preset, progress or (lambda *_: None))
    return compiler.compile(os.fspath(output))


class _TextCompiler:
    def __init__(self, config, weights, options: CompileOptions, preset: Preset, progress):
        self.config, self.weights, self.options, self.preset, self.progress = (
            config, weights, options, preset, progress)
        self.machine = Machine.of(preset, options.vector_sram_rows)
        past, batch = options.past or 0, None
        if options.cache_from is not None:
            batch, past = cache_length(options.cache_from, options.past)
        if past and not config.causal:
            raise EmuError(f"model {config.name}: attends in both directions, so there is no decode")
        self.inputs = text_inputs(config, weights, options, past, batch)
        self.request = TextRequest(batch=self.inputs.batch, tokens=self.inputs.tokens, past=self.inputs.past,
                                   logits=options.logits)
        self.shape = TextShape(self.machine, self.request)
        self.plan = HeadPlan.of(self.machine, config.head_dim)

    def compile(self, output):
        self.graph = build_text_graph(self.config, self.machine, self.request)
        self.placement = place(self.graph, self.machine)
        program, constants = lower(self.graph, self.placement, self.machine)
        with build_files.replaced_directory(output) as directory:
            board = load_board(self.options.board) if self.options.board else None
            path = os.path.join(directory, "plena_settings.toml")
            with open(path, "w") as file:
                file.write(settings_text(self.preset, self.placement.hbm_bytes, board, self.options.vector_sram_rows))
            settings = load_settings(path, "build directory")
            build_files.write_program(directory, program, constants.image())
            build_files.write_tables(directory, self.graph, self.placement)
            build_files.write_results(directory, self.results())
            hidden = self.placement.activations["hidden"]
            build_files.write_comparison(directory, hidden, batch=self.inputs.batch, tokens=self.inputs.tokens,
                                         sequence_rows=self.shape.sequence_rows)
            if board:
                manifest = manifest_json(make_manifest(directory, board))
                with open(os.path.join(directory, "weight_manifest.json"), "w") as file:
                    file.write(manifest)
            if not isinstance(self.weights, NoWeights):
                self.write_data(directory, settings, hidden)
            self.write_record(directory)
        return Build(directory=output, model=self.config.name, preset=self.preset.name, words=len(program.words),
                     stages=len(program.stages), vector_rows=self.placement.rows, hbm_bytes=self.placement.hbm_bytes)

    def results(self):
        """Where the results lie."""
        config, request, shape, places = self.config, self.request, self.shape, self.placement
        hidden = places.activations["hidden"]
        found = [VramResult(name="hidden", shape=(request.batch, request.tokens, config.hidden),
                            first_row=hidden.address // hidden.vlen, physical_rows=hidden.rows,
                            rows_per_sequence=shape.sequence_rows)]
        if "logits" in places.activations:
            logits = places.activations["logits"]
            whole = request.logits == "all"
            found.append(VramResult(
                name="logits", shape=(request.batch, request.tokens if whole else 1, config.vocab),
                first_row=logits.address // logits.vlen, physical_rows=logits.rows,
                rows_per_sequence=shape.sequence_rows if whole else 1))
        regions = []
        for name in "KV":
            for layer in range(config.layers):
                tensor = places.tensors[f"{name}_stored_{layer}"]
                regions.append(Region(tensor.name, tensor.address, tensor.size, tensor.rows, tensor.columns))
                heads = tuple(HeadPlace(tensor.name, head * self.plan.width) for head in range(config.kv_heads))
                found.append(HbmResult(name=f"{name}_{layer}", heads=heads, rows_per_sequence=shape.cache_rows,
                                       shape=(request.batch, config.kv_heads, shape.keys, config.head_dim)))
        return Results(tuple(found), tuple(regions))

    def write_data(self, directory, settings, hidden):
        """Image, preload, references and goldens."""
        weights = ProgramWeights(self.weights, self.plan.packed)
        contents = TextContents(self.config, self.plan, self.request, weights, self.inputs.embeddings)
        buffers = [(self.graph.buffers[name], self.placement.activations[name]) for name in self.graph.preloads]
        preload_rows(buffers, contents.preload, self.machine.mlen).tofile(os.path.join(directory, PRELOAD))
        cache = self.cache(settings)
        with open(os.path.join(directory, IMAGE), "wb") as file:
            for tensor in self.placement.tensors.values():
                described = self.graph.tensors[tensor.name]
                self.progress(tensor.name, tensor.address, self.placement.hbm_bytes)
                if cache and described.kind == "cache":
                    cache.write(file, tensor, self.shape.cache_rows)
                elif described.kind != "cache":
                    write_tensor(file, tensor, contents.tensor(described), settings.hbm_m_weight_type)
            file.truncate(self.placement.hbm_bytes)
        references = text_references(self.config, self.weights, self.inputs.embeddings, settings,
                                     caches=cache and cache.caches, logits=self.options.logits,
                                     held_weights=HeldWeights(weights, settings))
        with open(os.path.join(directory, REFERENCES), "wb") as file:
            file.write(references_bytes(references))
        build_files.write_golden(directory, self.inputs.embeddings, references["f32/hidden"],
                                 hidden.blocks * hidden.vlen)

    def cache(self, settings):
        """What a decode step starts from; None for a prefill."""
        if self.options.cache_from is not None:
            return cache_from(self.options.cache_from, self.config, self.preset.name, self.inputs.past)
        if self.request.is_decode:
            return seeded_cache(self.config, self.plan, settings, self.request.batch, self.request.past)
        return None

    def write_record(self, directory):
        """`model.json`: enough to make the build again."""
        ids = self.inputs.ids
        build_files.write_json(directory, "model.json", {
            "config": self.config, "options": self.options, "preset": self.preset, "weights": self.weights.source,
            "batch": self.inputs.batch, "tokens": self.inputs.tokens, "past": self.inputs.past,
            "ids": None if ids is None else ids.tolist(),
            "versions": {"plena_emu": plena_emu.__version__, "numpy": np.__version__},
            "sha256": {name: _hash(os.path.join(directory, name)) for name in sorted(os.listdir(directory))},
        })  # fmt: skip


def _hash(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
