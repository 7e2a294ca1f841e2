"""Transforms between time and frequency that exporters have no operators for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def _istft(
    func: Any,
    x: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """As torch.istft: the frames of a spectrogram [..., frequencies, frames] are windowed, added where they overlap,
    and divided by what their windows add up to."""
    if return_complex:
        return func(x, n_fft, hop_length, win_length, window, center, normalized, onesided, length, return_complex)
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    taper = torch.ones(width, device=x.device) if window is None else window
    taper = F.pad(taper, ((n_fft - width) // 2, n_fft - width - (n_fft - width) // 2))
    rows = x if x.ndim == 3 else x.unsqueeze(0)
    norm = "ortho" if normalized else "backward"
    frames = torch.fft.irfft(rows[:, : n_fft // 2 + 1], n_fft, dim=1, norm=norm)
    count = frames.shape[2]
    span = n_fft + hop * (count - 1)

    def added(columns: Tensor) -> Tensor:
        return F.fold(columns, (1, span), (1, n_fft), stride=(1, hop)).flatten(1)

    made = added(frames * taper[:, None])
    weights = added(taper.square()[None, :, None].expand(1, n_fft, count))
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else span - start
    made, weights = made[:, start:end], weights[:, start:end]
    made = made / weights
    if length is not None and length > made.shape[1]:
        made = F.pad(made, (0, length - made.shape[1]))
    return made if x.ndim == 3 else made.squeeze(0)


REPLACED: dict[Callable[..., Any], Callable[..., Any]] = {torch.istft: _istft, Tensor.istft: _istft}
"""Functions, and what computes the same: of the function itself, and its arguments."""
