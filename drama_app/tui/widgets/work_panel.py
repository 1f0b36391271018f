"""What indexing does just now: phase, bar, counts, rate, time left, the file at hand. Still while nothing runs."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import ProgressBar, Static

from drama_app.listing import count_of, shorten_path
from drama_app.records import Progress
from drama_app.tui.standing import Standing, describe_standing, describe_wait
from drama_app.tui.widgets.root_table import shorten_middle
from drama_app.tui.widgets.status_line import STYLES


class WorkPanel(Vertical):
    """Three lines and a bar."""

    DEFAULT_CSS = """
    WorkPanel {
        height: auto; padding: 0 1;
        & > Static { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & > #work-current { color: $text-muted; }
        & > ProgressBar { width: 100%; height: 1; }
        & > ProgressBar Bar { width: 1fr; }
    }
    """

    def compose(self) -> ComposeResult:
        """Parts."""
        yield Static(id="work-phase")
        yield ProgressBar(total=1, show_eta=False)
        yield Static(id="work-counts")
        yield Static(id="work-current")

    def show(self, now: Standing) -> None:
        """Shows how indexing stands."""
        progress = now.progress
        said, meaning = describe_standing(now)
        bar = self.query_one(ProgressBar)
        bar.display = progress is not None and progress.phase != "scan" and progress.files_total > 0
        counts = current = Content("")
        if progress is not None:
            phases = {"scan": "Looking at the files", "index": "Indexing", "tidy": "Tidying the index"}
            said = said if now.indexing == "stopping" else phases[progress.phase]
            bar.update(total=max(progress.files_total, 1), progress=progress.files_done)
            counts = self._count(progress)
            if progress.current is not None:
                room = max(self.size.width - 4, 10)
                current = Content(shorten_middle(shorten_path(progress.current), room))
        self.query_one("#work-phase", Static).update(
            Content.styled(said[:1].upper() + said[1:], f"bold {STYLES[meaning]}")
        )
        for part, text in (("#work-counts", counts), ("#work-current", current)):
            self.query_one(part, Static).update(text)
            self.query_one(part).display = progress is not None

    @staticmethod
    def _count(progress: Progress) -> Content:
        if progress.phase == "scan":
            return Content("")
        parts = [f"{progress.files_done:,} of {count_of(progress.files_total, 'file')}"]
        parts.append(count_of(progress.passages, "passage"))
        if progress.passages_per_second:
            parts.append(f"{progress.passages_per_second:,.0f}/s")
        if progress.seconds_left is not None:
            parts.append(f"{describe_wait(progress.seconds_left)} left")
        if progress.failed:
            parts.append(f"{progress.failed:,} failed")
        return Content(" · ".join(parts))
