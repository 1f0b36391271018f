"""Owns masks that are learned: which layers, heads, feed-forward units and hidden columns a network can do without.

Each part has a factor drawn from the hard-concrete distribution (Louizos et al. 2018, "Learning sparse neural networks
through L0 regularization"), which is 0 or 1 most of the time and can be differentiated. Lagrange multipliers push the
expected number of parts to the wanted one (Xia et al. 2023, "Sheared LLaMA"). No network is cut here.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from trainer.encoder import Encoder, EncoderConfig, Masks
from trainer.prune.language_model import State, Step, TokenRow, backward_losses, descend, make_optimizer, schedule
from trainer.prune.slicing import Keep
from trainer.recipe import PruneRecipe

KINDS = ("layers", "heads", "ffn", "hidden")
_BETA = 2 / 3
_LOW, _HIGH = -0.1, 1.1
"""The concrete distribution is stretched to this and cut to 0 and 1: Louizos et al., section 4."""
_START, _SPREAD = 2.5, 1.5
"""log alpha at the beginning: 4 for the most important part of a row, 1 for the least; there with a chance of 0.99 and
0.93. It ends within `_BOUND`, as in Sheared LLaMA, from where a part can come back."""
_BOUND = math.log(100)
_DAMPING = 10.0
"""Where quadratic multipliers start: from 0, 60 quick steps on three layers overshot to 0.9 of 2, from 10 to 1.7."""
_MEMORY, _LONGEST = 0.9, 1.0
"""Share of a row's mean squared gradient that is kept from step to step; the most that a score moves in one
step."""
_WARMING = 0.5
"""Share of the steps in which the wanted numbers move from all to their goal."""


class LearnedMasks(nn.Module):
    """Factors on the parts of a network, with the numbers that shall be left."""

    def __init__(
        self, config: EncoderConfig, targets: Mapping[str, int], importance: Mapping[str, Tensor] | None = None
    ) -> None:
        """Masks for the kinds that get fewer.

        Args:
            config: Of the network.
            targets: How many layers, heads a layer, units a layer, hidden columns shall be left, by kind.
            importance: What is known of the parts, in any scale: the order in which they start to go.
        """
        super().__init__()
        self.depth = config.layers
        shapes = {
            "layers": (1, config.layers), "heads": (config.layers, config.heads),
            "ffn": (config.layers, config.ffn_size), "hidden": (1, config.hidden_size),
        }  # fmt: skip
        self.targets = {kind: targets[kind] for kind in KINDS if 0 < targets.get(kind, 0) < shapes[kind][1]}
        start = {}
        for kind in self.targets:
            # Parts that are all alike would stay so as long as their gradients do.
            chance = torch.rand(shapes[kind], generator=torch.Generator().manual_seed(0))
            known = (importance or {}).get(kind)
            ranks = (chance if known is None else known.reshape(shapes[kind])).argsort(1).argsort(1)
            spread = 0.01 if known is None else _SPREAD
            start[kind] = _START + spread * (2 * ranks / (shapes[kind][1] - 1) - 1)
        self.scores = nn.ParameterDict({kind: nn.Parameter(value) for kind, value in start.items()})
        rows = {kind: shapes[kind][0] for kind in self.targets}
        for kind, count in rows.items():
            self.register_buffer(f"{kind}_size", torch.zeros(count, 1))
        self.linear = nn.ParameterDict({kind: nn.Parameter(torch.zeros(count)) for kind, count in rows.items()})
        self.quadratic = nn.ParameterDict(
            {kind: nn.Parameter(torch.full((count,), _DAMPING)) for kind, count in rows.items()}
        )

    @property
    def multipliers(self) -> list[nn.Parameter]:
        """What is driven up while everything else goes down."""
        return [*self.linear.values(), *self.quadratic.values()]

    def draw(self, generator: torch.Generator) -> Masks:
        """Factors of one step."""
        drawn = {}
        for kind, scores in self.scores.items():
            uniform = torch.rand(scores.shape, generator=generator, device=scores.device).clamp(1e-6, 1 - 1e-6)
            noise = uniform.log() - (1 - uniform).log()
            drawn[kind] = _stretch(torch.sigmoid((noise + scores) / _BETA))
        return _as_masks(drawn)

    def expect(self) -> dict[str, Tensor]:
        """Expected number of parts that are there, by kind: [layers] or [1]."""
        shift = _BETA * math.log(-_LOW / _HIGH)
        return {kind: torch.sigmoid(scores - shift).sum(1) for kind, scores in self.scores.items()}

    def constrain(self, *, progress: float) -> Tensor:
        """What the multipliers ask for: added to the loss; `progress` from 0 to 1 moves the wanted numbers down.

        What all layers share counts as often as there are layers. Counted once, 60 steps brought the layers of Gemma 3
        270M from 18 to 14.6 where 6 were wanted, while units fell below their number.
        """
        terms = []
        for kind, expected in self.expect().items():
            whole = self.scores[kind].shape[1]
            wanted = whole + min(1.0, progress) * (self.targets[kind] - whole)
            excess = (expected - wanted) / whole
            weight = self.depth / len(expected)
            terms.append(weight * (self.linear[kind] * excess + self.quadratic[kind] * excess**2).sum())
        return torch.stack(terms).sum()

    @torch.no_grad()
    def move(self, rate: float) -> None:
        """One step down the gradients of the scores, which are then emptied.

        Steps are measured by the mean gradient of a row, not by each part's own as Adam does, under which all parts
        sink together: so those that are nearly gone go first, and those that matter stay where they are.
        """
        for kind, scores in self.scores.items():
            assert scores.grad is not None
            size = self.get_buffer(f"{kind}_size")
            square = scores.grad.pow(2).mean(1, keepdim=True)
            size.copy_(torch.where(size == 0, square, _MEMORY * size + (1 - _MEMORY) * square))
            step = rate * scores.grad / (size.sqrt() + 1e-12)
            scores.sub_(step.clamp(-_LONGEST, _LONGEST)).clamp_(-_BOUND, _BOUND)
            scores.grad = None

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


def learn_masks(
    network: Encoder, masks: LearnedMasks, corpus: TokenRow, recipe: PruneRecipe, *, start: int = 0,
    state: State | None = None,
) -> Iterator[Step]:  # fmt: skip
    """Train weights and masks together under the constraint; both are changed.

    Args:
        network: With a language-model head.
        masks: Of its shape, with at least one kind.
        corpus: What to draw from.
        recipe: Steps, windows, rates.
        start: Steps that an earlier call has done, which left `state`.
        state: None starts afresh.

    Raises:
        TrainingError: A loss is no number.
    """
    device = network.requires_grad_(True).train().embed_tokens.weight.device
    masks.to(device)
    down = make_optimizer(network.parameters(), recipe.learning_rate)
    up = torch.optim.AdamW(masks.multipliers, lr=recipe.mask_learning_rate, weight_decay=0.0, maximize=True)
    if state:
        masks.load_state_dict(state["masks"])
        down.load_state_dict(state["weights"])
        up.load_state_dict(state["multipliers"])

    def get_state() -> State:
        return {"masks": masks.state_dict(), "weights": down.state_dict(), "multipliers": up.state_dict()}

    for step in range(start + 1, recipe.mask_steps + 1):
        down.param_groups[0]["lr"] = schedule(step, recipe.mask_steps, recipe.learning_rate)
        generator = torch.Generator(device).manual_seed(corpus.seed * 1_000_003 + step)
        windows = corpus.draw(step, recipe.batch, recipe.length)
        loss = backward_losses(network, windows, partial(masks.draw, generator))
        masks.constrain(progress=step / max(1.0, _WARMING * recipe.mask_steps)).backward()  # type: ignore[no-untyped-call]
        descend(down, network.parameters(), loss, step=step)
        masks.move(recipe.mask_learning_rate)
        up.step()
        up.zero_grad()
        yield Step(step, loss, get_state, _describe(masks))


def _describe(masks: LearnedMasks) -> str:
    left = ", ".join(f"{count.mean().item():.1f} {kind}" for kind, count in masks.expect().items())
    return f", expected {left}"


def _stretch(concrete: Tensor) -> Tensor:
    return (concrete * (_HIGH - _LOW) + _LOW).clamp(0, 1)


def _as_masks(factors: dict[str, Tensor]) -> Masks:
    return Masks(
        layers=factors["layers"][0] if "layers" in factors else None,
        heads=factors.get("heads"),
        ffn=factors.get("ffn"),
        hidden=factors["hidden"][0] if "hidden" in factors else None,
    )
