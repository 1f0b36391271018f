"""The command line: exit codes, streams, hints, lazy imports."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from drama_app import cli, rank
from drama_app.commands.search import read_date, read_lang, read_last_date, read_type, split_page
from drama_app.config import load_settings
from drama_app.library import Library
from tests.app.test_extract_pdf import make_writer

ROOT = Path(cli.__file__).parent.parent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own, empty home for each test."""
    for name in [name for name in os.environ if name.startswith("DRAMA_APP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DRAMA_APP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say what to do"),
        (["serch", "x"], "did you mean 'search'"),
        (["where are my keys"], "drama-app search 'where are my keys'"),
        (["--color", "always", "stauts"], "did you mean 'status'"),
        (["search"], "say what to search for"),
        (["search", " "], "the query is empty"),
        (["search", "x", "-0"], "-0 goes with --paths"),
        (["search", "x", "--limit", "0"], "not a number from 1 to 1000"),
        (["search", "x", "--since", "May"], "not a date"),
        (["search", "x", "--since", "2025", "--until", "2024"], "--since lies after --until"),
        (["search", "x", "--lang", "English"], "is not a language code. Write lang:de"),
        (["search", "type:pdf"], "say what to search for too"),
        (["search", "x until:2024", "--since", "2025"], "--since lies after --until"),
        (["search", "x", "--type", "*.*"], "is not a type. Write type:pdf"),
        (["search", "x"], "drama-app index FOLDER"),
        (["status"], "drama-app index FOLDER"),
        (["index"], "drama-app index FOLDER"),
        (["index", "/no/such/folder"], "no such file"),
        (["index", "/"], "add --yes"),
        (["index", "~nobody-here/docs"], "no such home folder"),
        (["model", "use", "~nobody-here/mine"], "no such home folder"),
        (["model", "use"], "name a FOLDER"),
        (["index", ""], "the path is empty"),
        (["index", "/tmp", "--retriever", ""], "the path is empty"),
        (["watch", ""], "the path is empty"),
        (["forget", ""], "the path is empty"),
        (["search", "x", "--in", ""], "the path is empty"),
        (["search", "--similar", ""], "the path is empty"),
        (["model", "use", ""], "the path is empty"),
        (["model", "verify", ""], "the path is empty"),
        (["status", "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    """Errors go to stderr in one plain line with the remedy; stdout stays empty and nothing is created."""
    code = cli.main(arguments)
    out, err = capsys.readouterr()

    assert code == 2
    assert out == ""
    assert err.startswith("drama-app: ") and err.count("\n") == 1 and said in err
    assert not home.exists()


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_go_to_stdout(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They were asked for: data, and exit code 0."""
    code = cli.main([argument])
    out, err = capsys.readouterr()

    assert (code, err) == (0, "")
    assert out.startswith("examples:" if argument == "--help" else "drama-app ")


def test_help_loads_nothing_heavy() -> None:
    """A clean interpreter that shows the help has none of the large packages loaded."""
    script = (
        "import sys\nfrom drama_app import cli\ncli.main(['--help'])\n"
        "heavy = {'lancedb', 'numpy', 'onnxruntime', 'tokenizers', 'pyarrow', 'textual', 'rich', 'shtab', 'pypdf'}\n"
        "loaded = heavy & set(sys.modules)\nsys.exit(f'loaded {loaded}' if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """A closed pipe ends the program quietly."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "drama_app", "config", "show"],
            cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    finally:
        os.close(write)

    assert (done.returncode, done.stderr) == (0, b"")


def test_an_unexpected_error_is_a_sentence_and_a_private_log(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback is in the log file, which only its owner may read; the person gets one line."""
    from drama_app.commands import config

    def fail(*_: object) -> int:
        raise ValueError("boom \x1b[31m")

    monkeypatch.setattr(config, "run", fail)
    code = cli.main(["config", "show"])
    err = capsys.readouterr().err
    log = home / "logs" / "drama-app.log"

    assert code == 2
    assert err.count("\n") == 1 and str(log) in err and "\x1b" not in err
    assert "Traceback" in log.read_text(encoding="utf-8")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_config_init_writes_once(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    """A configuration that is there is only overwritten by force, and the one written can be read."""
    assert cli.main(["config", "init"]) == 0
    assert cli.main(["config", "init"]) == 2
    assert cli.main(["config", "init", "--force"]) == 0
    capsys.readouterr()
    assert cli.main(["config", "show", "--json"]) == 0
    shown = {each["key"]: each["value"] for each in json.loads(capsys.readouterr().out)}
    assert shown["folder.data"] == str(home / "data")


def test_purge_leaves_the_configuration_only(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    """Everything goes but the configuration, which goes when asked for; without --yes nothing does."""
    assert cli.main(["config", "init"]) == 0
    (home / "data" / "index").mkdir(parents=True)
    (home / "data" / "index" / "x").write_text("x", encoding="utf-8")
    (home / "logs").mkdir()

    assert cli.main(["purge"]) == 2
    assert (home / "data" / "index" / "x").exists()
    assert cli.main(["purge", "--yes"]) == 0
    assert [path.name for path in home.iterdir()] == ["config"]
    assert "config.toml" in capsys.readouterr().out
    assert cli.main(["purge", "--yes", "--config"]) == 0
    assert not home.exists() or not list(home.iterdir())


def test_purge_follows_no_link(capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path) -> None:
    """Where a person has put the app's data behind a link, what it leads to is theirs to remove."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("precious")
    home.mkdir(exist_ok=True)
    (home / "data").symlink_to(tmp_path / "elsewhere")
    assert cli.main(["purge", "--yes"]) == 2
    assert "is a link" in capsys.readouterr().err
    assert (tmp_path / "elsewhere" / "mine.txt").read_text() == "precious"


def test_purge_waits_for_nobody_who_writes(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    """Beside another drama-app that indexes or watches nothing is removed: it would write text there again."""
    for folder in (home / "data" / "index", home / "state"):
        folder.mkdir(parents=True)
    (home / "data" / "index" / "x").write_text("x", encoding="utf-8")
    for name in ("writer.lock", "watch.lock"):
        with FileLock(home / "state" / name):
            assert cli.main(["purge", "--yes"]) == 2
        assert "stop it first" in capsys.readouterr().err
        assert (home / "data" / "index" / "x").exists()
    assert cli.main(["purge", "--yes"]) == 0
    assert not (home / "data").exists() and not (home / "state").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_output_that_cannot_be_written_is_told_in_a_line(home: Path) -> None:
    """A redirection to a full disk ends with 2 and a sentence, not with a traceback."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        run = [sys.executable, "-m", "drama_app", "config", "show"]
        done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("program", ["drama_app", "trainer.cli"])
def test_a_closed_stdout_is_an_error_in_a_line(program: str) -> None:
    """What was asked for would be lost: exit code 2 and a sentence, no traceback."""
    run = f"exec '{sys.executable}' -m {program} >&-"
    done = subprocess.run(["sh", "-c", run], stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "stdout is closed" in done.stderr


@pytest.mark.parametrize(
    ("closed", "arguments", "code", "said"),
    [
        ("2>&-", "config show", 0, "folder.data"),
        ("2>&-", "serch x", 2, ""),
        ("<&-", "--plain", 0, "search>"),
        ("<&-", "purge", 0, "there is nothing to remove"),
        ("<&- 2>&-", "config show", 0, "folder.data"),
    ],
)
def test_a_closed_stdin_or_stderr_is_an_empty_one(closed: str, arguments: str, code: int, said: str) -> None:
    """As under cron: data and exit code are those of any other run."""
    run = f"exec '{sys.executable}' -m drama_app {arguments} {closed}"
    done = subprocess.run(["sh", "-c", run], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (code, "")
    assert said in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_completion_knows_the_verbs(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script of each shell names the verbs."""
    assert cli.main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "search" in out and "doctor" in out


def test_dates_cover_whole_years_months_and_days() -> None:
    """--until 2024 includes December, --until 2024-02 the 29th."""
    assert read_last_date("2024") - read_date("2024") > 365 * 86_400
    assert 28.9 * 86_400 < read_last_date("2024-02") - read_date("2024-02") < 29.1 * 86_400
    assert read_date("2024-05-31") > read_date("2024-05")


@pytest.mark.parametrize(("text", "first", "days"), [("20240131", "2024-01-31", 1), ("2024-W05", "2024-01-29", 7)])
def test_dates_of_other_forms_cover_their_days_too(text: str, first: str, days: int) -> None:
    """--until 20240131 includes that day; a time is a moment."""
    assert read_date(text) == read_date(first)
    assert read_last_date(text) - read_date(text) == pytest.approx(days * 86_400, abs=1)
    assert read_last_date("20240131T12:00") == read_date("2024-01-31 12:00")


def test_a_type_may_be_written_as_a_pattern() -> None:
    """`--type '*.PDF'` and `--type .pdf` are what the terminal UI makes of them: pdf."""
    assert [read_type(text) for text in ("*.PDF", ".pdf", "pdf", "c++")] == ["pdf", "pdf", "pdf", "c++"]
    assert read_lang("DE") == "de"


def test_a_name_with_a_number_sign_is_itself(tmp_path: Path) -> None:
    """FILE#2 is page 2 unless a file of that name exists."""
    (tmp_path / "a#2").write_text("x", encoding="utf-8")

    assert split_page(str(tmp_path / "a#2")) == (tmp_path / "a#2", None)
    assert split_page(str(tmp_path / "b.pdf#2")) == (tmp_path / "b.pdf", 2)


def test_a_condition_that_no_file_can_meet_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that was never indexed is told from a question without an answer."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "bees.txt").write_text("Bees dance on the comb.", encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(folder)
    cli.main(["index", str(folder), "--json"])
    capsys.readouterr()

    assert cli.main(["search", "bees", "--in", str(link), "--paths"]) == 0
    assert capsys.readouterr().out == f"{folder / 'bees.txt'}\n"
    assert cli.main(["search", "bees", "--in", str(tmp_path / "other")]) == 1
    assert "is in no indexed folder" in capsys.readouterr().err


def test_failed_files_are_read_again_when_asked(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file beyond a limit names the setting that exists; `--retry` after a change reads it, of these PATHs only."""
    folder = tmp_path / "docs"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.txt").write_text(f"About otters in {name}. " * 60_000, encoding="utf-8")
        os.utime(folder / name / f"{name}.txt", (1e9, 1e9))
    monkeypatch.setenv("DRAMA_APP_MAX_FILE_MEGABYTES", "1")
    assert cli.main(["index", str(folder), "--retriever", str(tiny)]) == 3
    assert "raise index.max_file_megabytes, then run `drama-app index --retry`" in capsys.readouterr().out
    monkeypatch.setenv("DRAMA_APP_MAX_FILE_MEGABYTES", "2")
    library = Library.open(load_settings())
    for row in list(library._manifest.files()):  # as if they had been looked at long after their last change
        library._manifest.put_files([replace(row, checked_ns=row.ctime_ns + 10**10)])
    library.close()

    assert cli.main(["index", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["added"] == 0
    assert cli.main(["index", str(folder / "a"), "--retry", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 1
    assert cli.main(["index", "--retry", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 1


def test_reading_again_that_was_stopped_goes_on_by_a_plain_index(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command would start over, so the advice is `drama-app index`, which reads what was left."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "bees.txt").write_text("Bees dance on the comb.", encoding="utf-8")
    cli.main(["index", str(folder), "--retriever", str(tiny)])
    real = Library.sync

    def stopped(self: Library, *rest: object, stop: threading.Event, **options: object) -> object:
        stop.set()
        return real(self, *rest, stop=stop, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Library, "sync", stopped)
        assert cli.main(["index", str(folder), "--again"]) == 130
    assert "stopped; `drama-app index` goes on from there" in capsys.readouterr().err
    assert cli.main(["index", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == 1


def test_an_index_that_older_readers_filled_is_told_so(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an update that reads more, `status` and `doctor` advise `index --again` until all has been read again."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("bees", "wasps"):
        (folder / f"{name}.txt").write_text(f"How {name} build.", encoding="utf-8")
    cli.main(["index", str(folder), "--retriever", str(tiny)])

    def told(command: str) -> bool:
        capsys.readouterr()
        cli.main([command])
        return "an older drama read these files" in capsys.readouterr().out

    assert not told("status")

    def forget_readers() -> None:
        with closing(sqlite3.connect(load_settings().data_folder / "index" / "manifest.db")) as manifest, manifest:
            manifest.execute("DELETE FROM meta WHERE key = 'readers'")  # as an older version left it

    forget_readers()
    cli.main(["index"])
    assert told("status") and told("doctor")
    cli.main(["index", str(folder / "bees.txt"), "--again"])
    assert told("status"), "one file is not all"
    cli.main(["index", "--again"])
    assert not told("status")
    forget_readers()
    assert cli.main(["forget", str(folder)]) == 0
    cli.main(["index", str(folder)])
    assert not told("status"), "all has been read by this version"


def test_a_pattern_that_is_no_unicode_is_kept_to(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--ignore` takes a name as the file system has it, and can be shown where another choice is refused."""
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    for name in (b"caf\xe9.txt", b"tea.txt"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("About otters.", encoding="utf-8")

    pattern = os.fsdecode(b"caf\xe9*")
    assert cli.main(["index", str(folder), "--ignore", pattern, "--retriever", str(tiny), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 1
    assert cli.main(["index", str(folder / "deep"), "--ignore", pattern]) == 2
    assert "a new --ignore replaces what it has: caf" in capsys.readouterr().err


def test_a_paused_folder_that_is_named_is_followed_again(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`index` without it leaves a paused folder alone; with it the pause is over, and that is said."""
    folder = tmp_path / "docs"
    folder.mkdir()
    assert cli.main(["index", str(folder), "--retriever", str(tiny)]) == 0
    with Library.open(load_settings()) as library:
        library.pause(folder)
    (folder / "bees.txt").write_text("Bees dance on the comb.", encoding="utf-8")
    capsys.readouterr()

    assert cli.main(["index", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 0
    assert cli.main(["index", str(folder), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["added"] == 1
    assert f"{folder} was paused: it is followed again" in err
    assert cli.main(["index", str(folder)]) == 0
    assert "paused" not in capsys.readouterr().err


def test_conditions_in_the_query_are_those_of_the_options(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`bees type:md` is what it is in the terminal UI; what left nothing is told, and a phrase is left whole."""
    for name in ("bees.txt", "bees.md"):
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs" / name).write_text(
            f"Bees dance on the comb, says {name}, type:pdf or not.", encoding="utf-8"
        )
    cli.main(["index", str(tmp_path / "docs"), "--retriever", str(tiny)])
    capsys.readouterr()

    assert cli.main(["search", f"type:md bees in:{tmp_path / 'docs'}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["query"], [Path(hit["path"]).name for hit in found["hits"]]) == ("bees", ["bees.md"])
    assert cli.main(["search", '"type:pdf or not"', "--paths"]) == 0
    assert capsys.readouterr().out.count("\n") == 2
    (tmp_path / "docs" / "sub").mkdir()
    (tmp_path / "docs" / "bees.md").rename(tmp_path / "docs" / "sub" / "bees.md")
    cli.main(["index"])
    capsys.readouterr()
    for place in ("sub", "docs/sub"):  # as in the terminal UI: below an indexed folder, wherever the shell stands
        assert cli.main(["search", f"bees in:{place}", "--paths"]) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'docs' / 'sub' / 'bees.md'}\n"
    assert cli.main(["search", "bees in:nowhere", "--paths"]) == 1
    assert "is in no indexed folder" in capsys.readouterr().err
    assert cli.main(["search", "bees until:1999", "--paths"]) == 1
    assert "until:1999 was taken for a condition" in capsys.readouterr().err
    assert cli.main(["search", "bees lang:English", "--paths"]) == 0
    assert "lang:english is not a language code" in capsys.readouterr().err


def test_the_page_is_that_of_the_sentence_that_is_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked in another language, without one of its words, `--json` names the page of the nearest sentence, too."""
    (tmp_path / "files").mkdir()
    pages = [["The bill for the new roof was paid in May."], ["Bees gather nectar from flowers."], ["Thank you."]]
    with (tmp_path / "files" / "notes.pdf").open("wb") as stream:
        make_writer(pages).write(stream)
    assert cli.main(["index", str(tmp_path / "files")]) == 0
    capsys.readouterr()

    for shape in ("--json", "--jsonl"):
        for question, page in (("Wovon leben Honigbienen?", 2), ("Was kostet das Dach?", 1)):
            assert cli.main(["search", question, shape]) == 0
            told = json.loads(capsys.readouterr().out)
            hit = told["hits"][0] if shape == "--json" else told
            assert (hit["page"], hit["passages"][0]["page"]) == (page, page)


@pytest.mark.parametrize("missed", [True, False])
def test_near_misses_are_told_and_are_no_paths_to_act_on(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missed: bool
) -> None:
    """Each line of --jsonl says what its hit is, --paths has none of them, and both end with exit code 1."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("bees", "wasps"):
        (folder / f"{name}.txt").write_text(f"The {name} dance on the comb.", encoding="utf-8")
    cli.main(["index", str(folder), "--retriever", str(tiny)])
    capsys.readouterr()
    monkeypatch.setattr(rank, "is_hopeless", lambda *_, **__: missed)

    phrase = 'dance "under the comb"'
    code = cli.main(["search", "dance comb", "--jsonl"])
    assert (code, capsys.readouterr().out.count('"missing_phrase": null')) == (int(missed), 2)
    code = cli.main(["search", phrase, "--jsonl"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (code, [line["nothing_good_enough"] for line in lines]) == (1, [missed, missed])
    assert [line["missing_phrase"] for line in lines] == ["under the comb"] * 2

    assert cli.main(["search", phrase]) == 1
    out, err = capsys.readouterr()
    assert ("bees.txt" in out, "no hit holds" in out, "no hit holds" in err) == (True, False, True)
    assert cli.main(["search", phrase, "--paths"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", 'no hit holds "under the comb"\n')
    assert cli.main(["search", 'dance "on the comb"', "--paths"]) == int(missed)
    assert capsys.readouterr().out.count("\n") == (0 if missed else 2)


def test_a_configuration_that_cannot_be_read_is_told_by_doctor(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    """Each verb says why in one sentence that names the file once; doctor goes on with its other checks."""
    (home / "config" / "config.toml").mkdir(parents=True)
    said = f"cannot read the configuration {home / 'config' / 'config.toml'}: Is a directory; see that you may read it"

    assert cli.main(["status"]) == 2
    assert capsys.readouterr().err.startswith(f"drama-app: {said}")
    assert cli.main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert f"fail  settings    {said}" in out and "disk" in out
    assert err == ""


def test_doctor_tells_all_it_found_although_a_check_fails_itself(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index so damaged that its check ends with an error is one failed line among those of the other checks."""
    (tmp_path / "bees.txt").write_text("Bees dance on the comb.", encoding="utf-8")
    cli.main(["index", str(tmp_path / "bees.txt"), "--retriever", str(tiny)])
    capsys.readouterr()

    def fail(_: Library) -> None:
        raise ZeroDivisionError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(Library, "check", fail)
        assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "ok    folders" in out and "watch" in out
    assert "fail  index       this check itself failed: ZeroDivisionError: a fault of ours" in out

    manifest = tmp_path / "home" / "data" / "index" / "manifest.db"
    content = manifest.read_bytes()
    manifest.write_bytes(content[:4096] + b"\xab" * (len(content) - 4096))
    assert cli.main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert "ok    folders" in out and "fail  index" in out and "drama-app purge" in out
    assert cli.main(["search", "bees"]) == 2
    assert "should not have" not in err + capsys.readouterr().err


def test_index_says_that_it_waits_for_another(tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who starts a second indexing is not left before a silent terminal; alone nothing is said."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "bees.txt").write_text("Bees dance.", encoding="utf-8")
    assert cli.main(["index", str(tmp_path / "docs"), "--retriever", str(tiny)]) == 0
    assert "waiting" not in capsys.readouterr().err

    lock = FileLock(load_settings().state_folder / "writer.lock", thread_local=False)
    lock.acquire()
    threading.Timer(1.0, lock.release).start()
    assert cli.main(["index"]) == 0
    assert "waiting: another drama-app is writing" in capsys.readouterr().err

    lock.acquire()
    threading.Timer(1.0, lock.release).start()
    assert cli.main(["forget", str(tmp_path / "docs")]) == 0
    out, err = capsys.readouterr()
    assert "waiting: another drama-app is writing" in err and "1 file taken out" in out
