"""What a model computes and in which shapes: the part of a `config.json` that counts (spec §9.1)."""

from typing import Literal

import msgspec

from plena_emu.errors import EmuError


class RopeScaling(msgspec.Struct, frozen=True, kw_only=True):
    """Scaling of the rotary frequencies (§9.1); the last three fields are those of `llama3`, 0 for `linear`.

    `original_length` is a length in tokens, the others are factors.
    """

    kind: Literal["linear", "llama3"]
    factor: float
    low_frequency_factor: float = 0.0
    high_frequency_factor: float = 0.0
    original_length: int = 0


class TextConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A decoder of the Llama form (§9.1): RMSNorm, attention with rotary positions, SwiGLU.

    Sizes count elements, `max_positions` tokens. `window` is the number of last tokens that a token may attend to,
    None where there is no such limit.
    """

    name: str
    family: Literal["llama", "llada"]
    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    rope_scaling: RopeScaling | None
    norm_eps: float
    qkv_bias: bool
    out_bias: bool
    qk_norm: bool
    causal: bool
    tied: bool
    max_positions: int
    window: int | None = None

    @property
    def group(self) -> int:
        """Query heads that share one KV head."""
        return self.heads // self.kv_heads

    def check_length(self, tokens: int) -> None:
        """Refuse a sequence of `tokens` tokens, past and new, that this model cannot compute.

        Raises
        ------
        EmuError
            It is longer than the positions the model has, or than its sliding window, which is not supported.
        """
        if tokens > self.max_positions:
            raise EmuError(f"model {self.name}: {tokens} tokens, expected at most its {self.max_positions} positions")
        if self.window is not None and tokens > self.window:
            raise EmuError(f"model {self.name}: sliding_window {self.window} is shorter than the sequence of {tokens}"
                           " tokens, which is not supported")


class VisionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A SigLIP encoder with SmolVLM's connector (§9.1).

    `image` and `patch` are edges in pixels: the learned positions are those of an image of this edge.
    `connector_scale` is the edge, in patches, of the square that becomes one token of `text_hidden` elements.
    """

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    image: int
    patch: int
    channels: int
    norm_eps: float
    connector_scale: int
    text_hidden: int

    @property
    def head_dim(self) -> int:
        """Elements of a head."""
        return self.hidden // self.heads

    @property
    def side(self) -> int:
        """Patches along an edge of the full image."""
        return self.image // self.patch

    @property
    def patch_size(self) -> int:
        """Elements of a patch vector."""
        return self.channels * self.patch * self.patch

    def patches_of(self, image: int | None) -> int:
        """Count the patches along an edge of an image of `image` pixels (None: the model's own size).

        Raises
        ------
        EmuError
            The edge is not whole patches, larger than the model's image, or no multiple of the connector's square.
        """
        if image is None:
            return self.side
        if not 0 < image <= self.image or image % (self.patch * self.connector_scale):
            raise EmuError(f"image of {image} pixels: expected a multiple of {self.patch * self.connector_scale}"
                           f" (patch {self.patch}, pixel shuffle {self.connector_scale}) up to {self.image}")
        return image // self.patch


class ModelDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A model by name, with the parts it has."""

    name: str
    text: TextConfig
    vision: VisionConfig | None = None

    def part(self, wanted: Literal["text", "vision"] | None = None) -> TextConfig | VisionConfig:
        """Choose a part: the one `wanted`, else text (§9.8).

        Raises
        ------
        EmuError
            The model has no such part.
        """
        if wanted != "vision":
            return self.text
        if self.vision is None:
            raise EmuError(f"model {self.name}: has no vision part")
        return self.vision
