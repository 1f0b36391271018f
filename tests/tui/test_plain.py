"""The dialogue in lines: every command over a real index, in plain sentences, with nothing that moves a cursor."""

import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from drama_app.config import Settings, load_settings
from drama_app.errors import IndexDamagedError
from drama_app.library import Library
from drama_app.records import Hit, Passage, PassageHit
from drama_app.tui.plain import PAGE, PROMPT, Dialogue, run_plain
from drama_app.tui.plain_words import describe_hit, describe_text


@pytest.fixture
def filled(ready: Path, own_home: Path) -> Settings:
    """Settings over a copy of the ready index."""
    shutil.copytree(ready / "home", own_home)
    return load_settings()


def talk(settings: Settings, *lines: str) -> list[str]:
    """What is answered to each line; the greeting comes first."""
    output = io.StringIO()
    assert run_plain(settings, input=io.StringIO("".join(f"{line}\n" for line in lines)), output=output) == 0
    text = output.getvalue()
    assert all(character.isprintable() or character == "\n" for character in text), repr(text)
    return text.split(PROMPT)


def test_it_greets_with_what_is_indexed_and_ends_with_the_input(filled: Settings) -> None:
    """One line says how much can be searched; the end of the input leaves with 0."""
    greeting, rest = talk(filled)

    assert re.fullmatch(r"drama\. \d+ documents in 1 folder can be searched\. Type a question, or help\.\n", greeting)
    assert rest == "\n"


def test_an_empty_home_is_told_how_to_begin(settings: Settings) -> None:
    """Without an index the greeting and every command say what to do, and none is made."""
    answers = talk(settings, "bread", "more", "open 1", "status", "no filters", "update")

    assert "add ~/Documents" in answers[0] and all("." in answer for answer in answers[1:-1])
    assert not (settings.data_folder / "index").exists()


def test_a_query_gives_numbered_results_as_sentences(filled: Settings) -> None:
    """Number, title, name and place; folder, type and date; then the text."""
    _, answer, *_ = talk(filled, "flour and yeast of bread", "quit")
    lines = answer.splitlines()

    assert lines[0].endswith("results by meaning and keywords.")
    first = next(number for number, line in enumerate(lines) if line.startswith("1. "))
    assert re.match(r"In .*, \w+, of \d{4}-\d\d-\d\d(, 1 more copy)?\.", lines[first + 1])
    assert sum(bool(re.match(r"\d+\. ", line)) for line in lines) == PAGE
    assert "bread" in answer and re.search(r"Type more for \d+ more results\.", answer)


def test_more_goes_on_with_the_numbers_to_the_end(filled: Settings) -> None:
    """Each page continues; after the last it says that there are no more."""
    answers = talk(filled, "song of the music library", *["more"] * 12)
    numbers = [int(number) for answer in answers for number in re.findall(r"^(\d+)\. ", answer, re.MULTILINE)]

    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 2 * PAGE
    assert "There are no more results." in answers[-2]


def test_the_place_of_a_hit_and_of_its_passage_are_told_apart() -> None:
    """A hit has the line of its best sentence; the passage says from where it is read. A sheet is no page."""
    text = "Dough.\n\nThe flour rises."
    best = PassageHit(0, None, 15, 0, len(text), "", "en", text, 1.0, (), (), (8, 24))
    hit = Hit(Path("/x/bread.txt"), (), "Bread", "text", 1.7e9, 1.0, (best,))
    assert ". line 15." in next(describe_hit(1, hit))
    read = describe_text(1, hit, [Passage(0, 0, len(text), text, None, 13, "", "en")])
    assert next(read) == "The passage, from line 13:"

    workbook = replace(hit, kind="xlsx", passages=(replace(best, page=1, line=None, heading="Sheet1"),))
    assert ". sheet 1, Sheet1." in next(describe_hit(1, workbook))


def test_text_reads_the_passage_and_why_explains_it(filled: Settings) -> None:
    """`text` gives the whole passage, `why` its sources and the words that match; a wrong number is a sentence."""
    _, _, text, why, wrong, *_ = talk(filled, "flour yeast dough", "text 1", "why 1", "text 9999")

    assert "The passage" in text and "flour" in text
    assert "was found by" in why and ("similarity" in why or "score" in why) and "flour" in why
    assert wrong.startswith("There is no result 9999")


def test_similar_searches_on_from_a_result(filled: Settings) -> None:
    """The answer is a list of results again, to which the commands then apply."""
    _, _, similar, why, *_ = talk(filled, "song number 3", "similar 1", "why 1")

    assert re.search(r"^1\. ", similar, re.MULTILINE) and "Result 1" in why


def test_mode_and_filters_search_again(filled: Settings, files: Path) -> None:
    """A condition holds from then on, is named, adds up, and can be dropped."""
    answers = talk(
        filled, "bread", "mode keywords", f"in {files}/recipes", "type md", "lang xx", "no filters", "since 2100",
        "since never", "in /nowhere/at/all",
    )  # fmt: skip

    assert "by keywords" in answers[2]
    assert "Only folder" in answers[3] and "travel" not in answers[3]
    assert "type md" in answers[4] and "Nothing was found with" in answers[5]
    assert answers[6].startswith("All files are searched again.") and "travel" in answers[6]
    assert "since 2100-01-01" in answers[7]
    assert "There is no folder /nowhere/at/all." in answers[9]


def test_conditions_in_a_question_hold_for_it_alone(filled: Settings, files: Path, tmp_path: Path) -> None:
    """As in the shell and the full interface `in:` and the like are no words; a wrong one is told and searched for."""
    answers = talk(
        filled, f"bread in:{files}/recipes type:md", "mode keywords", "bread", "type:md ", "bread since:never x"
    )

    (tmp_path / "link").symlink_to(files)
    _, through = talk(filled, f"bread in:{tmp_path}/link/recipes/../recipes")[:2]
    assert "recipes" in through and "Nothing" not in through
    assert "with folder" in answers[1] and "type md" in answers[1] and "travel" not in answers[1]
    assert "by keywords with folder" in answers[2]
    assert " with " not in answers[3].splitlines()[0]
    assert "say what to search for too" in answers[4]
    assert "since:never is not a date" in answers[5] and "searched for as it stands" in answers[5]


@pytest.mark.parametrize("query", ["open source bread", "in the city", "type of flour", "more bread", "search engines"])
def test_questions_that_begin_like_commands_are_questions(filled: Settings, query: str) -> None:
    """Only a whole command is a command."""
    _, answer, *_ = talk(filled, query)

    assert "result" in answer or "Nothing" in answer


def test_words_that_are_a_command_can_be_searched(filled: Settings) -> None:
    """`search status` searches for the word."""
    _, answer, *_ = talk(filled, "search status")

    assert "result" in answer or "Nothing was" in answer
    assert "passages " not in answer


def test_open_says_what_it_did_or_what_is_in_the_way(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a display it says so; the place of the best passage is what is opened."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    _, _, answer, *_ = talk(filled, "train station", "open 1")
    assert answer.startswith("Nothing can be opened")

    opened: list[tuple[str, int | None]] = []

    def open_file(path: Path, page: int | None) -> str:
        opened.append((path.name, page))
        return f"Opened {path.name}"

    monkeypatch.setattr("drama_app.tui.plain.open_file", open_file)
    _, _, answer, *_ = talk(filled, "the train leaves the station", "open 1")
    assert opened and answer == f"Opened {opened[0][0]}.\n"


def test_add_indexes_a_folder_from_nothing(settings: Settings, tiny: Path, tmp_path: Path) -> None:
    """In an empty home `add` makes the index, tells the estimate and the result, and the files can be found."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "harbour.txt").write_text("The ship lies in the harbour of the city.")
    with Library.open(settings, create=True, retriever=tiny):
        pass
    _, missing, added, found, *_ = talk(settings, "add ./not-here", f"add {folder}", "ship in the harbour")

    assert missing.startswith("There is no folder ./not-here")
    assert "1 file, about" in added and "1 added" in added
    assert "harbour.txt" in found


def test_add_of_a_paused_folder_follows_it_again(settings: Settings, tiny: Path, tmp_path: Path) -> None:
    """A folder that is named is wanted: its pause ends, and the dialogue says so."""
    folder = tmp_path / "notes"
    folder.mkdir()
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)
        library.pause(folder)
    (folder / "harbour.txt").write_text("The ship lies in the harbour of the city.")
    _, added, *_ = talk(settings, f"add {folder}")

    assert "was paused: it is followed again" in added and "1 added" in added


def test_update_sees_a_vanished_file_and_text_says_so_before(settings: Settings, tiny: Path, tmp_path: Path) -> None:
    """A file that went away is an answer, not a crash; after `update` it is not found any more."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "harbour.txt").write_text("The ship lies in the harbour of the city.")
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)
        library.sync()
    dialogue = Dialogue(settings, io.StringIO(), output := io.StringIO())
    dialogue.run()
    dialogue.answer("ship")
    (folder / "harbour.txt").unlink()
    dialogue._try(lambda: dialogue.answer("open 1"))
    dialogue.answer("update")
    dialogue.answer("ship")
    dialogue.close()

    said = output.getvalue()
    assert "harbour.txt is gone" in said and "1 removed" in said and said.rstrip().endswith("Nothing was found.")


def test_hostile_files_are_only_words(filled: Settings) -> None:
    """Control characters of names and texts arrive as harmless signs; markup is only text."""
    answers = talk(filled, "river harbour library bread", *["more"] * 9, *[f"text {number}" for number in range(1, 12)])
    everything = "".join(answers)

    assert "[@click=app.quit]" in everything and "\x1b" not in everything


def test_every_script_is_read(filled: Settings) -> None:
    """Chinese and Arabic are found and shown as they are."""
    _, chinese, arabic, *_ = talk(filled, "绿茶要用八十度的水冲泡", "الماء أساس الحياة")

    assert "绿茶" in chinese and "الماء" in arabic


def test_ctrl_c_goes_back_to_the_prompt(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that is interrupted leaves the dialogue as it was; the next line is answered."""
    calls: list[str] = []
    search = Library.search

    def interrupted(self: Library, query: str, **options: object) -> object:
        calls.append(query)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return search(self, query, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Library, "search", interrupted)
    _, stopped, found, *_ = talk(filled, "bread", "train")

    assert "Stopped. Type quit to leave." in stopped and "result" in found


def test_errors_are_sentences(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged index is told with a capital and a full stop, and the dialogue goes on."""

    def fail(*_: object, **__: object) -> None:
        raise IndexDamagedError("the index cannot be read: run `drama-app purge`")

    monkeypatch.setattr(Library, "search", fail)
    answers = talk(filled, "bread", "help")

    assert answers[1] == "The index cannot be read: run `drama-app purge`.\n" and "open 2" in answers[2]


def test_a_folder_of_nobody_does_not_end_the_dialogue(settings: Settings) -> None:
    """A "~name" that is nobody's is told in a sentence, and the next command is answered."""
    answers = talk(settings, "add ~nobody-here/docs", "help")

    assert "there is no such home folder" in answers[1] and answers[1].endswith(".\n") and "open 2" in answers[2]


def test_help_names_only_commands_that_work(filled: Settings) -> None:
    """Each line of the help that begins with a command is understood as one."""
    from drama_app.tui.plain import _find_command
    from drama_app.tui.plain_words import HELP

    named = [line.partition(":")[0] for line in HELP.splitlines() if re.match("(?!These|A question).*:", line)]
    for words in named:
        for command in re.split(r", | or ", words.replace("FOLDER", "/x")):
            if not command.startswith("search "):
                assert _find_command(command), command


def test_a_number_alone_is_the_text_of_that_result(filled: Settings) -> None:
    """After a search `1` is `text 1`; before one, and beyond what was told, a number is a question; `q` leaves."""
    _, before, escaped, _, read, number, beyond, question, _ = talk(
        filled, "1", "search 1", "bread", "text 1", "1", "99", "search 99", "q"
    )

    assert read.strip() and number == read
    assert before == escaped
    assert beyond == question


def test_status_and_nothing_before_the_first_search(filled: Settings) -> None:
    """`status` lists the counts; commands on results ask for a question first; empty lines are passed over."""
    _, empty, status, more, *_ = talk(filled, "", "status", "more")

    assert empty == "" and "documents" in status and more.startswith("Nothing was searched yet")


def test_what_is_similar_is_asked_again_as_such(filled: Settings) -> None:
    """After "similar" a filter asks for the same once more, and "why" names no words of a path."""
    answers = talk(filled, "bread", "similar 1", "type txt", "why 1", "no filters")

    assert "with type txt" in answers[3] and "by meaning" in answers[3]
    assert "In " in answers[3] and ".md." not in answers[3]
    assert "by meaning" in answers[5] and "Words of the query" not in answers[4]


def test_a_phrase_that_stands_nowhere_and_weak_hits_are_told(filled: Settings) -> None:
    """The listener hears what the screen shows: that no result holds the phrase, and where the less likely begin."""
    answers = talk(filled, '"bread of the moon"', "mode keywords", "river")

    assert answers[1].startswith('No result holds "bread of the moon". ')
    assert "No result holds" not in answers[3]


def test_an_unexpected_error_does_not_end_the_dialogue(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk below an update is told in a sentence that names the log, and the next question is answered."""

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("lance error: No space left on device")

    monkeypatch.setattr(Library, "sync", full)
    answers = talk(filled, "update", "bread")

    assert "No space left on device" in answers[1] and "drama-app.log" in answers[1] and "result" in answers[2]


def test_no_sentence_is_chosen_by_the_words_of_a_path(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is similar to a file was asked for without words: none are looked for in what is told."""
    asked: list[str] = []
    real = Library.mark_sentences
    monkeypatch.setattr(
        Library, "mark_sentences", lambda self, results: asked.append(results.query) or real(self, results)
    )
    talk(filled, "bread", "similar 1", "more")

    assert asked == ["bread"]


def test_a_line_in_another_encoding_ends_nothing(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are a question that finds nothing; the next line is answered."""
    environment = {**os.environ, "DRAMA_APP_HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(
        [sys.executable, "-m", "drama_app", "--plain"], input=b"M\xfcller\nhelp\nquit\n", env=environment,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr
    assert b"Type a question or some words" in done.stdout
