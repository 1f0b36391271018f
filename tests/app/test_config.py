"""Settings: precedence, refusals, folders."""

import stat
from pathlib import Path

import pytest

from drama_app.config import describe_template, load_settings, make_private, resolve_settings
from drama_app.errors import UsageError
from drama_app.scan import check_root


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"DRAMA_APP_HOME": str(home), **more}


def write_config(home: Path, text: str) -> Path:
    (home / "config").mkdir(parents=True)
    path = home / "config" / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_all_folders_lie_below_the_home_variable(tmp_path: Path) -> None:
    """DRAMA_APP_HOME moves every folder, and reading settings creates none."""
    settings = load_settings(environment=environment(tmp_path / "h"))

    for folder in (settings.data_folder, settings.state_folder, settings.cache_folder, settings.log_folder):
        assert folder.parent == tmp_path / "h"
    assert not (tmp_path / "h").exists()


def test_flags_go_before_environment_before_file_before_default(tmp_path: Path) -> None:
    """Each layer overrides the one below it, and the origin says which one spoke."""
    path = write_config(tmp_path, "[retriever]\nthreads = 2\n[extraction]\nworkers = 2\n[watch]\npoll_seconds = 2\n")
    settings, choices = resolve_settings(
        {"threads": 4, "hidden": None}, environment(tmp_path, DRAMA_APP_THREADS="3", DRAMA_APP_WORKERS="3")
    )
    origins = {each.key: each.origin for each in choices}

    assert (settings.threads, settings.workers, settings.poll_seconds, settings.hidden) == (4, 3, 2.0, False)
    assert origins["retriever.threads"] == "flag"
    assert origins["extraction.workers"] == "environment DRAMA_APP_WORKERS"
    assert origins["watch.poll_seconds"] == str(path)
    assert origins["index.hidden"] == "default"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[index]\nhiden = true\n", "did you mean 'index.hidden'"),
        ("[indx]\nhidden = true\n", "did you mean 'index'"),
        ("hidden = true\n", "unknown table or key 'hidden'"),
        ('theme = "light"\n', r"it belongs below the line \[ui\]"),
        ("[index]\nhidden = 1\n", "index.hidden in .* must be true or false"),
        ("[retriever]\nthreads = true\n", "must be a whole number"),
        ("[retriever]\nthreads = -1\n", "between 0 and 1024"),
        ("[watch]\npoll_seconds = nan\n", "watch.poll_seconds must be between"),
        ("[index]\nignore = ['']\n", "empty pattern"),
        ("[index\n", "cannot read the configuration"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    """A wrong key or value is refused with its path and, where there is one, the likely meaning."""
    write_config(tmp_path, text)

    with pytest.raises(UsageError, match=named):
        load_settings(environment=environment(tmp_path))


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("DRAMA_APP_THREAD", "1", "did you mean 'DRAMA_APP_THREADS'"),
        ("DRAMA_APP_THREADS", "many", "must be a whole number"),
        ("DRAMA_APP_HIDDEN", "perhaps", "must be true or false"),
    ],
)
def test_a_wrong_variable_is_refused(tmp_path: Path, variable: str, value: str, named: str) -> None:
    """A variable that is misspelt or has the wrong type is an error, not silence."""
    with pytest.raises(UsageError, match=named):
        load_settings(environment=environment(tmp_path, **{variable: value}))


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """A file as PowerShell and Notepad save it is read like any other."""
    write_config(tmp_path, "\ufeff[retriever]\nthreads = 3\n")

    assert load_settings(environment=environment(tmp_path)).threads == 3


def test_a_configuration_where_one_stands_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config.toml in the current folder changes nothing."""
    (tmp_path / "config.toml").write_text("[retriever]\nthreads = 9\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert load_settings(environment=environment(tmp_path / "h")).threads == 0


def test_the_template_is_valid_and_each_line_of_it_too(tmp_path: Path) -> None:
    """The template changes nothing as written, and each of its lines can be uncommented as it stands."""
    template = describe_template()
    default = load_settings(environment=environment(tmp_path / "none"))
    lines = [
        line.removeprefix("# ") if line.startswith("# ") and " = " in line and not line.endswith(".") else line
        for line in template.splitlines()
    ]
    write_config(tmp_path / "a", template)
    write_config(tmp_path / "b", "\n".join(lines))

    assert load_settings(environment=environment(tmp_path / "a")).threads == default.threads
    uncommented, choices = resolve_settings(environment=environment(tmp_path / "b"))
    assert str(uncommented.retriever) == "/path/to/a/retriever"
    assert "default" not in {each.origin for each in choices}


def test_keys_and_theme_come_from_the_file(tmp_path: Path) -> None:
    """The user's file chooses the look, and a key for each action of the terminal UI; `config show` lists them."""
    write_config(tmp_path, '[ui]\ntheme = "contrast"\nmouse = false\n[keys]\n"search.open" = "ctrl+l"\n')

    settings, choices = resolve_settings(environment=environment(tmp_path))

    assert (settings.theme, settings.mouse, settings.keys) == ("contrast", False, {"search.open": "ctrl+l"})
    assert "keys.search.open" in {each.key for each in choices}


@pytest.mark.parametrize(
    ("content", "named"),
    [('[ui]\ntheme = "pink"\n', "auto, dark, light"), ("keys = 3\n", r"\[keys\]"), ('[keys]\n"a" = 1\n', r"\[keys\]")],
)
def test_a_wrong_look_or_key_is_refused(tmp_path: Path, content: str, named: str) -> None:
    """A theme that does not exist and keys that are no text are named."""
    write_config(tmp_path, content)

    with pytest.raises(UsageError, match=named):
        load_settings(environment=environment(tmp_path))


def test_own_folders_behind_a_link_are_known_in_a_root(tmp_path: Path) -> None:
    """Behind a link the app's own folders are known as what they lead to, so that nothing of them is ever indexed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    settings = load_settings(environment=environment(tmp_path / "link" / "drama"))
    make_private(settings.data_folder / "index")
    with pytest.raises(UsageError, match="own folder"):
        check_root(tmp_path / "link" / "drama" / "data" / "index", yes=True, own=[settings.data_folder])


def test_a_home_folder_of_nobody_is_told_as_such(tmp_path: Path) -> None:
    """A "~name" that leads nowhere is named in one sentence, in a variable as in the file, and never a crash."""
    with pytest.raises(UsageError, match=r"~nobody-here/drama: there is no such home folder"):
        load_settings(environment={"DRAMA_APP_HOME": "~nobody-here/drama"})
    write_config(tmp_path, '[retriever]\nfolder = "~nobody-here/mine"\n')
    with pytest.raises(UsageError, match="~nobody-here/mine: there is no such home folder"):
        load_settings(environment=environment(tmp_path))


def test_folders_are_made_for_their_owner_only(tmp_path: Path) -> None:
    """A folder of ours, and what is missing above it, has mode 0700."""
    folder = make_private(tmp_path / "a" / "b")

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
