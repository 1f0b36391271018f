"""Recipes and what is said of wrong ones."""

from dataclasses import fields
from pathlib import Path
from types import MappingProxyType

import pytest

from drama_app.errors import UsageError
from trainer import recipe_limits
from trainer.input_checks import _check_recipe
from trainer.outline import check_shape
from trainer.recipe import (
    AugmentRecipe,
    CorpusRecipe,
    EvaluateRecipe,
    ExportRecipe,
    MineRecipe,
    PruneRecipe,
    Recipe,
    TrainRecipe,
    read_recipe,
    save_recipe,
)

SHIPPED = sorted((Path(__file__).parents[2] / "assets" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_survive_saving(path, tmp_path):
    """Each shipped recipe is read, and reads the same once saved."""
    recipe = read_recipe(path)
    save_recipe(recipe, tmp_path / "run" / "recipe.toml")

    assert recipe.name == path.stem
    assert read_recipe(tmp_path / "run" / "recipe.toml") == recipe


def test_five_recipes_are_shipped():
    """Two that begin with the present retriever, two with an LLM (a laptop, a GPU), one for tests."""
    assert [path.stem for path in SHIPPED] == ["adapt", "cpu", "gpu", "half", "tiny"]


def test_what_a_recipe_leaves_out_has_its_default(tmp_path):
    """An empty file is the default recipe, and whole numbers serve as numbers."""
    path = tmp_path / "mine.toml"
    path.write_text("")
    assert read_recipe(path) == Recipe(name="mine")
    path.write_text('[train]\nclip = 2\nmixture = {weak = 1, "other kind" = 0.5}\n')
    assert read_recipe(path).train.clip == 2.0
    assert dict(read_recipe(path).train.mixture) == {"weak": 1.0, "other kind": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train", "is no TOML"),
        ("[trian]\nsteps = 1", r"'trian' is not known here; known: name, backbone"),
        ("[train]\nstep = 1", r"r.toml: \[train\]: 'step' is not known here"),
        ("[train]\nsteps = 'x'", r"r.toml: \[train\]: 'steps' must be a whole number, not 'x'"),
        ("[train]\nsteps = true", r"'steps' must be a whole number, not True"),
        ("[train]\nhead = 384", r"\[train\]: 'head' needs a teacher"),
        ("[train]\nsteps = 0", r"\[train\]: 'steps' must be 1 or more"),
        ("[train]\nwidths = 4", r"'widths' must be a list, not 4"),
        ("[train]\nwidths = ['a']", r"each of .*'widths' must be a whole number"),
        ("[train]\nwidths = [4, 2]\nwidth_weights = [1]", "'width_weights' needs one weight"),
        ("[train]\nscore_others = 100", "'score_others' needs a 'score_weight'"),
        ("[train]\nlearn_codes = true", "'learn_codes' needs 'freeze_tokens'"),
        ("[train]\nlearn_codes = true\nfreeze_tokens = true", "'learn_codes' in .train. needs 'table_bits' = 2"),
        (
            "[train]\nlearn_codes = true\nfreeze_tokens = true\nstart_share = 0.5",
            "'learn_codes' cannot be averaged with the start",
        ),
        ("[train]\nmixture = {weak = 'x'}", "'mixture', 'weak' must be a number"),
        ("[train]\nmixture = {weak = -1}", r"\[train\]: 'mixture' must be 0 or more, each"),
        ("[train]\nwidths = [4, 2]\nwidth_weights = [0, 0]", r"\[train\]: 'width_weights' must not all be 0"),
        ("[train]\nwidths = [4, 2]\nwidth_weights = [2, -1]", "'width_weights' must be 0 or more, each"),
        ("[train]\nclip = -1", "'clip' must be above 0"),
        ("[train]\nhard_negatives = -1", "'hard_negatives' must be 0 or more"),
        ("[train]\nquery_tokens = 1", "'query_tokens' must be 3 or more"),
        ("[train]\nwarmup = -3", "'warmup' must be 0 or more"),
        ("[train]\ntoken_passes = -1", "'token_passes' must be 0 or more"),
        ("[train]\nlearning_rate = inf", "'learning_rate' must be a finite number"),
        ("[train]\nreverse = -1", "'reverse' must be 0 or more"),
        ("[train]\nspread = nan", "'spread' must be a finite number"),
        ("[train]\nkeep_tokens = -1", "'keep_tokens' must be 0 or more"),
        ("[mine]\nblock = 0", r"\[mine\]: 'block' must be 1 or more"),
        ("[mine]\ndepth = -5", "'depth' must be 0 or more"),
        ("[mine]\nnegatives = -2", "'negatives' must be 0 or more"),
        ("[corpus]\npassage_tokens = 0", r"\[corpus\]: 'passage_tokens' must be 1 or more"),
        ("[corpus]\nnear_duplicate = -1", "'near_duplicate' must be from 0 to 1"),
        ("[corpus]\nmost_characters = 0", "'most_characters' must be 1 or more"),
        ("[augment]\ntemperature = nan", r"\[augment\]: 'temperature' must be a finite number"),
        ("[augment]\ntop_p = 7", "'top_p' must be from 0 to 1"),
        ("[augment]\nmost_tokens = 0", "'most_tokens' must be 1 or more"),
        ("[augment]\ncrops = -5", "'crops' must be 0 or more"),
        ("[evaluate]\nqueries = 0", r"\[evaluate\]: 'queries' must be 1 or more"),
        ("[evaluate]\nlimit_queries = -1", "'limit_queries' must be 0 or more"),
        ("train = 3", "'train' must be a table"),
    ],
)
def test_wrong_recipe_is_refused_by_its_key(tmp_path, text, message):
    """The sentence names file, section and key."""
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recipe(path)


@pytest.mark.parametrize(
    ("train", "export", "measured", "message"),
    [
        ((64, 32), (128,), (), r"\[export\] 'widths': nothing is trained beyond 64, so 128"),
        ((64, 32), (), (16,), r"\[evaluate\] 'widths': 16 is not offered .* only 64, 32"),
        ((), (), (32,), r"\[evaluate\] 'widths': 32 is not offered .* only 128"),
        ((64, 32), (64, 16), (16,), ""),
        ((), (128, 16), (), ""),
    ],
)
def test_widths_of_later_stages_come_from_earlier_ones(train, export, measured, message):
    """What is not trained is not offered and what is not offered not measured: told before a run, not after hours."""
    pytest.importorskip("torch")
    from trainer.encoder import EncoderConfig

    config = EncoderConfig(
        family="llama", vocab_size=80, hidden_size=128, layers=2, heads=2, kv_heads=2, head_dim=64, ffn_size=8
    )
    recipe = Recipe(
        prune=PruneRecipe(method="none"), train=TrainRecipe(widths=train), export=ExportRecipe(widths=export),
        evaluate=EvaluateRecipe(widths=measured),
    )  # fmt: skip
    if not message:
        check_shape(config, recipe)
        return
    with pytest.raises(UsageError, match=message):
        check_shape(config, recipe)


def test_limits_name_only_keys_that_there_are():
    """A key that is renamed takes its limit along."""
    for stage in (CorpusRecipe, AugmentRecipe, MineRecipe, PruneRecipe, TrainRecipe, EvaluateRecipe):
        known = {each.name for each in fields(stage)}
        named = {key for keys in recipe_limits._LEAST.get(stage.__name__, {}).values() for key in keys.split()}
        assert named | set(recipe_limits._LIMITS.get(stage.__name__, {})) <= known


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": TrainRecipe(mixture=MappingProxyType({"questions": 1.0}))}, r"\[train\] 'mixture': 'questions' is"),
        ({"corpus": CorpusRecipe(languages=("english",))}, "'english': is no code of a language"),
        ({"corpus": CorpusRecipe(languages=("de", "pt-br", "zh-hans", "gsw"))}, ""),
        (
            {
                "train": TrainRecipe(
                    mixture=MappingProxyType(dict.fromkeys(("rerank", "triplet", "weak", "claim"), 1.0))
                )
            },
            "",
        ),
    ],
)
def test_kinds_and_languages_are_known_ones(changes, message):
    """A kind or a language that no query can have is told before a run, and what later stages make is known."""
    if message:
        with pytest.raises(UsageError, match=message):
            _check_recipe(Recipe(**changes))
    else:
        _check_recipe(Recipe(**changes))


def test_missing_recipe_is_named(tmp_path):
    """A recipe that is not there is an error in a sentence."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
