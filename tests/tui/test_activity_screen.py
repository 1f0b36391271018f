"""The activity screen: what runs, what failed, what was passed over, what happened, and every key."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.widgets import Input, ProgressBar, RichLog, Static, TabbedContent

from drama_app.manifest import FileRow
from drama_app.records import Progress, Skipped
from drama_app.tui.app import DramaApp
from drama_app.tui.messages import IndexingChanged, Progressed
from drama_app.tui.screens.activity import ActivityScreen
from drama_app.tui.screens.confirm import ConfirmScreen
from drama_app.tui.screens.failure import FailureScreen
from drama_app.tui.standing import Standing, describe_standing, describe_wait
from drama_app.tui.widgets.failure_list import FailureList, arrange
from drama_app.tui.widgets.status_line import StatusLine
from tests.tui.conftest import until

SIZE = (110, 30)
BROKEN = Path("/x/报告/[red]broken\x1b[31m.pdf")
LOCKED = Path("/x/locked.docx")
TORN = Path("/x/torn.pdf")


def fail(app: DramaApp) -> None:
    """Puts three failures and a photo into the index."""
    assert app.library is not None
    rows: Sequence[tuple[Path, str, str]] = (
        (BROKEN, "failed", "damaged: no trailer"),
        (TORN, "failed", "damaged: no trailer"),
        (LOCKED, "failed", "encrypted with a password"),
        (Path("/x/photo.jpg"), "passed over", "a photo"),
    )
    app.library._manifest.put_files(FileRow(path, 1, 1, 1, 1, 1, state, reason, None) for path, state, reason in rows)
    app.refresh_status()


async def show(pilot, *, failures: bool = True) -> ActivityScreen:  # type: ignore[no-untyped-def]
    """Goes to the activity screen, with failures in the index."""
    app = pilot.app
    await until(pilot, lambda: app.library)
    if failures:
        fail(app)
    await pilot.press("f4")
    await until(pilot, lambda: isinstance(app.screen, ActivityScreen))
    if failures:
        await until(pilot, lambda: listed(app.screen).row_count == 3)
    return app.screen


def listed(screen: ActivityScreen) -> FailureList:
    """The failures."""
    return screen.query_one("#failed-files", FailureList)


def text_of(screen, part: str) -> str:  # type: ignore[no-untyped-def]
    """What a part of the screen shows."""
    return str(screen.query_one(part, Static).visual)


def move_to(screen: ActivityScreen, path: Path) -> None:
    """Puts the cursor on a file."""
    rows = [each.paths[0] for each in listed(screen)._groups]
    listed(screen).move_cursor(row=rows.index(path))


async def test_progress_is_shown_while_something_runs(app: DramaApp) -> None:
    """Phase, bar, counts, rate, time left, the current file and failures; nothing of it when nothing runs."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot, failures=False)
        bar = screen.query_one(ProgressBar)
        assert not bar.display
        app.post_message(IndexingChanged("following"))
        app.post_message(Progressed(Progress("index", 120, 500, 3000, 2, 27.4, 180.0, BROKEN)))
        await until(pilot, lambda: bar.display)

        assert bar.percentage == pytest.approx(0.24)
        counts = text_of(screen, "#work-counts")
        assert counts == "120 of 500 files · 3,000 passages · 27/s · 3 min left · 2 failed"
        assert "broken␛[31m.pdf" in text_of(screen, "#work-current")
        app.post_message(IndexingChanged("paused"))
        await until(pilot, lambda: not bar.display)
        assert text_of(screen, "#work-phase") == "Paused"


async def test_pause_resume_and_cancel_reach_the_app(app: DramaApp) -> None:
    """Space pauses and resumes; c asks, says what stays, and cancels only after yes."""
    asked: list[str] = []
    app.pause_indexing = lambda: asked.append("pause")  # type: ignore[method-assign]
    app.resume_indexing = lambda: asked.append("resume")  # type: ignore[method-assign]
    app.cancel_indexing = lambda: asked.append("cancel")  # type: ignore[method-assign]
    async with app.run_test(size=SIZE) as pilot:
        await show(pilot, failures=False)
        app.post_message(IndexingChanged("following"))
        app.post_message(Progressed(Progress("index", 1, 2)))
        await until(pilot, lambda: app.progress)
        await pilot.press("space")
        for key in ("n", "y"):
            await pilot.press("c")
            await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
            assert "p resumes" in text_of(app.screen, "#said").replace("\n", " ")
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, ActivityScreen))
        app.post_message(IndexingChanged("paused"))
        await until(pilot, lambda: app.indexing == "paused")
        await pilot.press("p")
        assert asked == ["pause", "cancel", "resume"]


async def test_failures_are_retried_one_all_or_by_reason(app: DramaApp) -> None:
    """r reads the chosen file again, R all, and grouped by reason r reads all with that reason."""
    asked: list[list[Path]] = []
    app.retry = lambda paths: asked.append(list(paths))  # type: ignore[method-assign]
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        move_to(screen, LOCKED)
        await pilot.press("r", "R", "g")
        await until(pilot, lambda: listed(screen).row_count == 2)
        listed(screen).move_cursor(row=0)
        await pilot.press("r")

        assert asked[0] == [LOCKED]
        assert sorted(asked[1]) == sorted([BROKEN, TORN, LOCKED])
        assert sorted(asked[2]) == sorted([BROKEN, TORN])


async def test_muted_failures_that_are_read_again_are_named(app: DramaApp) -> None:
    """R reads muted failures too, and says how many of them there are."""
    told: list[str] = []
    app.retry = lambda paths: None  # type: ignore[method-assign]
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        move_to(screen, LOCKED)
        await pilot.press("m")
        app.say = lambda text, **more: told.append(text)  # type: ignore[method-assign,assignment]
        await pilot.press("R")
        await until(pilot, lambda: told)
        assert told == ["Reading 3 files again, 1 muted among them"]


async def test_muted_failures_are_hidden_and_can_come_back(app: DramaApp) -> None:
    """m hides a failure here and from the status line, M shows it, m on it unmutes it."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        move_to(screen, LOCKED)
        await pilot.press("m")
        await until(pilot, lambda: listed(screen).row_count == 2)
        assert app.ui.muted == [str(LOCKED)]
        assert "1 muted: M shows them" in text_of(screen, "#failures-note")
        assert "2 failed: F4" in str(screen.query_one(StatusLine).render())
        await pilot.press("M")
        await until(pilot, lambda: listed(screen).row_count == 3)
        move_to(screen, LOCKED)
        await pilot.press("m")
        assert app.ui.muted == []


async def test_details_show_all_of_it_and_act(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter shows reason and path whole and clean; keys work there too; y copies and o shows the folder."""
    did: list[object] = []
    monkeypatch.setattr("drama_app.tui.clipboard.copy", lambda _, text, what="": did.append(text) or what)
    monkeypatch.setattr("drama_app.tui.opening.show_in_folder", lambda path: did.append(path) or "")
    app.retry = lambda paths: did.append(tuple(paths))  # type: ignore[method-assign]
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        move_to(screen, BROKEN)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FailureScreen))
        said = text_of(app.screen, "Static")
        assert "damaged: no trailer" in said
        assert "[red]broken␛[31m.pdf" in said
        await pilot.press("r")
        await until(pilot, lambda: app.screen is screen)
        move_to(screen, LOCKED)
        await pilot.press("y", "o")
        await until(pilot, lambda: len(did) == 3)
        assert did == [(BROKEN,), str(LOCKED), LOCKED]


async def test_typing_narrows_the_failures(app: DramaApp) -> None:
    """/ opens a line; its words must stand in path or reason; Esc shows all again."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        await pilot.press("slash", *"damaged torn")
        await until(pilot, lambda: listed(screen).row_count == 1)
        await pilot.press(*"zz")
        await until(pilot, lambda: "No failure holds these words" in text_of(screen, "#failures-note"))
        await pilot.press("escape")
        await until(pilot, lambda: listed(screen).row_count == 3)
        assert screen.query_one("#filter", Input).value == ""
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "search")


async def test_passed_over_files_are_counted_and_listed(app: DramaApp) -> None:
    """2 lists files without text with what they are."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        await pilot.press("2")
        passed = screen.query_one("#passed-files", FailureList)
        await until(pilot, lambda: passed.row_count == 1)
        assert [str(cell) for cell in passed.get_row_at(0)] == ["/x/photo.jpg", "a photo"]
        assert screen.query_one(TabbedContent).get_tab("passed").label_text == "Passed over 1"


async def test_the_log_grows_and_names_its_file(app: DramaApp) -> None:
    """3 shows what happened, new lines as they come, foreign words clean, and where the log file is."""
    async with app.run_test(size=SIZE) as pilot:
        app.note("before the screen was there")
        screen = await show(pilot, failures=False)
        await pilot.press("3")
        app.note("a \x1b[31mred[/] word")
        lines = screen.query_one(RichLog).lines
        await until(pilot, lambda: len(lines) == 2)
        assert "a ␛[31mred[/] word" in lines[1].text
        assert "drama-app.log" in text_of(screen, "#log-note")


async def test_an_empty_list_teaches(app: DramaApp) -> None:
    """Without failures the screen says what would stand there, and keys for failures are not offered."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot, failures=False)
        await until(pilot, lambda: "Nothing failed" in text_of(screen, "#failures-note"))
        assert not screen.check_action("retry", ())
        await pilot.press("2")
        await until(pilot, lambda: "Nothing was passed over" in text_of(screen, "#passed-note"))


async def test_cancelling_is_seen_at_once(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until what is being written is finished, which may take ten seconds, panel and status line say "stopping"."""
    written = threading.Event()
    monkeypatch.setattr("drama_app.tui.indexing.Indexing.cancel", lambda _: written.wait(20))
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        app.post_message(IndexingChanged("following"))
        app.post_message(Progressed(Progress("index", 1, 2)))
        await until(pilot, lambda: screen.check_action("cancel", ()))
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: "Stopping: finishing" in text_of(screen, "#work-phase"))
        app.post_message(Progressed(Progress("index", 2, 2)))
        await pilot.pause()
        assert "stopping: finishing" in str(screen.query_one(StatusLine).render())
        assert not screen.check_action("cancel", ())
        written.set()
        await until(pilot, lambda: app.indexing == "following")


async def test_nothing_is_claimed_before_the_index_was_read(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the index opens, no list says that it is empty: five files may stand failed."""
    monkeypatch.setattr(app, "_begin", lambda: None)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(app.screen, ActivityScreen) and app.screen.is_mounted)
        await pilot.press("2")
        await until(pilot, lambda: app.screen._tab == "passed")
        await pilot.pause(0.1)
        assert text_of(app.screen, "#failures-note") == text_of(app.screen, "#passed-note") == ""
        app.open_library()
        await until(pilot, lambda: "Nothing was passed over" in text_of(app.screen, "#passed-note"))
        await until(pilot, lambda: "Nothing failed" in text_of(app.screen, "#failures-note"))


def test_failures_are_arranged_by_file_and_by_reason() -> None:
    """By file in order of reason; by reason the most frequent first; muted only when all of it is."""
    files = [Skipped(LOCKED, "encrypted"), Skipped(TORN, "damaged"), Skipped(BROKEN, "damaged")]
    assert [each.paths for each in arrange(files, by_reason=False)] == [(TORN,), (BROKEN,), (LOCKED,)]
    groups = arrange(files, by_reason=True, muted=frozenset({str(TORN), str(LOCKED)}))
    assert [(each.reason, len(each.paths), each.muted) for each in groups] == [
        ("damaged", 2, False),
        ("encrypted", 1, True),
    ]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Standing(), "opening the index"),
        (Standing(opened=True), "no folder yet: F3 adds one"),
        (Standing(True, False, None, Progress("scan"), "following"), "looking at the files"),
        (Standing(True, True, None, None, "paused"), "paused"),
        (Standing(True, True, None, Progress("index"), "stopping"), "stopping: finishing what is being written"),
        (Standing(True, True, None, None, "elsewhere"), "followed by another drama-app"),
        (Standing(True, True, None, None, "failed", "no space left"), "not followed: no space left"),
        (Standing(True, True, None, None, "following", "up to date: 1"), "up to date"),
        (Standing(True, True, None, None, "following", "catching up with the disk"), "catching up with the disk"),
        (Standing(True, True, None, None, "following", "not up to date: disk full"), "not up to date: disk full"),
        (Standing(True, True, None, Progress("tidy"), "following"), "tidying the index"),
        (
            Standing(True, True, None, Progress("index", 120, 500, 9, 0, 27.0, 180.0), "following"),
            "indexing 120 of 500, 27 passages/s, 3 min left",
        ),
        (
            Standing(True, True, None, Progress("index", 52, 53, 9, 0, 0.9, 180.0), "following"),
            "indexing 52 of 53, 1 passage/s, 3 min left",
        ),
    ],
)
def test_each_state_has_its_phrase(now: Standing, said: str) -> None:
    """The status line says what goes on in a phrase that a stranger understands."""
    assert describe_standing(now)[0] == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(2, "a moment"), (30, "under 1 min"), (95, "2 min"), (7300, "2 h 1 min"), (864_000, "10 days")],
)
def test_a_wait_is_told_without_false_digits(seconds: float, said: str) -> None:
    """Time left is an estimate and told like one."""
    assert describe_wait(seconds) == said


@pytest.mark.parametrize("width", [30, 60, 100])
async def test_the_status_line_fits(app: DramaApp, width: int) -> None:
    """At any width the state is there and the line is one line."""
    async with app.run_test(size=(width, 20)) as pilot:
        screen = await show(pilot)
        app.post_message(IndexingChanged("following"))
        await until(pilot, lambda: app.indexing == "following")
        line = screen.query_one(StatusLine).render()
        assert "up to date" in line.plain
        assert "3 failed: F4" in line.plain
        assert line.cell_length <= width - 2


async def test_the_time_left_stands_before_the_counts(app: DramaApp) -> None:
    """At 80 columns what indexing does is whole, and the number of documents gives way to it."""
    async with app.run_test(size=(80, 20)) as pilot:
        screen = await show(pilot)
        status = screen.query_one(StatusLine)
        await until(pilot, lambda: "documents, " in status.render().plain)
        app.progress = Progress("index", 5_200, 53_000, 9, 0, 27.0, 7_300.0)
        line = status.render()
        assert line.plain == "indexing 5,200 of 53,000, 27 passages/s, 2 h 1 min left · 3 failed: F4"
        assert line.cell_length <= 78
