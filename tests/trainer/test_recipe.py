"""Recipes and what is said of wrong ones."""

from pathlib import Path

import pytest

from drama_app.errors import UsageError
from trainer.outline import check_shape
from trainer.recipe import EvaluateRecipe, ExportRecipe, PruneRecipe, Recipe, TrainRecipe, read_recipe, save_recipe

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
        ("[train]\nmixture = {weak = 'x'}", "'mixture', 'weak' must be a number"),
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


def test_missing_recipe_is_named(tmp_path):
    """A recipe that is not there is an error in a sentence."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
