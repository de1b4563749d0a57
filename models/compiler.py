"""From a model to a build directory: the public `compile` (spec §9.2, §9.3)."""

from __future__ import annotations

import abc
import hashlib
import os
from collections.abc import Callable

import msgspec
import numpy as np

import plena_emu
from plena_emu.boards import load_board
from plena_emu.config.settings import load_settings
from plena_emu.errors import EmuError
from plena_emu.inputs.arguments import check_names, given_path
from plena_emu.manifests.generate import make_manifest, manifest_json

from . import build_files
from .build_files import IMAGE, PRELOAD
from .configs import TextConfig
from .graph import Graph
from .head_plan import HeadPlan
from .image import preload_rows, write_tensor
from .inputs import text_inputs, vision_inputs
from .lowering.program import lower
from .machine import Machine
from .options import CompileOptions
from .passes.attention_plan import plan_attention
from .passes.fold import ProgramWeights
from .presets import find_preset, settings_text
from .references import FILE as REFERENCES
from .references import HeldWeights, references_bytes, text_references, vision_references
from .results import HbmResult, HeadPlace, Region, Results, VramResult
from .row_shape import RowShape
from .sources import open_model
from .stored_cache import cache_from, cache_length, seeded_cache
from .text_contents import TextContents
from .text_graph import build_text_graph
from .vision_contents import VisionContents
from .vision_graph import PREFIX, build_vision_graph
from .weights import NoWeights, Weights

_NAMED = 3  # tensors that a warning names
_NOT_IN_CACHE = ("W_lm_head", "R_rope")  # tensors that a prefill and its decode steps need not share


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
    warnings : tuple of str
        What may not be as it was meant, a line each.
    """

    directory: str
    model: str
    preset: str
    words: int
    stages: int
    vector_rows: int
    hbm_bytes: int
    warnings: tuple[str, ...] = ()


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
    model, output = given_path("model", model), given_path("output", output)
    return _compiler_of(model, options, progress or (lambda *_: None)).compile(output)


def check_plan(model: str | os.PathLike, **options) -> None:
    """Check model and options, and that SRAM and HBM have room for it, without writing the program: in milliseconds.

    Parameters
    ----------
    model, **options
        As for `compile`.

    Raises
    ------
    EmuError
        As `compile` before it writes anything.
    """
    compiler = _compiler_of(given_path("model", model), options, lambda *_: None)
    plan_attention(compiler.build_graph, compiler.machine)


def _compiler_of(model, options, progress):
    check_names((name for name in options if name not in CompileOptions.__struct_fields__),
                CompileOptions.__struct_fields__)
    chosen = CompileOptions(**options)
    config, weights = open_model(model, chosen)
    kind = _TextCompiler if isinstance(config, TextConfig) else _VisionCompiler
    return kind(config, weights, chosen, progress)


class _Compiler(abc.ABC):
    """What text and vision builds share: program, tables, image, record.

    Attributes
    ----------
    values : f32 array or None
        Embeddings or patches, None without weights.
    ids : list or None
        Tokens, where ids were given or made.
    """

    prefix = ""  # of tensor names
    values: np.ndarray | None = None
    weights_sha256: str | None = None  # of what makes the cache; None without weights
    ids: list | None = None

    @abc.abstractmethod
    def read_inputs(self) -> RowShape:
        """Set `values` and `ids`; returns the rows of the activations."""

    @abc.abstractmethod
    def build_graph(self, chunk: int | None) -> Graph:
        """Write the operators; `chunk` as in `GraphWriter`."""

    @abc.abstractmethod
    def contents(self, weights: ProgramWeights) -> TextContents | VisionContents:
        """What tensors and preloads hold."""

    @abc.abstractmethod
    def results(self) -> Results:
        """Where the results lie."""

    @abc.abstractmethod
    def references(self, held_weights, settings, cache) -> dict[str, np.ndarray]:
        """What the results should be."""

    def __init__(self, config, weights, options: CompileOptions, progress):
        self.config, self.weights, self.options, self.progress = config, weights, options, progress
        self.preset = find_preset(options.preset).for_head_dim(config.head_dim)
        self.machine = Machine.of(self.preset, options.vector_sram_rows)
        self.plan = HeadPlan.of(self.machine, config.head_dim)
        self.shape = self.read_inputs()

    def compile(self, output):
        self.graph, self.placement = plan_attention(self.build_graph, self.machine)
        program, constants = lower(self.graph, self.placement, self.machine, self.options.schedule == "overlap")
        board = load_board(self.options.board) if self.options.board else None
        image = 0 if isinstance(self.weights, NoWeights) else self.placement.hbm_bytes
        with build_files.replaced_directory(output, image) as directory:
            path = os.path.join(directory, "plena_settings.toml")
            with open(path, "w") as file:
                file.write(settings_text(self.preset, self.placement.hbm_bytes, board, self.options.vector_sram_rows))
            settings = load_settings(path, "build directory")
            build_files.write_program(directory, program, constants.image())
            build_files.write_tables(directory, self.graph, self.placement)
            build_files.write_results(directory, self.results())
            shape = self.shape
            build_files.write_comparison(directory, self.placement.activations["hidden"], batch=shape.batch,
                                         tokens=shape.tokens, sequence_rows=shape.sequence_rows)
            if board:
                with open(os.path.join(directory, "weight_manifest.json"), "w") as file:
                    file.write(manifest_json(make_manifest(directory, board)))
            if not isinstance(self.weights, NoWeights):
                self.write_data(directory, settings)
            self.write_record(directory)
        return Build(directory=output, model=self.config.name, preset=self.preset.name, words=len(program.words),
                     stages=len(program.stages), vector_rows=self.placement.rows, hbm_bytes=self.placement.hbm_bytes,
                     warnings=self.warnings())

    def warnings(self):
        """Tensors of the files that nothing reads, in one line."""
        unused = self.weights.unused
        if not unused:
            return ()
        more = f" and {len(unused) - _NAMED} more" if len(unused) > _NAMED else ""
        return (f"{self.weights.source}: the config does not announce, so nothing reads,"
                f" {', '.join(unused[:_NAMED])}{more}",)

    def vram_result(self, name, tokens, columns, rows_per_sequence):
        """Where a buffer lies in `vram_dump.bin`."""
        place = self.placement.activations[name]
        return VramResult(name=name, shape=(self.shape.batch, tokens, columns), first_row=place.address // place.vlen,
                          physical_rows=place.rows, rows_per_sequence=rows_per_sequence)

    def cache_results(self, kv_heads):
        """Where K and V lie in `hbm_results.bin`: results and regions."""
        found, regions = [], []
        for name in "KV":
            for layer in range(self.config.layers):
                tensor = self.placement.tensors[f"{self.prefix}{name}_stored_{layer}"]
                regions.append(Region(tensor.name, tensor.address, tensor.size, tensor.rows, tensor.columns))
                heads = tuple(HeadPlace(tensor.name, head * self.plan.width) for head in range(kv_heads))
                found.append(HbmResult(
                    name=f"{name}_{layer}", heads=heads, rows_per_sequence=self.shape.cache_rows,
                    shape=(self.shape.batch, kv_heads, self.shape.keys, self.config.head_dim)))
        return found, regions

    def write_data(self, directory, settings):
        """Image, preload, references and goldens."""
        weights = ProgramWeights(self.weights, self.plan.packed)
        contents = self.contents(weights)
        buffers = [(self.graph.buffers[name], self.placement.activations[name]) for name in self.graph.preloads]
        preload_rows(buffers, contents.preload, self.machine.mlen).tofile(os.path.join(directory, PRELOAD))
        cache = self.cache(settings)
        digest = weights_digest(weights)
        with open(os.path.join(directory, IMAGE), "wb") as file:
            for tensor in self.placement.tensors.values():
                described = self.graph.tensors[tensor.name]
                self.progress(tensor.name, tensor.address, self.placement.hbm_bytes)
                if described.kind != "cache":
                    write_tensor(file, tensor, contents.tensor(described), settings.hbm_m_weight_type,
                                 None if tensor.name in _NOT_IN_CACHE else digest)
                elif cache:
                    cache.write(file, tensor, self.shape.cache_rows)
            file.truncate(self.placement.hbm_bytes)
        self.weights_sha256 = digest.hexdigest()
        if cache and cache.weights not in (None, self.weights_sha256):
            raise EmuError(f"{self.options.cache_from}: its cache was made with other weights (sha256"
                           f" {cache.weights[:12]}…), expected those of {self.weights.source}"
                           f" ({self.weights_sha256[:12]}…)")
        references = self.references(HeldWeights(weights, settings), settings, cache)
        with open(os.path.join(directory, REFERENCES), "wb") as file:
            file.write(references_bytes(references))
        hidden = self.placement.activations["hidden"]
        build_files.write_golden(directory, self.values, references["f32/hidden"], hidden.blocks * hidden.vlen)

    def cache(self, settings):
        """What a decode step starts from; None for everything else."""
        return

    def write_record(self, directory):
        """`model.json`: enough to make the build again."""
        build_files.write_json(directory, "model.json", {
            "config": self.config, "options": self.options, "preset": self.preset, "weights": self.weights.source,
            "weights_sha256": self.weights_sha256,
            "batch": self.shape.batch, "tokens": self.shape.tokens, "past": self.shape.past, "ids": self.ids,
            "versions": {"plena_emu": plena_emu.__version__, "numpy": np.__version__},
            "sha256": {name: _hash(os.path.join(directory, name)) for name in sorted(os.listdir(directory))},
        })  # fmt: skip


class _TextCompiler(_Compiler):
    def read_inputs(self):
        options = self.options
        past, batch = options.past or 0, None
        if options.cache_from is not None:
            batch, past = cache_length(options.cache_from, options.past)
        if past and not self.config.causal:
            raise EmuError(f"model {self.config.name}: attends in both directions, so there is no decode")
        inputs = text_inputs(self.config, self.weights, options, past, batch)
        self.values = inputs.embeddings
        self.ids = None if inputs.ids is None else inputs.ids.tolist()
        return RowShape(self.machine, batch=inputs.batch, tokens=inputs.tokens, past=inputs.past)

    def build_graph(self, chunk):
        return build_text_graph(self.config, self.machine, self.shape, self.options.logits, chunk)

    def contents(self, weights):
        return TextContents(self.config, self.plan, self.shape, weights, self.values)

    def results(self):
        config, shape = self.config, self.shape
        found = [self.vram_result("hidden", shape.tokens, config.hidden, shape.sequence_rows)]
        if self.options.logits == "all":
            found.append(self.vram_result("logits", shape.tokens, config.vocab, shape.sequence_rows))
        elif self.options.logits == "last":
            found.append(self.vram_result("logits", 1, config.vocab, 1))
        cached, regions = self.cache_results(config.kv_heads)
        return Results((*found, *cached), tuple(regions))

    def cache(self, settings):
        if self.options.cache_from is not None:
            return cache_from(self.options.cache_from, self.config, self.preset.name, self.shape.past)
        if self.shape.decode:
            return seeded_cache(self.config, self.plan, settings, self.shape.batch, self.shape.past)
        return None

    def references(self, held_weights, settings, cache):
        return text_references(self.config, self.weights, self.values, settings, caches=cache and cache.caches,
                               logits=self.options.logits, held_weights=held_weights)


class _VisionCompiler(_Compiler):
    prefix = PREFIX

    def read_inputs(self):
        if isinstance(self.weights, NoWeights):
            return RowShape(self.machine, batch=1, tokens=self.config.patches_of(self.options.image) ** 2)
        self.values = vision_inputs(self.config, self.options).patches
        return RowShape(self.machine, batch=1, tokens=self.values.shape[1])

    def build_graph(self, chunk):
        return build_vision_graph(self.config, self.machine, self.shape, chunk)

    def contents(self, weights):
        return VisionContents(self.config, self.plan, self.shape, weights, self.values)

    def results(self):
        config, shape = self.config, self.shape
        tokens = shape.tokens // config.connector_scale**2
        found = [self.vram_result("hidden", shape.tokens, config.hidden, shape.sequence_rows),
                 self.vram_result("connector", tokens, config.text_hidden, tokens)]
        cached, regions = self.cache_results(config.heads)
        return Results((*found, *cached), tuple(regions))

    def references(self, held_weights, settings, cache):
        return vision_references(self.config, self.weights, self.values, settings, held_weights=held_weights)


def weights_digest(weights: Weights) -> hashlib._Hash:
    """Start a digest of what a cache depends on: norms, biases, some rows of the embedding; the image's tensors follow.

    Returns
    -------
    hashlib object
    """
    digest = hashlib.sha256()
    for name, shape in weights.shapes.items():
        if len(shape) == 1:
            digest.update(weights[name].tobytes())
        elif name == "embed":
            rows = np.linspace(0, shape[0] - 1, min(64, shape[0])).astype(np.int64)
            digest.update(weights.rows(name, rows).tobytes())
    return digest


def _hash(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
