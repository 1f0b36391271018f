"""The `model` verb, where what a new version of drama ships is not what filled the index."""

import json
import shutil
from pathlib import Path

import pytest

from drama_app import cli, retriever, switching
from drama_app.output import Output
from tests.tiny_retriever import make_tiny_retriever


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the shipped retriever, and a home with an index that it filled."""
    monkeypatch.setenv("DRAMA_APP_HOME", str(tmp_path / "home"))
    folder = make_tiny_retriever(tmp_path / "shipped", dim=16, name="own", seed=1)
    for module in (retriever, switching):
        monkeypatch.setattr(module, "default_retriever_folder", lambda: folder)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "bees.md").write_text("The waggle dance tells other bees where the nectar is.\n")
    assert cli.main(["index", str(tmp_path / "files")]) == 0
    return folder


def test_after_an_upgrade_the_index_says_what_to_do_and_model_use_shipped_does_it(
    shipped: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another shipped retriever is never mixed in: search and doctor name the command, keywords answer meanwhile."""
    shutil.rmtree(shipped)
    make_tiny_retriever(shipped, dim=16, name="own", seed=2)
    capsys.readouterr()

    assert cli.main(["search", "nectar"]) == 2
    assert "`drama-app model use shipped`" in capsys.readouterr().err
    assert cli.main(["doctor"]) == 1
    assert "fail  retriever   the index was filled by own" in capsys.readouterr().out
    assert cli.main(["search", "nectar", "--mode", "keywords", "--paths"]) == 0
    assert capsys.readouterr().out.strip().endswith("bees.md")
    with monkeypatch.context() as patch:
        patch.setattr(Output, "for_person", property(lambda _: True))  # who is shown sentences: none by meaning
        assert cli.main(["search", "that the", "--mode", "keywords"]) == 0
        assert "bees.md" in capsys.readouterr().out
    assert _list_used(capsys) == [False]

    assert cli.main(["model", "use", "shipped"]) == 0
    capsys.readouterr()
    assert cli.main(["search", "nectar", "--paths"]) == 0
    assert capsys.readouterr().out.strip().endswith("bees.md")
    assert _list_used(capsys) == [True]
    assert cli.main(["model", "use", "--back"]) == 2  # what was there before is gone
    assert "no earlier retriever" in capsys.readouterr().err
    assert cli.main(["doctor"]) == 0
    tables = (shipped.parent / "home").rglob("passages_*.lance")
    assert len(list(tables)) == 1


def test_the_word_shipped_is_no_folder(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`shipped` means drama's own retriever, wherever the shell stands; `./shipped` a folder of that name."""
    capsys.readouterr()
    assert cli.main(["model", "verify", "shipped"]) == 0
    assert capsys.readouterr().out.startswith(str(shipped))
    assert cli.main(["model", "verify", "./shipped"]) == 2
    assert str(Path.cwd() / "shipped") in capsys.readouterr().err


def test_a_retriever_that_does_not_open_is_told_beside_the_list(
    shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged folder hides no other: it is named on stderr with the reason, and stdout stays a JSON list."""
    gone = make_tiny_retriever(shipped.parent / "home" / "data" / "retrievers" / "gone", dim=16, name="gone", seed=3)
    (gone / "model.onnx").unlink()
    capsys.readouterr()
    assert cli.main(["model", "list", "--json"]) == 0
    listed, told = capsys.readouterr()
    assert [each["name"] for each in json.loads(listed)] == ["own"]
    assert "not listed:" in told and "model.onnx" in told


def _list_used(capsys: pytest.CaptureFixture[str]) -> list[bool]:
    assert cli.main(["model", "list", "--json"]) == 0
    return [each["in_use"] for each in json.loads(capsys.readouterr().out)]
