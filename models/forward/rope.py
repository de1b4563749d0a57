"""Rotary positions (spec §9.1): half split, plain, linear or llama3 frequencies."""

import numpy as np

from ..configs import TextConfig


def inverse_frequencies(config: TextConfig) -> np.ndarray:
    """Compute the angle a position adds to each pair of a head's elements (§9.1).

    Returns
    -------
    f64 array
        `[head_dim / 2]`, radians a token.
    """
    plain = config.rope_theta ** -(np.arange(0, config.head_dim, 2) / config.head_dim)
    scaling = config.rope_scaling
    if scaling is None:
        return plain
    if scaling.kind == "linear":
        return plain / scaling.factor
    wavelength = 2 * np.pi / plain
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    blend = (scaling.original_length / wavelength - low) / (high - low)
    between = (1 - blend) * plain / scaling.factor + blend * plain
    scaled = np.where(wavelength > scaling.original_length / low, plain / scaling.factor, between)
    return np.where(wavelength < scaling.original_length / high, plain, scaled)


def rope_tables(config: TextConfig, first: int, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute cosine and sine of the positions from `first` on.

    Returns
    -------
    tuple of f32 arrays
        Each `[tokens, head_dim]`, both halves equal.
    """
    # Hugging Face rounds frequencies and angles to f32.
    frequencies = inverse_frequencies(config).astype(np.float32)
    angles = np.arange(first, first + tokens, dtype=np.float32)[:, None] * frequencies
    angles = np.concatenate((angles, angles), axis=1)
    return np.cos(angles), np.sin(angles)


def rotate(values: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """Turn heads by their positions.

    Parameters
    ----------
    values : f32 array
        `[batch, heads, tokens, head_dim]`.
    cosine, sine : f32 arrays
        Of `rope_tables`.

    Returns
    -------
    f32 array
        Of the same shape.
    """
    half = values.shape[-1] // 2
    turned = np.concatenate((-values[..., half:], values[..., :half]), axis=-1)
    return values * cosine + turned * sine
