"""Owns what the two networks share to the outside: one type, built from a configuration, described as JSON.

It holds no weights and reads no file.
"""

from dataclasses import asdict, fields, replace
from typing import Any

import torch

from trainer.bidirectional import BidirectionalConfig, BidirectionalEncoder
from trainer.encoder import Encoder, EncoderConfig, RopeScaling

NetworkConfig = EncoderConfig | BidirectionalConfig
Network = Encoder | BidirectionalEncoder

_BIDIRECTIONAL = "bidirectional"


def build_network(config: NetworkConfig, *, seed: int = 0, device: str = "cpu") -> Network:
    """A network with small random weights, the same for the same seed.

    Args:
        config: Its shape.
        seed: For the random weights; the global generator of torch is left as it was.
        device: "meta" makes one without memory, to be filled by `load_state_dict(..., assign=True)`.
    """
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(seed)
        network: Network = Encoder(config) if isinstance(config, EncoderConfig) else BidirectionalEncoder(config)
        for module in network.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                torch.nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, torch.nn.Linear) and module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    return network.eval()


def describe_config(config: NetworkConfig) -> dict[str, Any]:
    """The configuration as JSON values; `parse_config` reads it back."""
    family = config.family if isinstance(config, EncoderConfig) else _BIDIRECTIONAL
    return asdict(config) | {"family": family}


def parse_config(described: dict[str, Any]) -> NetworkConfig:
    """The configuration that `describe_config` wrote.

    Raises:
        ValueError: A key is missing, unknown or contradicts another.
    """
    kind = BidirectionalConfig if described.get("family") == _BIDIRECTIONAL else EncoderConfig
    values = {key: value for key, value in described.items() if kind is EncoderConfig or key != "family"}
    if unknown := values.keys() - {field.name for field in fields(kind)}:
        raise ValueError(f"unknown keys of a network: {', '.join(sorted(unknown))}")
    if isinstance(values.get("rope_scaling"), dict):
        values["rope_scaling"] = RopeScaling(**values["rope_scaling"])
    if "sliding" in values:
        values["sliding"] = tuple(values["sliding"])
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"the description of a network is incomplete ({error})") from error


def change_network(network: Network, **changes: Any) -> Network:
    """The same weights in a network whose configuration differs in the keys given (causal, lm_head, output_size).

    A part that is new (a head) starts small and random; one that is gone is dropped.
    """
    changed = build_network(replace(network.config, **changes))
    state, wanted = network.state_dict(), changed.state_dict()
    if "lm_head.weight" in wanted and "lm_head.weight" not in state:
        state["lm_head.weight"] = state["embed_tokens.weight"].clone()
    changed.load_state_dict({name: state.get(name, tensor) for name, tensor in wanted.items()})
    return changed.to(next(network.parameters()))
