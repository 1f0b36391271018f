"""Owns a token table of codes whose codebooks learn with the layers: a row keeps its codes, what they stand for moves.

A table coded after it was taught lost .013 of nDCG@10, and got .004 back from codebooks that learned on (LOG.md).

Shapes: V tokens, H columns, G groups of four columns.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainer.network import Network
from trainer.token_table import CODES, GROUP, code_groups

BOOKS = "embed_tokens.books"
RATE = 0.1
"""Learning rate of codebooks over that of the layers: each of the 256 entries moves all rows that hold it."""


class CodedTable(nn.Module):
    """In place of a table of V rows: gathers and decodes the rows that are asked for.

    Args:
        table: float32 [V, H] as rounded to 2 bits, which is found again exactly.
    """

    codes: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        codes, books = code_groups(table.detach().cpu().numpy())
        places = torch.from_numpy(codes).to(table.device)
        self.register_buffer("codes", places, persistent=False)
        self.books = nn.Parameter(torch.from_numpy(books).float().to(table.device))
        self.width = table.shape[1]

    def forward(self, ids: Tensor) -> Tensor:
        """Rows float32 [..., H] of token ids [...]."""
        numbers, places = torch.unique(ids, return_inverse=True)
        return self._decode(self.books, numbers)[places]

    def describe(self) -> dict[str, Tensor]:
        """What a run needs to go on: codes are not found again from a table whose codebooks have learned."""
        return {"codes": self.codes.cpu(), "books": self.books.detach().cpu()}

    @torch.no_grad()
    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Go on with what `describe` gave."""
        self.codes.copy_(kept["codes"])
        self.books.copy_(kept["books"])

    @torch.no_grad()
    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, _keep_vars: bool) -> None:
        """A checkpoint holds a plain table [V, H], which whatever reads checkpoints understands."""
        destination[prefix + "weight"] = self._decode(self.books, torch.arange(len(self.codes)))

    def _decode(self, books: Tensor, numbers: Tensor) -> Tensor:
        at = self.codes[numbers].long() + CODES * torch.arange(len(books), device=books.device)  # [numbers, G]
        rows = books.reshape(-1, GROUP)[at]  # [numbers, G, 4]: a group's columns lie G apart
        return rows.transpose(1, 2).reshape(len(numbers), -1)[:, : self.width]


def open_codes(network: Network) -> CodedTable:
    """Put codes in the place of a network's table, which was rounded to 2 bits."""
    table = CodedTable(network.embed_tokens.weight)
    network.register_module("embed_tokens", table)
    return table


def close_codes(network: Network, weight: Tensor) -> Tensor:
    """Give the network a plain table again, these rows [V, H] as near as two bytes hold them: so they are stored."""
    rounded = weight.half().float()
    network.register_module("embed_tokens", nn.Embedding(rounded.shape[0], rounded.shape[1], _weight=rounded))
    return rounded
