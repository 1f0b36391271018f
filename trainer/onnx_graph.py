"""Owns the ONNX side of an export: a graph that is written node by node, its low-bit token table and int8 products.

Written with `onnx.helper` and not by tracing torch: two networks need about twenty kinds of nodes, the quantised form
is part of the design and not a pass over a finished graph, and no exporter has to be installed or kept in step.
It knows no architecture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trainer.token_table import BLOCK, CODES, GROUP, code_groups, quantise_blocks, quantise_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

OPSET, IR_VERSION = 20, 10
"""The oldest with a Gelu node; ONNX Runtime 1.22 and later run it."""
PRODUCTS = ("qkv", "out", "up", "down")
"""The matrix products of a layer; a gate counts as part of `up`."""
_TABLES = {
    2: "2 bits (a code for each four columns)", 4: "4 bits (blocks of 32, fp16 scales)",
    8: "8 bits (a scale a row)", 32: "float32",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How weights are stored and products computed."""

    table_bits: Literal[2, 4, 8, 32] = 4
    """2: a code for each four columns; 4: codes in blocks of 32 with a float16 scale; 8: codes with a scale a row."""
    products: Literal["int8", "float32"] = "int8"
    per_channel: bool = True
    """A weight scale for each output column instead of one for the matrix."""
    row_scales: tuple[str, ...] = ("out", "down")
    """Products before which each token's row is divided by its largest value; elsewhere a tensor has one scale. Those
    fed by a norm gain nothing (e5-mini: 0.9987 against 0.9988) and cost a tenth of the rate."""
    keep: tuple[str, ...] = ()
    """Products of PRODUCTS that stay in float32; "down" is the one that outliers harm most."""
    smoothing: float = 0.5
    """0 to 1: how much of the loudness of an input column moves into the weights; needs calibration texts."""
    loud_units: int = 8
    """Feed-forward units, the loudest of each layer, that stay in float32; needs calibration texts."""
    narrow: bool = False
    """7-bit weights: x86 CPUs without VNNI saturate in products of 8-bit ones."""

    def __post_init__(self) -> None:
        if unknown := {*self.keep, *self.row_scales} - set(PRODUCTS):
            raise ValueError(f"no such products: {', '.join(sorted(unknown))}; there are {', '.join(PRODUCTS)}")
        if self.table_bits not in _TABLES or self.products not in ("int8", "float32"):
            raise ValueError("a table has 2, 4, 8 or 32 bits, products are int8 or float32")

    @property
    def is_exact(self) -> bool:
        """Whether nothing is rounded."""
        return self.table_bits == 32 and self.products == "float32"

    def describe(self) -> str:
        """One line for people."""
        table = _TABLES[self.table_bits]
        if self.products == "float32":
            return f"token table {table}, products float32"
        parts = [f"per {'channel' if self.per_channel else 'matrix'}", "7 bits" if self.narrow else "8 bits"]
        parts += [f"a scale a token before {', '.join(self.row_scales)}"] if self.row_scales else []
        parts += [f"smoothing {self.smoothing}"] if self.smoothing else []
        parts += [f"{self.loud_units} loudest units in float32"] if self.loud_units else []
        parts += [f"{' and '.join(self.keep)} in float32"] if self.keep else []
        return f"token table {table}, products int8 (dynamic, {', '.join(parts)}), rest float32"


FULL_PRECISION = Precision(table_bits=32, products="float32")


@dataclass(slots=True)
class Graph:
    """An ONNX graph in the making; values are named by strings."""

    precision: Precision
    nodes: list[Any] = field(default_factory=list)
    stored: list[Any] = field(default_factory=list)
    names: dict[bytes, str] = field(default_factory=dict)
    """Small constants by their content, each stored once."""

    def add(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Append a node; returns the name of its value, or the list of names if it has several."""
        from onnx import helper

        made = [f"{kind.lower()}_{len(self.nodes)}" + (f"_{index}" if index else "") for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, domain=domain, **attributes))
        return made[0] if outputs == 1 else made

    def store(self, values: Any, name: str = "") -> str:
        """Keep an array with the graph; returns its name."""
        import numpy as np
        from onnx import numpy_helper

        array = np.ascontiguousarray(values)
        key = f"{array.dtype}{array.shape}".encode() + array.tobytes() if array.size <= 64 else b""
        if not name and key in self.names:
            return self.names[key]
        name = name or f"constant_{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(array, name))
        if key:
            self.names[key] = name
        return name

    def shape(self, *sizes: int) -> str:
        """A constant int64 vector: a shape or a list of axes."""
        import numpy as np

        return self.store(np.array(sizes, dtype=np.int64))

    def number(self, value: float) -> str:
        """A constant float32 scalar."""
        import numpy as np

        return self.store(np.array(value, dtype=np.float32))

    def gather_table(self, ids: str, table: "Floats") -> str:
        """Rows float32 [B, L, H] of the token table [V, H]."""
        from onnx import TensorProto

        bits, width = self.precision.table_bits, table.shape[1]
        if bits == 32:
            return str(self.add("Gather", self.store(table, "word"), ids, axis=0))
        if bits == 8:
            codes, scales = quantise_rows(table)
            rows = self.add("Gather", self.store(codes, "word_q"), ids, axis=0)
            scale = self.add("Gather", self.store(scales, "word_scale"), ids, axis=0)
            wide = [self.add("Cast", value, to=TensorProto.FLOAT) for value in (rows, scale)]
            return str(self.add("Mul", *wide))
        if bits == 2:
            return self._gather_groups(ids, table)
        packed, halves = quantise_blocks(table)
        rows = self.add(
            "GatherBlockQuantized",
            self.store(packed, "word_q"),
            ids,
            self.store(halves, "word_scale"),
            domain="com.microsoft",
            bits=4,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )
        rows = self.add("Cast", rows, to=TensorProto.FLOAT)
        if width % BLOCK:
            rows = self.add("Slice", rows, self.shape(0), self.shape(width), self.shape(2))
        return str(rows)

    def _gather_groups(self, ids: str, table: "Floats") -> str:
        """Rows [B, L, H] of a table [V, H] of which each group of columns is a code: where its values stand."""
        import numpy as np
        from onnx import TensorProto

        codes, books = code_groups(table)
        groups = codes.shape[1]
        picked = self.add("Gather", self.store(codes, "word_q"), ids, axis=0)  # [B, L, groups]
        places = self.store((np.arange(groups) * CODES).astype(np.int32))
        picked = self.add("Add", self.add("Cast", picked, to=TensorProto.INT32), places)
        values = self.add("Gather", self.store(books.reshape(-1, GROUP), "word_book"), picked, axis=0)
        values = self.add("Transpose", self.add("Cast", values, to=TensorProto.FLOAT), perm=[0, 1, 3, 2])
        rows = self.add("Reshape", values, self.shape(0, 0, groups * GROUP))
        if table.shape[1] % GROUP:
            rows = self.add("Slice", rows, self.shape(0), self.shape(table.shape[1]), self.shape(2))
        return str(rows)

    def product(
        self, rows: str, weight: "Floats", bias: "Floats | None", kind: str, levels: "Floats | None" = None
    ) -> str:
        """`rows` [B, L, K] times `weight` [K, N] plus `bias` [N], in the precision of this kind of product.

        Args:
            rows: The value's name.
            weight: The matrix.
            bias: What is added, if anything.
            kind: One of PRODUCTS.
            levels: [K], what each input column is divided by before it is quantised; the weights make up for it.
        """
        if self.precision.products == "float32" or kind in self.precision.keep:
            made = self.add("MatMul", rows, self.store(weight))
            return str(made if bias is None else self.add("Add", made, self.store(bias)))
        import numpy as np
        from onnx import TensorProto

        if levels is not None:
            rows = self.add("Mul", rows, self.store((1 / levels).astype(np.float32)))
            weight = weight * levels[:, None]
        peak = ""
        if kind in self.precision.row_scales:
            peak = self.add("ReduceMax", self.add("Abs", rows), self.shape(-1), keepdims=1)
            peak = self.add("Max", peak, self.number(1e-12))
            rows = self.add("Div", rows, peak)
        codes, scales = quantise_columns(
            weight, bits=7 if self.precision.narrow else 8, one=not self.precision.per_channel
        )
        quantised, scale, zero = self.add("DynamicQuantizeLinear", rows, outputs=3)
        zeros = self.store(np.zeros(scales.shape, dtype=np.int8))
        whole = self.add("MatMulInteger", quantised, self.store(codes), zero, zeros)
        # ONNX Runtime recognises this pattern and runs it as one kernel.
        made = self.add("Cast", whole, to=TensorProto.FLOAT)
        made = self.add("Mul", made, self.add("Mul", scale, self.store(scales)))
        made = self.add("Mul", made, peak) if peak else made
        return str(made if bias is None else self.add("Add", made, self.store(bias)))

    def pool(self, rows: str, head: "tuple[Floats, Floats] | None", *, width: int) -> None:
        """The output: mean of `rows` [B, L, H] over the mask; with a head ([H, N], [N]) normalised and through it.

        Only its first `width` dimensions: a network may be wider than the widest vector that it was trained for.
        """
        weights = self.add("Unsqueeze", "mask", self.shape(-1))
        total = self.add("ReduceSum", self.add("Mul", rows, weights), self.shape(1), keepdims=0)
        count = self.add("Max", self.add("ReduceSum", weights, self.shape(1), keepdims=0), self.number(1.0))
        mean = self.add("Div", total, count)
        if head is not None:
            length = self.add("Max", self.add("ReduceL2", mean, self.shape(-1), keepdims=1), self.number(1e-12))
            mean = self.add("MatMul", self.add("Div", mean, length), self.store(head[0][:, :width]))
            mean = self.add("Add", mean, self.store(head[1][:width]))
        else:
            mean = self.add("Slice", mean, self.shape(0), self.shape(width), self.shape(1))
        self.rename(mean, "embedding")

    def rename(self, value: str, name: str) -> None:
        """Give the value of a node another name."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [value], [name]))

    def build(self, dim: int) -> Any:
        """The finished model: `input_ids` and `attention_mask` in, `embedding` [B, dim] out."""
        from onnx import TensorProto, helper

        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim])
        graph = helper.make_graph(self.nodes, "retriever", inputs, [output], self.stored)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def quantise_columns(weight: "Floats", *, bits: int, one: bool) -> "tuple[NDArray[np.int8], Floats]":
    """Symmetric codes int8 [K, N] and scales [N] of a matrix, or one scale [1] for all of it."""
    import numpy as np

    peak = np.abs(weight).max(axis=None if one else 0)
    scales = np.maximum(np.atleast_1d(peak), 1e-12).astype(np.float32) / (2 ** (bits - 1) - 1)
    return np.rint(weight / scales).astype(np.int8), scales


def join_columns(matrices: "Sequence[Floats]") -> "Floats":
    """Matrices [K, N1], [K, N2] ... side by side, so that their rows are quantised once."""
    import numpy as np

    return np.ascontiguousarray(np.concatenate(list(matrices), axis=-1), dtype=np.float32)
