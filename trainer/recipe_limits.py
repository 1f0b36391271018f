"""Owns the limits of a recipe's numbers: what no stage could use is told where a recipe is read, not hours later.

What depends on the network, the texts or a teacher is checked where these are known.
"""

import math

_ABOVE_ZERO = math.ulp(0.0)
"""The least number that is more than 0."""
_SHARE = (0.0, 1.0)

_LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "CorpusRecipe": {"near_duplicate": _SHARE},
    "AugmentRecipe": {"top_p": _SHARE},
    "TrainRecipe": {"same_language": _SHARE, "final_rate": _SHARE},
}
"""Least and greatest value by section and key."""
_LEAST: dict[str, dict[float, str]] = {
    "CorpusRecipe": {0: "least_characters most_a_language", 1: "most_characters passage_tokens"},
    "AugmentRecipe": {0: "queries crops temperature reranked triplets", 1: "most_tokens"},
    "MineRecipe": {0: "positives negatives round_trip depth", 1: "first_negative block"},
    "PruneRecipe": {_ABOVE_ZERO: "learning_rate mask_learning_rate"},
    "TrainRecipe": {
        _ABOVE_ZERO: "temperature score_temperature learning_rate token_rate clip",
        0: "hard_negatives reverse warmup weight_decay neighbours language_exponent keep_tokens head token_passes "
        "clauses layer_scale embedding_weight row_weight score_weight score_others spread keep_checkpoints "
        "must_learn_by",
        1: "steps batch chunk_tokens save_every average",
        3: "query_tokens passage_tokens",  # most networks put a token before a text and one behind it
    },
    "EvaluateRecipe": {0: "limit_queries", 1: "queries"},
}
"""Keys by section and the least value that they may have; there is no greatest one."""


def find_fault(section: str, values: dict[str, object]) -> str:
    """What is wrong with a number of a section, by the name of its class; "" if nothing is."""
    limits = dict(_LIMITS.get(section, {}))
    for least, keys in _LEAST.get(section, {}).items():
        limits |= dict.fromkeys(keys.split(), (least, math.inf))
    for key, value in values.items():
        if not isinstance(value, int | float):
            continue
        least, most = limits.get(key, (-math.inf, math.inf))
        if isinstance(value, float) and not math.isfinite(value):
            return f"'{key}' must be a finite number"
        if not least <= value <= most:
            return f"'{key}' must be {_describe(least, most)}"
    return ""


def find_fault_of_weights(key: str, weights: tuple[float, ...]) -> str:
    """What is wrong with numbers that share something out, "" if nothing is; none at all are for each key to judge."""
    if any(not math.isfinite(each) or each < 0 for each in weights):
        return f"'{key}' must be 0 or more, each"
    return f"'{key}' must not all be 0" if weights and not any(weights) else ""


def _describe(least: float, most: float) -> str:
    if math.isfinite(most):
        return f"from {least:g} to {most:g}"
    return "above 0" if least == _ABOVE_ZERO else f"{least:g} or more"
