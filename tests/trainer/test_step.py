"""Gradients in chunks against gradients at once."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from accelerate import Accelerator  # noqa: E402

from tests.trainer.tiny_training import RECIPE, load_world, make_network  # noqa: E402
from trainer.train.data import Sampler, TeacherVectors  # noqa: E402
from trainer.train.objective import Targets, backward_loss, prepare_targets  # noqa: E402
from trainer.train.step import Passes, Workers, accumulate_gradients, pad_rows, plan_chunks  # noqa: E402


class Jittery(torch.nn.Module):
    """A network with dropout, which must fall alike in both passes."""

    def __init__(self):
        super().__init__()
        self.network = make_network().train()
        self.passes = 0

    def embed(self, input_ids, attention_mask=None):
        self.passes += 1
        return torch.nn.functional.dropout(self.network.embed(input_ids, attention_mask), 0.5)


def _measure(world, encoder, *, chunk_tokens, keep_tokens, recipe=RECIPE):
    """Loss and gradients of one batch."""
    teacher = TeacherVectors(queries=np.eye(120, 24, dtype=np.float16), passages=np.ones((160, 24), dtype=np.float16))
    recipe = replace(recipe, embedding_weight=0.5, score_weight=0.5, batch=24)
    data = load_world(world, recipe, teacher=teacher)
    batch = Sampler(data, recipe).draw(1)
    torch.manual_seed(3)
    project_up = torch.nn.Linear(16, 24)
    rows = [data.queries[row] for row in batch.groups] + [data.passages[row] for row in batch.passages]
    workers = Workers(Accelerator(cpu=True))
    targets = prepare_targets(batch, teacher, workers.device)
    torch.manual_seed(8)
    passes = Passes(pad=0, chunk_tokens=chunk_tokens, keep_tokens=keep_tokens, width=16)
    sums, _ = accumulate_gradients(
        encoder, rows, lambda leaf: backward_loss(leaf, targets, recipe, slice(0, 24), project_up), workers, passes
    )
    parameters = [*encoder.parameters(), *project_up.parameters()]
    return sums, [each.grad.clone() for each in parameters], (rows, targets, recipe, project_up)


@pytest.mark.parametrize(("chunk_tokens", "keep_tokens"), [(1, 0), (60, 0), (60, 300), (10**6, 0), (10**6, 10**6)])
def test_loss_and_gradients_are_those_of_one_pass(world, chunk_tokens, keep_tokens):
    """Chunks of any size, traces kept or not, give the plain loss and its gradients to 1e-5."""
    sums, gradients, (rows, targets, recipe, project_up) = _measure(
        world, make_network().train(), chunk_tokens=chunk_tokens, keep_tokens=keep_tokens
    )
    plain = make_network().train()
    project_up.zero_grad()
    ids, mask = pad_rows(rows, 0, torch.device("cpu"))
    expected = backward_loss(plain.embed(ids, mask), targets, recipe, slice(0, 24), project_up)

    assert torch.allclose(sums, expected, atol=1e-5)
    for parameter, gradient in zip([*plain.parameters(), *project_up.parameters()], gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-5)
    assert max(gradient.abs().max() for gradient in gradients) > 1e-3


def test_dropout_falls_alike_in_both_passes(world):
    """With dropout, recomputed chunks have the gradients of kept ones."""
    recomputed, kept = Jittery(), Jittery()
    first = _measure(world, recomputed, chunk_tokens=100, keep_tokens=0)
    second = _measure(world, kept, chunk_tokens=100, keep_tokens=10**6)

    assert recomputed.passes == 2 * kept.passes
    assert torch.equal(first[0], second[0])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(first[1], second[1], strict=True))


def test_blocks_of_queries_add_up(world, monkeypatch):
    """The loss in blocks of seven queries is that in one block."""
    whole = _measure(world, make_network(), chunk_tokens=500, keep_tokens=0)
    monkeypatch.setattr("trainer.train.objective._BLOCK", 7)
    parts = _measure(world, make_network(), chunk_tokens=500, keep_tokens=0)

    assert torch.allclose(whole[0], parts[0], atol=1e-6)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(whole[1], parts[1], strict=True))


def test_nothing_rests_on_what_is_not_shipped(world):
    """Dimensions beyond the widest prefix take no part in any of the losses."""
    recipe = replace(RECIPE, widths=(8, 4), embedding_weight=0.5, score_weight=0.5, spread=0.1, batch=24)
    teacher = TeacherVectors(queries=np.eye(120, 24, dtype=np.float16), passages=np.ones((160, 24), dtype=np.float16))
    data = load_world(world, recipe, teacher=teacher)
    batch = Sampler(data, recipe).draw(1)
    targets = prepare_targets(batch, teacher, torch.device("cpu"))
    embeddings = torch.randn(24 + len(batch.passages), 16, requires_grad=True)
    backward_loss(embeddings, targets, recipe, slice(0, 24), torch.nn.Linear(8, 24))

    assert embeddings.grad[:, 8:].abs().max() == 0 < embeddings.grad[:, :8].abs().max()


def test_scores_are_matched_on_passages_that_no_network_reads(world):
    """With `score_others` the teacher's own embeddings have no loss, others have one, whatever the batch's passages."""
    vectors = torch.nn.functional.normalize(torch.randn(280, 16, generator=torch.Generator().manual_seed(7)), dim=1)
    teacher = TeacherVectors(queries=vectors[:120].numpy(), passages=vectors[120:].numpy())
    recipe = replace(RECIPE, widths=(), score_weight=2.0, score_others=90, spread=0.0, batch=24)
    data = load_world(world, recipe, teacher=teacher)
    batch = Sampler(data, recipe).draw(1)
    targets = prepare_targets(batch, teacher, torch.device("cpu"), others=90)
    assert 50 < len(targets.others) < 90, "drawn from all passages, each once"

    def measure(embeddings):
        total, contrastive, _ = backward_loss(embeddings, targets, recipe, slice(0, 24), None)
        return float(total - contrastive)

    taught = torch.cat([targets.teacher_queries, targets.teacher_passages]).requires_grad_()
    assert measure(taught) == pytest.approx(0, abs=1e-6)
    turned = taught.detach().roll(1, dims=1).requires_grad_()
    assert measure(turned) > 0.1
    queries_alone = torch.cat([targets.teacher_queries, turned.detach()[24:]]).requires_grad_()
    assert 0.1 < measure(queries_alone) < measure(turned), "positives learn scores as queries do"


def test_chunks_hold_neighbours_in_length():
    """Every text is in one chunk, longest first, and no chunk of several texts exceeds its tokens with padding."""
    lengths = [int(each) for each in np.random.default_rng(2).integers(1, 60, 200)]
    chunks = plan_chunks(lengths, 100)

    assert sorted(place for chunk in chunks for place in chunk) == list(range(200))
    assert all(len(chunk) == 1 or max(lengths[at] for at in chunk) * len(chunk) <= 100 for chunk in chunks)
    assert lengths[chunks[0][0]] == max(lengths)
    padded = sum(max(lengths[at] for at in chunk) * len(chunk) for chunk in chunks)
    assert padded < 1.1 * sum(lengths)
    assert plan_chunks([500], 100) == [[0]]


def test_a_passage_is_not_driven_from_another_query_that_it_answers():
    """Backwards, of two queries with one passage neither is a negative of the other's: as if each stood alone."""
    maker = torch.Generator().manual_seed(5)
    embeddings = torch.randn(5, 8, generator=maker, requires_grad=True)  # queries 0, 1, 2; passages 0, 1
    positives = torch.tensor([0, 0, 1])
    competes = torch.ones(3, 2, dtype=torch.bool)
    recipe = replace(RECIPE, reverse=1.0, widths=(), batch=3, temperature=0.1, spread=0.0, margin=0.0)
    backward_loss(embeddings, Targets(positives=positives, competes=competes), recipe, slice(0, 3), None)

    plain = embeddings.detach().clone().requires_grad_()
    cosines = torch.nn.functional.normalize(plain, dim=-1)
    scores = cosines[:3] @ cosines[3:].T / 0.1
    forward = torch.nn.functional.cross_entropy(scores, positives, reduction="sum")
    backward = sum(
        torch.logsumexp(torch.stack([scores[query, passage], *(scores[each, passage] for each in others)]), 0)
        - scores[query, passage]
        for query, passage, others in ((0, 0, [2]), (1, 0, [2]), (2, 1, [0, 1]))
    )
    ((forward + backward) / 3).backward()
    assert torch.allclose(embeddings.grad, plain.grad, atol=1e-6)
