"""Owns the last step: a network and its tokenizer become a retriever folder that the app opens.

It opens what it wrote as the app does, encodes texts with it and with the network, and only then puts the folder in
its place. `export_gated` chooses the precision too, by what the `gate` measures.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from drama_app.embed import OnnxEncoder
from drama_app.errors import RetrieverError
from drama_app.retriever import MODEL, Retriever, open_retriever_folder
from trainer.backbone import Backbone
from trainer.gate import DevelopmentSet, Scores, describe_verdict, judge, measure
from trainer.onnx_graph import Precision
from trainer.onnx_networks import Loudness, measure_loudness
from trainer.precisions import Choice, list_choices
from trainer.recipe import ExportRecipe
from trainer.retriever_files import (
    Label,
    check_place,
    complete_label,
    put_in_place,
    write_beside,
    write_model,
    write_papers,
    write_weights,
)
from trainer.torch_encoder import TorchEncoder

__all__ = ["SENTENCES", "Agreement", "Label", "compare", "export_gated", "export_retriever", "tell_trial"]

logger = logging.getLogger(__name__)

EXACT_COSINE, ROUNDED_COSINE = 0.99999, 0.97
"""Least mean cosine to the network: on real weights rounding measured 0.987 without any remedy, 0.9985 with all."""
SENTENCES = (
    "How do bees tell each other where the nectar is?",
    "A waggle dance encodes the direction of the sun and the distance in the length of each run.",
    "Der Nord-Ostsee-Kanal verbindet die Elbe mit der Ostsee.",
    "Combien de temps faut-il pour que le levain soit actif ?",
    "¿Qué documentos hacen falta para renovar el contrato?",
    "Река несёт снег с гор, а хлебу нужны мука и время.",
    "كم يبلغ طول نهر النيل؟",
    "नदी पहाड़ों से बर्फ लाती है और रोटी को आटा चाहिए।",
    "长城是古代军事防御工程。",
    "川は山から雪を運び、パンには小麦粉が必要です。",
    "강은 산에서 눈을 나르고 빵에는 밀가루가 필요하다.",
    "แม่น้ำพาหิมะลงมาจากภูเขา",
    "Mto huleta theluji kutoka milimani.",
    "def search(query): return index.nearest(encode(query), k=10)",
    "Invoice 4711, 3,5 € per kg, due 2024-05-01.",
    " ".join(["Bread needs flour, water, salt and time."] * 12),
)
"""Texts for calibration and comparison where the caller has none of its own corpus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How near an exported retriever is to its network: cosines over the sentences compared."""

    mean: float
    least: float


def export_retriever(
    backbone: Backbone, folder: Path, label: Label, *, precision: Precision | None = None,
    texts: Sequence[str] = SENTENCES, least_cosine: float | None = None, with_weights: bool = True,
) -> tuple[Retriever, Agreement]:  # fmt: skip
    """Write a retriever folder at one precision and check it against the network.

    Args:
        backbone: Network, tokenizer and origin.
        folder: Where to; must not exist, or be a retriever folder, which is replaced.
        label: Name, version, widths, metrics, card.
        precision: None is 4-bit rows and int8 products with every remedy.
        texts: Passages to calibrate on and to compare with: of the corpus, if there is one.
        least_cosine: Mean cosine below which nothing is written; None goes by the precision.
        with_weights: Keep the body in float16 too, for further training.

    Raises:
        UsageError: The folder holds something else, or the label does not fit the network.
        RetrieverError: What was written does not agree with the network.
    """
    precision, label = precision or Precision(), complete_label(label, backbone)
    check_place(folder)
    with write_beside(folder) as partial:
        write_model(backbone, partial, label, precision, _calibrate(backbone, label, [precision], texts))
        if with_weights:
            write_weights(backbone, partial)
        write_papers(backbone, partial, label, precision)
        agreement = compare(backbone, open_retriever_folder(partial), texts)
        if fault := _find_fault(agreement, precision, least_cosine):
            raise RetrieverError(f"{fault}; keep more in float32 (down first) or 8 bits in the token table")
        put_in_place(partial, folder)
    return open_retriever_folder(folder), agreement


def export_gated(
    backbone: Backbone, folder: Path, label: Label, recipe: ExportRecipe, *,
    development: Sequence[DevelopmentSet] = (), texts: Sequence[str] = SENTENCES, with_weights: bool = True,
    report: Callable[[str], None] = logger.info,
) -> tuple[Retriever, dict[str, Any]]:  # fmt: skip
    """Write a retriever folder at the first precision by which no language loses too much nDCG@10.

    Args:
        backbone: As for `export_retriever`.
        folder: As for `export_retriever`.
        label: Its widths go before the recipe's.
        recipe: Precisions to try, the largest loss, widths.
        development: Without any, the cosine to the network decides and nothing plain is tried.
        texts: As for `export_retriever`.
        with_weights: As for `export_retriever`.
        report: Called with a short sentence as the work goes on.

    Returns:
        The folder; and what was tried with its figures, as JSON values, as `metrics.json` has them.

    Raises:
        UsageError: As `export_retriever`.
        RetrieverError: No precision passed; the text has the figures.
    """
    dims, default = label.dims or recipe.widths, label.default_dim or recipe.default_width
    label = complete_label(replace(label, dims=dims, default_dim=default), backbone)
    check_place(folder)
    trials = _Trials(backbone, label, recipe, development, list(texts) or list(SENTENCES), report)
    for choice in trials.choices:
        with write_beside(folder) as partial:
            if gate := trials.run(choice, partial):
                if with_weights:
                    write_weights(backbone, partial)
                put_in_place(partial, folder)
                return open_retriever_folder(folder), gate
    raise RetrieverError(trials.tell_failure())


class _Trials:
    """Precisions tried one after the other against one network."""

    def __init__(
        self, backbone: Backbone, label: Label, recipe: ExportRecipe, development: Sequence[DevelopmentSet],
        texts: Sequence[str], report: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._backbone, self._label, self._recipe = backbone, label, recipe
        self._development, self._texts, self._report = development, texts, report
        self.choices = list_choices(recipe.precision, table_bits=recipe.table_bits, measured=bool(development))
        self._loudness = _calibrate(backbone, label, [each.precision for each in self.choices], texts)
        self._exact = self._measure_exact() if development else None
        self._tried: list[dict[str, Any]] = []

    def run(self, choice: Choice, folder: Path) -> dict[str, Any] | None:
        """Write a folder at a precision and judge it; returns all figures if it passes, and finishes the folder."""
        self._report(f"writing {choice.name}")
        write_model(self._backbone, folder, self._label, choice.precision, self._loudness)
        write_papers(self._backbone, folder, self._label, choice.precision)
        retriever = open_retriever_folder(folder)
        agreement = compare(self._backbone, retriever, self._texts)
        trial: dict[str, Any] = {
            "name": choice.name, "precision": choice.precision.describe(),
            "bytes": (folder / MODEL).stat().st_size, "cosine": round(agreement.mean, 5),
            "least_cosine": round(agreement.least, 5),
        }  # fmt: skip
        fault = _find_fault(agreement, choice.precision, None)
        trial |= {"passes": False, "fault": fault} if fault else self._measure(choice, retriever)
        self._tried.append(trial)
        logger.info("%s", trial)
        self._report(tell_trial(trial))
        if not trial["passes"]:
            return None
        gate = self._conclude(trial)
        write_papers(self._backbone, folder, self._label, choice.precision, gate)
        return gate

    def tell_failure(self) -> str:
        """One sentence for each precision, none of which passed."""
        return (
            f"no precision keeps every language within {self._recipe.largest_loss} nDCG@10 of float32: "
            f"{'; '.join(map(tell_trial, self._tried))}. Allow more (largest_loss), store the token table in 8 or 32 "
            "bits (table_bits), or train on a rounded table"
        )

    def _measure_exact(self) -> Scores:
        # At the widths that are written, whatever the network says it was trained for: else one is judged by another.
        origin = replace(self._backbone.origin, max_tokens=self._label.max_tokens, dims=self._label.dims)
        return self._rank(TorchEncoder(replace(self._backbone, origin=origin)), "float32")

    def _measure(self, choice: Choice, retriever: Retriever) -> dict[str, Any]:
        if self._exact is None:
            return {"passes": True}
        scores = self._rank(OnnxEncoder(retriever, dim=max(retriever.dims)), choice.name)
        return describe_verdict(scores, judge(self._exact, scores, largest_loss=self._recipe.largest_loss))

    def _rank(self, encoder: Any, name: str) -> Scores:
        return measure(
            encoder, self._development, width=self._label.default_dim,
            report=lambda text: self._report(f"{name}: {text}"),
        )  # fmt: skip

    def _conclude(self, trial: Mapping[str, Any]) -> dict[str, Any]:
        gate = {"chosen": trial["name"], "bytes": trial["bytes"], "cosine": trial["cosine"], "tried": self._tried}
        if self._exact is None:
            return gate
        means = {language: round(mean, 4) for language, mean in self._exact.means.items()}
        rate = round(self._exact.passages_per_second, 1)
        return gate | {
            "ndcg10": trial["ndcg10"], "ndcg10_float32": round(self._exact.mean, 4),
            "by_language": trial["by_language"], "width": self._label.default_dim,
            "largest_loss": self._recipe.largest_loss, "sets": [each.name for each in self._development],
            "queries": {language: len(values) for language, values in self._exact.values.items()},
            "float32": {"ndcg10": round(self._exact.mean, 4), "by_language": means, "passages_per_second": rate},
        }  # fmt: skip


def compare(backbone: Backbone, retriever: Retriever, texts: Sequence[str]) -> Agreement:
    """Cosines between a retriever folder's vectors of passages and those of the network it was made from."""
    written = torch.from_numpy(OnnxEncoder(retriever, dim=max(retriever.dims)).encode_passages(list(texts)))
    tokens = _tokenize(backbone, [retriever.passage_prefix + text for text in texts], retriever.max_tokens)
    network = backbone.network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        rows = [network.embed(torch.tensor([ids], device=device))[0, : written.shape[1]].cpu() for ids in tokens]
    cosines = (torch.nn.functional.normalize(torch.stack(rows), dim=-1) * written).sum(1)
    return Agreement(mean=float(cosines.mean()), least=float(cosines.min()))


def _calibrate(
    backbone: Backbone, label: Label, precisions: Sequence[Precision], texts: Sequence[str]
) -> Loudness | None:
    """How loud activations are, if a precision asks for it."""
    if not any(each.products == "int8" and (each.smoothing or each.loud_units) for each in precisions):
        return None
    prefixed = [backbone.origin.passage_prefix + text for text in texts]
    return measure_loudness(backbone.network.eval(), _tokenize(backbone, prefixed, label.max_tokens))


def _find_fault(agreement: Agreement, precision: Precision, least_cosine: float | None) -> str:
    """What is wrong with the vectors, "" if nothing."""
    logger.info("Agreement with the network: mean cosine %.4f, least %.4f", agreement.mean, agreement.least)
    wanted = least_cosine or (EXACT_COSINE if precision.is_exact else ROUNDED_COSINE)
    if agreement.mean >= wanted:  # a NaN is not
        return ""
    return (
        f"the exported retriever does not agree with its network: mean cosine {agreement.mean:.5f}, least "
        f"{agreement.least:.5f}, wanted {wanted}"
    )


def tell_trial(trial: Mapping[str, Any]) -> str:
    """A precision that was tried, in one line."""
    told = f"{trial['name']}, {trial['bytes'] / 1e6:.0f} MB, mean cosine {trial['cosine']:.4f}"
    if "ndcg10" not in trial:
        return told + ("" if trial["passes"] else " (not ranked)")
    failed = f" (fails: {', '.join(each or 'unknown language' for each in trial['failed'])})" if trial["failed"] else ""
    return (
        f"{told}, nDCG@10 {trial['ndcg10']:.4f}, largest change {trial['worst_change'][0]:+.4f} in "
        f"{trial['worst'] or 'unknown language'}{failed}"
    )


def _tokenize(backbone: Backbone, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_file(str(backbone.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return [encoding.ids or [backbone.origin.pad_token_id] for encoding in tokenizer.encode_batch(list(texts))]
