"""A checkpoint is whole or refused, and a run goes on from the last whole one."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from drama_app.errors import RetrieverError  # noqa: E402
from trainer.bidirectional import BidirectionalConfig  # noqa: E402
from trainer.checkpoint import (  # noqa: E402
    MARKER,
    Checkpoint,
    Origin,
    find_latest,
    load_network,
    load_state,
    open_checkpoint,
    place_step,
    remove_old,
    save_checkpoint,
)
from trainer.encoder import EncoderConfig  # noqa: E402
from trainer.network import Network, build_network  # noqa: E402

ORIGIN = Origin(name="tiny", licence="MIT", notices=("Made for a test.",), query_prefix="Query: ", dims=(16, 8))


def make_network(seed: int = 0) -> Network:
    config = EncoderConfig(
        family="gemma3",
        vocab_size=30,
        hidden_size=16,
        layers=2,
        heads=2,
        kv_heads=1,
        head_dim=8,
        ffn_size=20,
        sliding=(True, False),
    )
    return build_network(config, seed=seed)


def save(folder: Path, step: int = 0, **options: object) -> Checkpoint:
    tokenizer = folder.parent / "given.json"
    tokenizer.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.write_text("{}")
    return save_checkpoint(folder, make_network(), tokenizer=tokenizer, origin=ORIGIN, step=step, **options)  # type: ignore[arg-type]


def test_everything_comes_back(tmp_path: Path) -> None:
    """Weights, origin, recipe, step, metrics and training state read as they were written."""
    moments = {"moment": torch.arange(3.0), "rate": 0.5}
    save(tmp_path / "a", 7, recipe={"batch": 64}, metrics={"loss": 1.5}, state=moments)
    checkpoint = open_checkpoint(tmp_path / "a")
    assert (checkpoint.step, checkpoint.recipe, checkpoint.metrics) == (7, {"batch": 64}, {"loss": 1.5})
    assert checkpoint.origin == ORIGIN
    assert checkpoint.config == make_network().config
    assert checkpoint.tokenizer.read_text() == "{}"
    loaded, written = load_network(checkpoint).state_dict(), make_network().state_dict()
    assert all(torch.equal(loaded[name], written[name]) for name in written)
    state = load_state(checkpoint)
    assert state is not None
    assert torch.equal(state["moment"], moments["moment"])
    assert load_state(save(tmp_path / "b")) is None


def test_half_bodies_are_small_and_need_a_table(tmp_path: Path) -> None:
    """A body in float16 without its table takes a fraction of the room, and opens with the table given."""
    whole, small = save(tmp_path / "whole"), save(tmp_path / "small", half=True, with_table=False)
    sizes = [(one.folder / "model.safetensors").stat().st_size for one in (whole, small)]
    assert sizes[1] < 0.6 * sizes[0]
    with pytest.raises(RetrieverError, match="token table"):
        load_network(small)
    network = make_network()
    loaded = load_network(small, table=network.embed_tokens.weight.detach())
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        torch.testing.assert_close(loaded.embed(ids), network.embed(ids), atol=1e-2, rtol=0)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "meta.json"])
def test_half_checkpoints_are_refused(tmp_path: Path, file: str) -> None:
    """A file that is missing or cut short, or a marker that never came, refuses the checkpoint by name."""
    folder = save(tmp_path / "a").folder
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-1])
    with pytest.raises(RetrieverError, match=rf"{file}: .* bytes long"):
        open_checkpoint(folder)
    (folder / file).unlink()
    with pytest.raises(RetrieverError, match=f"{file}: .* missing"):
        open_checkpoint(folder)
    (folder / MARKER).unlink()
    with pytest.raises(RetrieverError, match="not finished"):
        open_checkpoint(folder)


def test_a_crash_while_replacing_leaves_no_half_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overwriting a checkpoint takes its marker away first."""
    folder = save(tmp_path / "a").folder

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", crash)
    with pytest.raises(KeyboardInterrupt):
        save(folder)
    with pytest.raises(RetrieverError, match="not finished"):
        open_checkpoint(folder)


def test_state_with_code_is_refused(tmp_path: Path) -> None:
    """A training state that holds an object of its own class is not opened."""
    checkpoint = save(tmp_path / "a", state={"path": Path("x")})
    with pytest.raises(RetrieverError, match="cannot be read"):
        load_state(checkpoint)


def test_runs_go_on_from_the_last_whole_step(tmp_path: Path) -> None:
    """The latest complete step is found past a half one; old ones go, the last stay."""
    assert find_latest(tmp_path / "none") is None
    for step in (5, 10, 200):
        save(place_step(tmp_path, step), step)
    (place_step(tmp_path, 200) / MARKER).unlink()
    latest = find_latest(tmp_path)
    assert latest is not None
    assert latest.step == 10
    remove_old(tmp_path, keep=1)
    assert {each.name for each in tmp_path.glob("step-*")} == {"step-0000010", "step-0000200"}


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    """Weights that do not fit the configuration are named."""
    checkpoint = save(tmp_path / "a")
    config = BidirectionalConfig(vocab_size=30, hidden_size=16, layers=1, heads=2, ffn_size=8)
    other = Checkpoint(folder=checkpoint.folder, config=config, origin=ORIGIN, step=0)
    with pytest.raises(RetrieverError, match="do not fit"):
        load_network(other)


@pytest.mark.parametrize("what", ["weights", "state"])
def test_a_full_disk_is_told_as_one(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room left the error is one of the system's, though both libraries have their own."""
    import safetensors.torch
    from safetensors import SafetensorError

    def refuse(*_: object, **__: object) -> None:
        raise SafetensorError("No space left on device") if what == "weights" else RuntimeError("unexpected pos 576")

    monkeypatch.setattr(*((safetensors.torch, "save_file") if what == "weights" else (torch, "save")), refuse)
    with pytest.raises(OSError, match=r"No space left|is the disk full\?"):
        save(tmp_path / "a", state={"rate": 0.5})
    with pytest.raises(RetrieverError, match="was not finished"):
        open_checkpoint(tmp_path / "a")
