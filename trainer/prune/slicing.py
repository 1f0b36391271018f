"""Owns the step from a masked network to a smaller one that computes the same: pure, tensors in and tensors out.

It decides nothing: which layers, heads, units and columns survive is learned or measured elsewhere.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainer.checkpoint import fill_network
from trainer.encoder import Encoder, EncoderConfig, Masks
from trainer.network import Network

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What survives, by index, ascending; None keeps all of a kind."""

    layers: tuple[int, ...] | None = None
    heads: tuple[tuple[int, ...], ...] | None = None
    """Query heads of each layer of the whole network, as many in each surviving one."""
    ffn: tuple[tuple[int, ...], ...] | None = None
    """Feed-forward units of each layer, as many in each surviving one."""
    hidden: tuple[int, ...] | None = None


def slice_network(network: Encoder, keep: Keep) -> Encoder:
    """The network without the parts that are not kept: what it computes with them masked to 0.

    Key-value heads stay shared if the kept heads share them evenly in every layer, otherwise each head gets its own
    copy: a head that survives alone must not keep a whole group alive.

    Raises:
        ValueError: Nothing of a kind is kept, or surviving layers keep different numbers.
    """
    config = network.config
    state: State = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    layers = tuple(range(config.layers)) if keep.layers is None else keep.layers
    every_head = (tuple(range(config.heads)),) * config.layers
    heads = [(every_head if keep.heads is None else keep.heads)[layer] for layer in layers]
    every_unit = (tuple(range(config.ffn_size)),) * config.layers
    units = [(every_unit if keep.ffn is None else keep.ffn)[layer] for layer in layers]
    hidden = tuple(range(config.hidden_size)) if keep.hidden is None else keep.hidden
    _check_even(layers, heads, units, hidden)
    keys = _choose_key_heads(heads, config.heads // config.kv_heads)
    sliced = _slice_outer(state, torch.tensor(hidden))
    for new, old in enumerate(layers):
        for name, tensor in _list_layer(state, old).items():
            cut = _slice_inner(name, tensor, heads[new], keys[new], units[new], config.head_dim)
            sliced[f"layers.{new}.{name}"] = _slice_hidden(name, cut, torch.tensor(hidden)).clone()
    changed = replace(
        config,
        layers=len(layers),
        heads=len(heads[0]),
        kv_heads=len(keys[0]),
        ffn_size=len(units[0]),
        hidden_size=len(hidden),
        sliding=tuple(config.sliding[layer] for layer in layers) if config.sliding else (),
    )
    made = fill_network(changed, sliced, "the sliced network")
    assert isinstance(made, Encoder)
    return made


def drop_layers(network: Network, keep: Sequence[int]) -> Network:
    """The network with these layers only, in this order; of either kind.

    Raises:
        ValueError: None is kept.
    """
    if not keep:
        raise ValueError("at least one layer must be kept")
    config = network.config
    state: State = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    kept = {name: tensor.clone() for name, tensor in state.items() if not name.startswith("layers.")}
    for new, old in enumerate(keep):
        kept |= {f"layers.{new}.{name}": tensor.clone() for name, tensor in _list_layer(state, old).items()}
    if isinstance(config, EncoderConfig):
        sliding = tuple(config.sliding[layer] for layer in keep) if config.sliding else ()
        return fill_network(replace(config, layers=len(keep), sliding=sliding), kept, "the network of fewer layers")
    return fill_network(replace(config, layers=len(keep)), kept, "the network of fewer layers")


def apply_masks(network: Encoder, masks: Masks) -> Encoder:
    """The smaller network that computes what the masked one does: factors go into the weights, zeros are cut out.

    A layer of which only one block is silenced keeps both; surviving layers must keep equal numbers.

    Raises:
        ValueError: Numbers differ between layers, or hidden factors are between 0 and 1 although the token table also
            serves as language-model head, so that they cannot go into it.
    """
    folded = _fold(network, masks)
    layers = None
    if masks.layers is not None:
        alive = masks.layers.reshape(network.config.layers, -1).ne(0).any(1)
        layers = tuple(alive.nonzero().flatten().tolist())
    keep = Keep(
        layers=layers,
        heads=None if masks.heads is None else _list_alive(masks.heads),
        ffn=None if masks.ffn is None else _list_alive(masks.ffn),
        hidden=None if masks.hidden is None else _list_alive(masks.hidden[None])[0],
    )
    return slice_network(folded, keep)


def _fold(network: Encoder, masks: Masks) -> Encoder:
    config = network.config
    state: State = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    if masks.hidden is not None:
        soft = bool(((masks.hidden != 0) & (masks.hidden != 1)).any())
        if soft and config.lm_head == "tied":
            raise ValueError("hidden factors between 0 and 1 cannot go into a token table that is also the head")
        state["embed_tokens.weight"] *= masks.hidden
    for layer in range(config.layers):
        prefix, factors = f"layers.{layer}.", masks.of_layer(layer)
        attention, down = state[f"{prefix}self_attn.o_proj.weight"], state[f"{prefix}mlp.down_proj.weight"]
        if factors.heads is not None:
            attention *= factors.heads.repeat_interleave(config.head_dim)
        if factors.ffn is not None:
            down *= factors.ffn
        if factors.hidden is not None:
            attention *= factors.hidden[:, None]
            down *= factors.hidden[:, None]
        blocks = (
            (factors.attention_block, attention, f"{prefix}post_attention_layernorm.weight"),
            (factors.ffn_block, down, f"{prefix}post_feedforward_layernorm.weight"),
        )
        for block, matrix, norm in blocks:
            if block is None:
                continue
            if config.family == "gemma3":  # the norm after the block would undo a factor before it
                state[norm] = (state[norm] + 1) * block - 1
            else:
                matrix *= block
    made = fill_network(config, state, "the masked network")
    assert isinstance(made, Encoder)
    return made


def _list_alive(factors: Tensor) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row.ne(0).nonzero().flatten().tolist()) for row in factors)


def _check_even(
    layers: Sequence[int], heads: Sequence[Sequence[int]], units: Sequence[Sequence[int]], hidden: Sequence[int]
) -> None:
    for what, counts in (
        ("layers", {len(layers)}),
        ("heads", {len(each) for each in heads}),
        ("feed-forward units", {len(each) for each in units}),
        ("hidden columns", {len(hidden)}),
    ):
        if len(counts) != 1 or not min(counts):
            raise ValueError(f"every surviving layer must keep the same number of {what}, at least one")


def _choose_key_heads(heads: Sequence[Sequence[int]], group: int) -> list[list[int]]:
    """Old key-value heads of each layer in their new order: shared as before where that is even, else one a head."""
    needed = [[head // group for head in each] for each in heads]
    sharing = {count for each in needed for count in Counter(each).values()}
    return [sorted(set(each)) for each in needed] if len(sharing) == 1 else needed


def _list_layer(state: State, layer: int) -> State:
    prefix = f"layers.{layer}."
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _slice_outer(state: State, hidden: Tensor) -> State:
    """What is not in a layer, cut to the hidden columns: table, last norm, heads."""
    sliced: State = {}
    for name, tensor in state.items():
        if name.startswith("layers."):
            continue
        # The output head's bias has no hidden columns.
        sliced[name] = tensor.clone() if name == "head.bias" else tensor[..., hidden].clone()
    return sliced


def _slice_inner(
    name: str, tensor: Tensor, heads: Sequence[int], keys: Sequence[int], units: Sequence[int], head_dim: int
) -> Tensor:
    """One matrix of a layer cut to its heads or feed-forward units."""
    part = name.split(".")[1] if "." in name else name
    if part == "q_proj":
        return tensor[_span(heads, head_dim)]
    if part in ("k_proj", "v_proj"):
        return tensor[_span(keys, head_dim)]
    if part == "o_proj":
        return tensor[:, _span(heads, head_dim)]
    if part in ("gate_proj", "up_proj"):
        return tensor[torch.tensor(units)]
    return tensor[:, torch.tensor(units)] if part == "down_proj" else tensor


def _slice_hidden(name: str, tensor: Tensor, hidden: Tensor) -> Tensor:
    """One tensor of a layer cut to the hidden columns: rows of what writes them, columns of what reads them."""
    if "q_norm" in name or "k_norm" in name:
        return tensor
    if "o_proj" in name or "down_proj" in name:
        return tensor[hidden]
    return tensor[..., hidden]


def _span(heads: Sequence[int], head_dim: int) -> Tensor:
    """Rows of these heads in a projection."""
    return (torch.tensor(heads)[:, None] * head_dim + torch.arange(head_dim)).flatten()
