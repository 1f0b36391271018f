"""Owns masks that are learned: which layers, heads, feed-forward units and hidden columns a network can do without.

Each part has a factor drawn from the hard-concrete distribution (Louizos et al. 2018, "Learning sparse neural networks
through L0 regularization"), which is 0 or 1 most of the time and can be differentiated. Lagrange multipliers push the
expected number of parts to the wanted one (Xia et al. 2023, "Sheared LLaMA"). No network is cut here.
"""

import math

import torch
from torch import Tensor, nn

from trainer.encoder import EncoderConfig, Masks
from trainer.prune.slicing import Keep

KINDS = ("layers", "heads", "ffn", "hidden")
_BETA = 2 / 3
_LOW, _HIGH = -0.1, 1.1
"""The concrete distribution is stretched to this and cut to 0 and 1: Louizos et al., section 4."""
_START = 2.5
"""log alpha of a part at the beginning: it is there with a chance of 0.98."""

_DAMPING = 10.0
"""Where quadratic multipliers start: from 0, 60 quick steps on three layers overshot to 0.9 of 2, from 10 to 1.7."""


class LearnedMasks(nn.Module):
    """Factors on the parts of a network, with the numbers that shall be left."""

    def __init__(self, config: EncoderConfig, targets: dict[str, int]) -> None:
        """Masks for the kinds that get fewer.

        Args:
            config: Of the network.
            targets: How many layers, heads a layer, units a layer, hidden columns shall be left, by kind.
        """
        super().__init__()
        shapes = {
            "layers": (1, config.layers), "heads": (config.layers, config.heads),
            "ffn": (config.layers, config.ffn_size), "hidden": (1, config.hidden_size),
        }  # fmt: skip
        self.targets = {kind: targets[kind] for kind in KINDS if 0 < targets.get(kind, 0) < shapes[kind][1]}
        start = {kind: torch.full(shapes[kind], _START) for kind in self.targets}
        for value in start.values():
            # Parts that are all alike would stay so as long as their gradients do.
            value += 0.01 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
        self.scores = nn.ParameterDict({kind: nn.Parameter(value) for kind, value in start.items()})
        rows = {kind: shapes[kind][0] for kind in self.targets}
        self.linear = nn.ParameterDict({kind: nn.Parameter(torch.zeros(count)) for kind, count in rows.items()})
        self.quadratic = nn.ParameterDict(
            {kind: nn.Parameter(torch.full((count,), _DAMPING)) for kind, count in rows.items()}
        )

    @property
    def multipliers(self) -> list[nn.Parameter]:
        """What is driven up while everything else goes down."""
        return [*self.linear.values(), *self.quadratic.values()]

    def draw(self) -> Masks:
        """Factors of one step, drawn from torch's generator."""
        drawn = {}
        for kind, scores in self.scores.items():
            uniform = torch.rand_like(scores).clamp(1e-6, 1 - 1e-6)
            noise = uniform.log() - (1 - uniform).log()
            drawn[kind] = _stretch(torch.sigmoid((noise + scores) / _BETA))
        return _as_masks(drawn)

    def expect(self) -> dict[str, Tensor]:
        """Expected number of parts that are there, by kind: [layers] or [1]."""
        shift = _BETA * math.log(-_LOW / _HIGH)
        return {kind: torch.sigmoid(scores - shift).sum(1) for kind, scores in self.scores.items()}

    def constrain(self, *, progress: float) -> Tensor:
        """What the multipliers ask for: added to the loss; `progress` from 0 to 1 moves the wanted numbers down."""
        total = torch.zeros(())
        for kind, expected in self.expect().items():
            whole = self.scores[kind].shape[1]
            wanted = whole + min(1.0, progress) * (self.targets[kind] - whole)
            excess = (expected - wanted) / whole
            total = total + (self.linear[kind] * excess + self.quadratic[kind] * excess**2).sum()
        return total

    def choose(self) -> Keep:
        """The wanted number of each kind: those with the highest scores, as many in each layer."""
        kept = {}
        for kind, scores in self.scores.items():
            best = scores.detach().topk(self.targets[kind], dim=1).indices.sort(dim=1).values
            kept[kind] = tuple(tuple(row) for row in best.tolist())
        return Keep(
            layers=kept["layers"][0] if "layers" in kept else None,
            heads=kept.get("heads"),
            ffn=kept.get("ffn"),
            hidden=kept["hidden"][0] if "hidden" in kept else None,
        )

    @torch.no_grad()
    def settle(self) -> Masks:
        """The factors that the chosen parts have in the middle of their distribution, 0 for all others.

        Hidden columns have 1 or 0: what scales them cannot go into a token table that is also the head.
        """
        settled = {}
        for kind, scores in self.scores.items():
            middle = _stretch(torch.sigmoid(scores)).clamp(min=1e-3)
            chosen = torch.zeros_like(scores).scatter(1, scores.topk(self.targets[kind], dim=1).indices, 1.0)
            settled[kind] = chosen if kind == "hidden" else chosen * middle
        return _as_masks(settled)


def _stretch(concrete: Tensor) -> Tensor:
    return (concrete * (_HIGH - _LOW) + _LOW).clamp(0, 1)


def _as_masks(factors: dict[str, Tensor]) -> Masks:
    return Masks(
        layers=factors["layers"][0] if "layers" in factors else None,
        heads=factors.get("heads"),
        ffn=factors.get("ffn"),
        hidden=factors["hidden"][0] if "hidden" in factors else None,
    )
