"""What an evaluation looks like to a person: tables in Markdown. It measures nothing and writes no file."""

from collections.abc import Callable, Iterable, Sequence

from drama_app.output import clean_for_terminal
from trainer.compare import Column, Evaluation
from trainer.evaluate import BM25
from trainer.metrics import Interval
from trainer.words import DESCRIPTION


def format_tables(evaluation: Evaluation) -> str:
    """Scores by set and language, differences with their intervals, and what narrower vectors lose."""
    firsts = {(each.name, each.widths[0]) for each in evaluation.systems}
    columns = [each for each in evaluation.columns if each.system == BM25 or each[:2] in firsts]
    names = _name_columns(evaluation, columns)
    pairs = list(evaluation.pairs())
    parts = [
        f"nDCG@10, mean over queries, 95 % interval. The baseline is {DESCRIPTION}.",
        _format_sets(evaluation, columns, names),
    ]
    if len(evaluation.languages) > 1:
        parts += ["By the language of the query (> of the passages):", _format_languages(evaluation, columns, names)]
    if rivals := [(column, base) for column, base in pairs if column.system != base.system]:
        parts += [
            "Differences, paired by query; bold where the interval leaves out zero:",
            _format_differences(evaluation, rivals),
        ]
    if narrower := [(column, base) for column, base in pairs if column.system == base.system]:
        parts += ["Narrower vectors, mean over the sets:", _format_widths(evaluation, narrower)]
    return "\n\n".join(parts) + "\n"


def _name_columns(evaluation: Evaluation, columns: Sequence[Column]) -> dict[Column, str]:
    """Short heads: a system is named only where there are several."""
    alone = len(evaluation.systems) == 1
    shared = {BM25: BM25, "keywords": "keywords"}
    return {each: shared.get(each.mode) or (each.mode if alone else f"{each.mode}: {each.system}") for each in columns}


def _format_sets(evaluation: Evaluation, columns: Sequence[Column], names: dict[Column, str]) -> str:
    lines = _begin(("set", "language", "queries", "passages", *names.values()), texts=2)
    for each in evaluation.sets:
        rows = {column: next(row for row in evaluation.of(column) if row.name == each) for column in columns}
        last = rows[columns[-1]]
        language = last.languages[0] if len(set(last.languages)) == 1 else f"{len(set(last.languages))} languages"
        cells = [_show(row.ndcg10) for row in rows.values()]
        lines.append(_join([_escape(each), _escape(language), str(last.queries), str(last.passages), *cells]))
    lines.append(_join(["mean", "", "", "", *(_show(evaluation.score(column)) for column in columns)]))
    return "\n".join(lines)


def _format_languages(evaluation: Evaluation, columns: Sequence[Column], names: dict[Column, str]) -> str:
    lines = _begin(("language", "queries", *names.values()), texts=1)
    for language in evaluation.languages:
        count = sum(report.languages.count(language) for report in evaluation.of(columns[0]))
        scores = [_show(evaluation.score(column, language=language)) for column in columns]
        lines.append(_join([_escape(language) or "not known", str(count), *scores]))
    return "\n".join(lines)


def _format_differences(evaluation: Evaluation, pairs: Sequence[tuple[Column, Column]]) -> str:
    own = {each.name: each.widths[0] for each in evaluation.systems}
    heads = (
        f"{column.mode}{'' if column.width == own[column.system] else f' at {column.width}'}: "
        f"{column.system} - {base.system}"
        for column, base in pairs
    )
    lines = _begin(("set", *heads), texts=1)

    def add(head: str, measure: Callable[[Column, Column], Interval]) -> None:
        lines.append(_join([head, *(_show_difference(measure(*pair)) for pair in pairs)]))

    for each in evaluation.sets:
        add(_escape(each), lambda column, base, name=each: evaluation.difference(column, base, name=name))  # type: ignore[misc]
    add("mean", evaluation.difference)
    return "\n".join(lines)


def _format_widths(evaluation: Evaluation, pairs: Sequence[tuple[Column, Column]]) -> str:
    lines = _begin(("retriever", "mode", "width", "nDCG@10", "difference to the full width"), texts=2)
    shown: set[Column] = set()
    order = [each.name for each in evaluation.systems]
    for column, base in sorted(pairs, key=lambda pair: (order.index(pair[0].system), pair[0].mode != "meaning")):
        if base not in shown:
            shown.add(base)
            lines.append(_join([_escape(base.system), base.mode, str(base.width), _show(evaluation.score(base)), ""]))
        change = _show_difference(evaluation.difference(column, base))
        lines.append(
            _join([_escape(column.system), column.mode, str(column.width), _show(evaluation.score(column)), change])
        )
    return "\n".join(lines)


def _show(interval: Interval) -> str:
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _show_difference(interval: Interval) -> str:
    shown = f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
    return f"**{shown}**" if interval.low > 0 or interval.high < 0 else shown


def _begin(heads: Sequence[str], *, texts: int) -> list[str]:
    """The head of a table whose first columns hold texts and whose others hold numbers."""
    rules = ["---" if place < texts else "---:" for place in range(len(heads))]
    return [_join(map(_escape, heads)), _join(rules)]


def _join(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    return " ".join(clean_for_terminal(text).replace("|", "\\|").split())
