"""A small language and a network that can learn it, for the tests of pruning."""

import random
from dataclasses import replace

import torch

from trainer.encoder import Encoder, EncoderConfig
from trainer.network import build_network
from trainer.prune.language_model import TokenRow, evaluate_language

SHAPE = EncoderConfig(
    family="llama", vocab_size=40, hidden_size=16, layers=3, heads=4, kv_heads=2, head_dim=4, ffn_size=24,
    rope_theta=10_000.0, causal=True, lm_head="tied",
)  # fmt: skip


def make_corpus(seed: int = 0) -> TokenRow:
    """Tokens that count upwards, with a jump now and then: easy to learn."""
    chooser, tokens = random.Random(seed), [2]
    for _ in range(3000):
        tokens.append(2 + (tokens[-1] - 1) % 37 if chooser.random() < 0.9 else chooser.randrange(2, 39))
    flat = torch.tensor(tokens)
    return TokenRow(tokens=flat[:-240].to(torch.int32).numpy(), held_out=flat[-240:].view(20, 12), seed=seed)


def make_network(**changes) -> Encoder:
    """Random weights, far enough from zero that parts differ."""
    network = build_network(replace(SHAPE, **changes), seed=3)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    assert isinstance(network, Encoder)
    return network


def measure_mean(network: Encoder, corpus: TokenRow) -> float:
    """Mean loss of what is held out."""
    values = evaluate_language(network, corpus.held_out)
    return sum(values) / len(values)
