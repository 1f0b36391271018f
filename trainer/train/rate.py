"""Owns how fast a training is and how fast it could be: model FLOPs against the measured rate of matrix products.

Model FLOPs are those of one forward and one backward pass over tokens without padding: what is computed twice to save
memory does not count as work done.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from trainer.network import Network

_PASSES = 3
"""A backward pass costs two forward passes: gradients of inputs and of weights."""


def count_flops(network: "Network", lengths: Sequence[int], teacher: "Network | None" = None) -> float:
    """Model FLOPs of training on texts of these lengths, in tokens; with those of a teacher that only reads them."""
    read = _count_reading(teacher, lengths) if teacher else 0.0
    return _PASSES * _count_reading(network, lengths) + read


def _count_reading(network: "Network", lengths: Sequence[int]) -> float:
    config = network.config
    linear = [module for name, module in network.named_modules() if isinstance(module, nn.Linear) and name != "lm_head"]
    a_token = 2 * sum(module.weight.numel() for module in linear)
    # Scores and mixed values: two products of length x head width, for each head and token.
    a_pair = 4 * config.heads * config.head_dim * config.layers
    return float(sum(length * a_token + length * length * a_pair for length in lengths))


def measure_gemm(device: torch.device, dtype: torch.dtype, *, seconds: float = 0.1) -> float:
    """FLOPs a second of a large square matrix product, the best of several."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.rand(size, size, device=device, dtype=dtype) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    torch.mm(left, right)
    while time.perf_counter() < end or not best:
        synchronise(device)
        start = time.perf_counter()
        torch.mm(left, right)
        synchronise(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_memory(device: torch.device) -> int:
    """Most bytes held so far: the device's, or the process's on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
