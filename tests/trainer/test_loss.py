"""Losses against slow, plain sums in double precision."""

import math

import pytest

torch = pytest.importorskip("torch")

from trainer.train.loss import (  # noqa: E402
    contrastive_losses,
    embedding_losses,
    find_competitors,
    score_losses,
    spread_losses,
)

# Query 0 and 3 have one text; passage 5 is a copy of 1, 6 a copy of 4; query 4 is answered by passage id 12, too.
QUERY_IDS = [7, 8, 9, 7, 6]
PASSAGE_IDS = [10, 11, 12, 13, 14, 11, 14]
POSITIVES = [0, 1, 5, 3, 4]
ANSWERS = [[-1, -1], [-1, -1], [-1, -1], [-1, -1], [12, -1]]


@pytest.fixture
def embeddings():
    """Queries [5, 8] and passages [7, 8], copies alike."""
    maker = torch.Generator().manual_seed(3)
    queries = torch.randn(5, 8, generator=maker, dtype=torch.float64)
    passages = torch.randn(7, 8, generator=maker, dtype=torch.float64)
    passages[5], passages[6] = passages[1], passages[4]
    return queries, passages


def _competitors():
    return find_competitors(*map(torch.tensor, (QUERY_IDS, PASSAGE_IDS, POSITIVES, ANSWERS)))


def _cosine(one, other):
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def _reference(queries, passages, width, temperature, margin):
    """InfoNCE by the words of the rules, one query after another."""
    losses = []
    for i, query in enumerate(queries):
        own, counted, total = POSITIVES[i], set(), 0.0
        answers = {PASSAGE_IDS[POSITIVES[k]] for k in range(len(queries)) if QUERY_IDS[k] == QUERY_IDS[i]}
        answers |= set(ANSWERS[i])
        for j, passage in enumerate(passages):
            twice = PASSAGE_IDS[j] in counted
            counted.add(PASSAGE_IDS[j])
            missed = margin > 0 and _cosine(query, passage) > _cosine(query, passages[own]) + margin
            if j == own or not (twice or PASSAGE_IDS[j] in answers or missed):
                total += math.exp(_cosine(query[:width], passage[:width]) / temperature)
        losses.append(math.log(total) - _cosine(query[:width], passages[own][:width]) / temperature)
    return losses


def test_each_rule_leaves_out_what_it_should():
    """Copies, positives of the same question, and known answers do not compete; the own positive does."""
    assert _competitors().int().tolist() == [
        [1, 1, 1, 0, 1, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 0, 1, 1, 1, 1, 0],
        [0, 1, 1, 1, 1, 0, 0],
        [1, 1, 0, 1, 1, 0, 0],
    ]


@pytest.mark.parametrize("margin", [0.0, 0.1])
@pytest.mark.parametrize("widths", [(8,), (8, 4, 2)])
def test_contrastive_loss_equals_the_plain_sum(embeddings, widths, margin):
    """Every width and mask gives what a loop over pairs gives, to 1e-12."""
    weights = tuple(1.0 + place for place in range(len(widths)))
    losses = contrastive_losses(
        *embeddings, torch.tensor(POSITIVES), _competitors(), temperature=0.2, widths=widths, weights=weights,
        margin=margin,
    )  # fmt: skip
    plain = [[row.tolist() for row in side] for side in embeddings]
    by_width = [_reference(*plain, width, 0.2, margin) for width in widths]
    for place, loss in enumerate(losses.tolist()):
        expected = sum(weight * values[place] for weight, values in zip(weights, by_width, strict=True)) / sum(weights)
        assert loss == pytest.approx(expected, abs=1e-12)


def test_margin_takes_something_out(embeddings):
    """The margin rule is no empty rule in this data: it lowers the loss."""
    given = (*embeddings, torch.tensor(POSITIVES), _competitors())
    assert (
        contrastive_losses(*given, temperature=0.2, margin=0.1).sum()
        < contrastive_losses(*given, temperature=0.2).sum()
    )


def test_gradients_are_those_of_finite_differences(embeddings):
    """Autograd agrees with finite differences, through widths and masks."""
    queries, passages = (side.clone().requires_grad_() for side in embeddings)
    assert torch.autograd.gradcheck(
        lambda q, p: contrastive_losses(q, p, torch.tensor(POSITIVES), _competitors(), temperature=0.2, widths=(8, 3)),
        (queries, passages),
    )
    teacher = (torch.randn(5, 6, dtype=torch.float64), torch.randn(7, 6, dtype=torch.float64))
    assert torch.autograd.gradcheck(
        lambda q, p: score_losses((q, p), teacher, _competitors(), temperature=0.3), (queries, passages)
    )


def test_blocks_add_up(embeddings):
    """Two blocks of queries give the values of one."""
    queries, passages = embeddings
    positives, competes = torch.tensor(POSITIVES), _competitors()
    whole = contrastive_losses(queries, passages, positives, competes, temperature=0.1)
    parts = [
        contrastive_losses(queries[rows], passages, positives[rows], competes[rows], temperature=0.1)
        for rows in (slice(0, 2), slice(2, 5))
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-12)  # a product of other shape rounds otherwise


def test_score_matching_is_the_divergence(embeddings):
    """KL over competing passages by hand; zero where student and teacher agree."""
    queries, passages = embeddings
    maker = torch.Generator().manual_seed(1)
    teacher = [torch.randn(count, 6, generator=maker, dtype=torch.float64) for count in (5, 7)]
    competes = _competitors()
    losses = score_losses((queries, passages), tuple(teacher), competes, temperature=0.3)
    for i in range(5):
        places = [j for j in range(7) if competes[i, j]]
        mine, wanted = (
            [math.exp(_cosine(side[0][i].tolist(), side[1][j].tolist()) / 0.3) for j in places]
            for side in ((queries, passages), teacher)
        )
        pairs = [(m / sum(mine), w / sum(wanted)) for m, w in zip(mine, wanted, strict=True)]
        assert losses[i].item() == pytest.approx(sum(w * math.log(w / m) for m, w in pairs), abs=1e-12)
    same = score_losses((queries, passages), (queries, passages), competes, temperature=0.3)
    assert same.abs().max() < 1e-12
    both = score_losses(
        (queries, passages), tuple(teacher), competes, temperature=0.3, widths=(8, 3), weights=(3.0, 1.0)
    )
    short = score_losses((queries[:, :3], passages[:, :3]), tuple(teacher), competes, temperature=0.3)
    assert torch.allclose(both, 0.75 * losses + 0.25 * short)


def test_embedding_matching_projects_the_student_up():
    """A student that is the teacher behind a linear map costs nothing with the map's inverse, else up to 2."""
    torch.manual_seed(0)
    teacher = torch.nn.functional.normalize(torch.randn(4, 3), dim=-1)
    up = torch.nn.Linear(2, 3, bias=False)
    student = torch.randn(4, 2)
    exact = embedding_losses(student, up(torch.nn.functional.normalize(student, dim=-1)), up)
    assert exact.abs().max() < 1e-6
    opposite = embedding_losses(student, -up(torch.nn.functional.normalize(student, dim=-1)), up)
    assert opposite.tolist() == pytest.approx([2.0] * 4, abs=1e-6)
    assert embedding_losses(student, teacher, up).shape == (4,)


def test_spread_counts_squared_cosines_of_others():
    """Orthogonal rows cost nothing, equal ones 1; a row is not compared with itself."""
    assert spread_losses(torch.eye(3), torch.eye(3), torch.arange(3)).tolist() == [0.0, 0.0, 0.0]
    assert spread_losses(torch.ones(2, 3), torch.ones(4, 3), torch.tensor([2, 3])).tolist() == pytest.approx([1, 1])
