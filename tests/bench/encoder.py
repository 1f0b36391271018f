"""How fast the encoder is, against the bare session, a torch twin of the network and the machine's GEMM limits.

    python -m tests.bench.encoder [--folder FOLDER] [--weights FILE.safetensors] [--rounds 5] [--json FILE]

All contenders take turns within a round, in an order that reverses each round; figures are medians. `OnnxEncoder` is
timed whole, from text to unit vectors; the bare session gets the same token ids in batches of the same size.
The twin needs torch and safetensors; without `--weights` it is left out. Needs a quiet machine.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from drama_app.embed import OnnxEncoder, count_cores, open_retriever, open_session, plan_batches
from drama_app.retriever import MODEL, default_retriever_folder

LENGTHS = (12, 64, 128, 256, 512)
TOKENS = 2048
"""Tokens of each timed call; a query is timed alone."""
Task = Callable[[], Any]


def main() -> int:
    """Measure, write the table to stdout and the figures to `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None, help="retriever folder (default: the shipped one)")
    parser.add_argument("--weights", type=Path, default=None, help="safetensors of the torch twin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    encoder = open_retriever(options.folder or default_retriever_folder())
    session = open_session(encoder.retriever.folder / MODEL)
    twin = None if options.weights is None else _open_twin(options.weights, encoder)
    if twin is None:
        print("The torch twin is left out: no --weights.", file=sys.stderr)
    tasks, work = prepare_tasks(encoder, session, twin, options.lengths)
    tasks |= prepare_limits(work)
    load = os.getloadavg()
    seconds = time_interleaved(tasks, rounds=options.rounds)
    report = {
        "retriever": encoder.fingerprint,
        "threads": count_cores(),
        "rounds": options.rounds,
        "load_before": load,
        "load_after": os.getloadavg(),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rates": {name: work[name] / statistics.median(times) for name, times in seconds.items()},
        "seconds": seconds,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(format_table(report, options.lengths))
    return 0


def prepare_tasks(
    encoder: OnnxEncoder, session: Any, twin: Any, lengths: list[int]
) -> tuple[dict[str, Task], dict[str, float]]:
    """Calls to time, and the tokens that each works on."""
    tasks: dict[str, Task] = {}
    work: dict[str, float] = {}
    for length in lengths:
        texts = make_texts(encoder, length)
        tokens = np.stack(encoder._tokenizer.encode([encoder.retriever.passage_prefix + text for text in texts]))
        tasks[f"app {length}"] = lambda texts=texts: encoder.encode_passages(texts)  # type: ignore[misc]
        tasks[f"bare {length}"] = lambda tokens=tokens: _run_bare(session, tokens)  # type: ignore[misc]
        prefixed = [encoder.retriever.passage_prefix + text for text in texts]
        tasks[f"tokens {length}"] = lambda texts=prefixed: encoder._tokenizer.encode(texts)  # type: ignore[misc]
        if twin is not None:
            tasks[f"torch {length}"] = lambda tokens=tokens: twin(tokens)  # type: ignore[misc]
        work |= {name: float(tokens.size) for name in tasks if name.endswith(f" {length}")}
    return tasks, work


def make_texts(encoder: OnnxEncoder, length: int) -> list[str]:
    """Different texts of exactly `length` tokens, prefix included, of words that the vocabulary holds."""
    generator = np.random.default_rng(length)
    words = ["the", "of", "and", "to", "in", "is", "for", "on", "that", "with", "as", "was", "by", "it", "from"]
    count = max(1, TOKENS // length) if length > 32 else 1
    texts: list[str] = []
    while len(texts) < count:
        text = ""
        while len(encoder._tokenizer.encode([f"{encoder.retriever.passage_prefix}{text} the"])[0]) <= length:
            step = max(1, (length - 8) // 4) if not text else 1
            text = " ".join([text, *generator.choice(words, step)]).strip()
            if len(encoder._tokenizer.encode([encoder.retriever.passage_prefix + text])[0]) >= length:
                break
        if len(encoder._tokenizer.encode([encoder.retriever.passage_prefix + text])[0]) == length:
            texts.append(text)
    return texts


def _run_bare(session: Any, tokens: Any) -> None:
    for rows in plan_batches([tokens.shape[1]] * len(tokens)):
        batch = tokens[rows]
        session.run(["embedding"], {"input_ids": batch, "attention_mask": np.ones_like(batch)})


def prepare_limits(work: dict[str, float]) -> dict[str, Task]:
    """Products as large as the machine can make them fast; work in operations."""
    generator = np.random.default_rng(0)
    size = 2048
    left, right = (generator.standard_normal((size, size)).astype(np.float32) for _ in range(2))
    product = _open_integer_product()
    bytes_left = generator.integers(0, 255, (size, size), dtype=np.uint8)
    bytes_right = generator.integers(-127, 127, (size, size), dtype=np.int8)
    work |= {"gemm fp32": 2.0 * size**3, "gemm int8": 2.0 * size**3}
    return {
        "gemm fp32": lambda: left @ right,
        "gemm int8": lambda: product.run(None, {"left": bytes_left, "right": bytes_right}),
    }


def _open_integer_product() -> Any:
    """MatMulInteger u8 x s8, the product in which a dynamic int8 graph spends its time."""
    import onnxruntime  # not before drama_app, which switches its telemetry off
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["left", "right"], ["product"])],
        "product",
        [
            helper.make_tensor_value_info("left", TensorProto.UINT8, ["m", "k"]),
            helper.make_tensor_value_info("right", TensorProto.INT8, ["k", "n"]),
        ],
        [helper.make_tensor_value_info("product", TensorProto.INT32, ["m", "n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or it would slow whoever comes next
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _open_twin(weights: Path, encoder: OnnxEncoder) -> Callable[[Any], Any]:
    """The same network in torch, float32: ids [batch, length] -> embedding [batch, dim]."""
    import torch
    from safetensors.torch import load_file
    from torch.nn import functional

    torch.set_num_threads(count_cores())
    w = {name: tensor.float() for name, tensor in load_file(str(weights)).items()}
    hidden, heads = w["head.weight"].shape[1], 12
    layers = sum(name.endswith("attention.self.query.weight") for name in w)
    # Its values cost no time that differs from the true table's: a lookup is a lookup.
    table = w.get("embeddings.word_embeddings.weight", torch.randn(250_002, hidden) * 0.05)

    def apply(name: str, x: Any) -> Any:
        return functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(name: str, x: Any) -> Any:
        return functional.layer_norm(x, (hidden,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)

    def split(x: Any) -> Any:  # [batch, length, hidden] -> [batch, heads, length, hidden / heads]
        return x.unflatten(2, (heads, hidden // heads)).transpose(1, 2)

    def run(ids: Any) -> Any:
        x = table[torch.from_numpy(ids)] + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = norm("embeddings.LayerNorm", x)
        for index in range(layers):
            at = f"encoder.layer.{index}"
            query, key, value = (split(apply(f"{at}.attention.self.{part}", x)) for part in ("query", "key", "value"))
            mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
            x = norm(f"{at}.attention.output.LayerNorm", x + apply(f"{at}.attention.output.dense", mixed))
            inner = functional.gelu(apply(f"{at}.intermediate.dense", x))
            x = norm(f"{at}.output.LayerNorm", x + apply(f"{at}.output.dense", inner))
        return apply("head", functional.normalize(x.mean(1), dim=1))

    def run_batches(tokens: Any) -> None:
        with torch.inference_mode():
            for rows in plan_batches([tokens.shape[1]] * len(tokens)):
                run(tokens[rows])

    return run_batches


def time_interleaved(tasks: dict[str, Task], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, one round after the other, after a call that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for number in range(rounds):
        for name in list(tasks)[:: 1 if number % 2 == 0 else -1]:
            begun = time.perf_counter()
            tasks[name]()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def format_table(report: dict[str, Any], lengths: list[int]) -> str:
    """The figures as markdown."""
    rates, seconds = report["rates"], report["seconds"]

    def ratio(above: str, below: str) -> str:
        if above not in seconds or below not in seconds:
            return "-"
        pairs = zip(seconds[below], seconds[above], strict=True)
        return f"{statistics.median(slow / fast for slow, fast in pairs):.2f}"

    lines = [
        f"Threads {report['threads']}, load {report['load_before'][0]:.1f} before, {report['load_after'][0]:.1f} after,"
        f" peak RSS {report['peak_rss_mb']:.0f} MB. GEMM limits: fp32 {rates['gemm fp32'] / 1e9:.0f} GFLOP/s,"
        f" int8 {rates['gemm int8'] / 1e9:.0f} GOP/s.",
        "",
        "| tokens | passages/s | tokens/s | of the bare session | times torch fp32 | tokenizing, share of time |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for length in lengths:
        rate, share = rates[f"app {length}"], ratio(f"app {length}", f"tokens {length}")
        lines.append(
            f"| {length} | {rate / length:.1f} | {rate:.0f} | {ratio(f'app {length}', f'bare {length}')}"
            f" | {ratio(f'app {length}', f'torch {length}')} | {share} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
