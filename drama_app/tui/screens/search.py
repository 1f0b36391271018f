"""The search screen: asks as one types, shows what was found, and keeps all of it while the index changes below.

Owns the parts, what is typed, the conditions and what is said of the state. `asking` asks, `hit_actions` acts on hits.
"""

from dataclasses import replace
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.screen import Screen
from textual.widgets import Input, Static

from drama_app.conditions import Chip, add_chips, split_query
from drama_app.errors import UsageError
from drama_app.output import clean_for_terminal
from drama_app.records import Mode, Status
from drama_app.tui.advice import Situation, describe_nothing, describe_notice, describe_state
from drama_app.tui.history import Walk
from drama_app.tui.messages import SearchInside
from drama_app.tui.screens.asking import DEBOUNCE, AskingScreen
from drama_app.tui.screens.commands import SearchCommands
from drama_app.tui.searching import PAGE
from drama_app.tui.widgets.filter_bar import ChipRow, FilterBar
from drama_app.tui.widgets.key_line import KeyLine
from drama_app.tui.widgets.navigation import WIDE, Navigation
from drama_app.tui.widgets.preview import Preview
from drama_app.tui.widgets.result_list import ResultList
from drama_app.tui.widgets.search_bar import MODES, ModeBadge, QueryInput, SearchBar
from drama_app.tui.widgets.splitter import Splitter, limit_share
from drama_app.tui.widgets.status_line import StatusLine

SHARE_STEP = 5  # percent
TALL = 28  # rows


class SearchScreen(AskingScreen):
    """Query, conditions, hits and the document at the cursor."""

    COMMANDS = Screen.COMMANDS | {SearchCommands}
    VERTICAL_BREAKPOINTS = [(0, "-short"), (TALL, "-tall")]  # noqa: RUF012 - Textual declares a field
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "mode", "Mode", id="search.mode", show=False),
        Binding("f6", "mode", "Mode", id="search.mode"),
        Binding("f", "filter", "Filter", id="search.filter", show=False),
        Binding("f7", "filter", "Filter", id="search.filter"),
        Binding("up", "move(-1)", "Previous hit", id="search.up", show=False),
        Binding("down", "move(1)", "Next hit", id="search.down", show=False),
        Binding("home,ctrl+home", "move(-100000)", "First hit", id="search.first", show=False),
        Binding("end,ctrl+end", "move(100000)", "Last hit", id="search.last", show=False),
        Binding("pageup", "page(-1)", "Preview up", id="search.page_up", show=False),
        Binding("pagedown", "page(1)", "Preview down", id="search.page_down", show=False),
        Binding("ctrl+up", "recall_before", "Query before", id="search.history_back", show=False),
        Binding("ctrl+down", "recall_after", "Query after", id="search.history_forth", show=False),
        Binding("left_square_bracket", "share(5)", "Larger preview", id="search.preview_larger", show=False),
        Binding("right_square_bracket", "share(-5)", "Smaller preview", id="search.preview_smaller", show=False),
        Binding("slash", "type", "Query", id="search.type", show=False),
        Binding("escape", "back", "Back", id="search.back", show=False),
    ]
    DEFAULT_CSS = """
    SearchScreen {
        & > #state { height: 1; color: $text-muted; padding: 0 2; text-wrap: nowrap; text-overflow: ellipsis; }
        & > #notice {
            height: auto; max-height: 2; padding: 0 2; color: $text-warning; text-style: bold; display: none;
        }
        &.-told > #state { height: auto; max-height: 2; text-wrap: wrap; }
        &.-hopeless > #notice { display: block; }
        & > #panes { layout: horizontal; height: 1fr; display: none; }
        & > #nothing { height: 1fr; padding: 1 4; }
        & > #nothing > Static { height: auto; width: 1fr; max-width: 80; }
        &.-found > #panes { display: block; }
        &.-found > #nothing { display: none; }
        & ResultList { width: 1fr; height: 1fr; }
        & Preview { height: 1fr; }
        &.-narrow > #panes { layout: vertical; }
        &.-narrow Preview { width: 1fr; }
        &.-short > Navigation { display: none; }
        &.-short > SearchBar { height: 1; border: none; }
        &.-short > #nothing { padding: 0 2; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._walk = Walk()
        self._can_act = False

    def compose(self) -> ComposeResult:
        """Parts."""
        self._take_size()
        yield Navigation("search")
        yield SearchBar()
        yield FilterBar()
        yield Static(id="state")
        yield Static(id="notice", markup=False)
        with Container(id="panes"):
            yield ResultList(id="results")
            yield Splitter()
            yield Preview()
        with VerticalScroll(id="nothing", can_focus=False):
            yield Static()
        yield StatusLine()
        yield KeyLine()

    def _take_size(self) -> None:
        """The classes of the size before the parts are made: they would be styled once more, 50 ms of the start."""
        width, height = self.app.size
        for name, meets in (("-wide", width >= WIDE), ("-narrow", width < WIDE), ("-tall", height >= TALL),
                            ("-short", height < TALL)):  # fmt: skip
            self.set_class(meets, name, update=False)

    def on_mount(self) -> None:
        """The query has the focus; the app's state flows down from here on."""
        self.bar.show_mode(self.mode)
        self.bar.input.focus()
        self._arrange()
        self.watch(self.app, "library", self._on_library)
        self.watch(self.app, "opened", self.describe)
        self.watch(self.app, "progress", self.describe)
        self.watch(self.app, "status", self._on_status)

    # --- typing ----------------------------------------------------------------------------------------------

    @on(Input.Changed, "#query")
    def _on_typed(self, _: Input.Changed) -> None:
        value = self.bar.input.value  # the event's own may be older: what was typed since would be lost
        rest, chips, self.hint = split_query(value)
        if chips and self._add(chips):
            self.bar.input.value = rest  # comes back here without them
            self.bar.input.cursor_position = len(rest)
            return
        self.similar = None if value.strip() else self.similar
        if self._is_answered and not self.wanted.is_empty:
            self.describe()  # a space more
            return
        self.limit = PAGE
        self._show_chips()
        self.ask(delay=DEBOUNCE)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter in an empty query does nothing, and its name is not shown."""
        if action == "enter" and self.hit is None:
            return self.is_mounted and bool(self.bar.input.value.strip())
        return super().check_action(action, parameters)

    async def action_enter(self) -> None:
        """Asks at once, or opens the hit."""
        await self.bar.input.action_submit()

    @on(Input.Submitted, "#query")
    def _on_submitted(self, event: Input.Submitted) -> None:
        before = self.hint
        rest, chips, self.hint = split_query(f"{event.value} ")
        if chips and self._add(chips):
            self.bar.input.value = rest.rstrip()
        elif self.hint not in ("", before):
            self.describe()  # read before a hit is opened that was found without the refused condition
        elif self.is_waiting or (self.asked is None and self.error):
            self.ask()
        elif self.asked is None:
            self.action_open()

    @on(QueryInput.EdgePassed)
    def _on_edge(self, event: QueryInput.EdgePassed) -> None:
        self.action_move(event.side * len(self.result_list.hits))

    def action_type(self) -> None:
        """Goes to the query."""
        self.bar.input.focus()

    def action_recall_before(self) -> None:
        """The query before."""
        self._recall(self._walk.back(self.drama.ui.history, self.bar.input.value))

    def action_recall_after(self) -> None:
        """The query after."""
        self._recall(self._walk.forth(self.bar.input.value))

    def action_recall(self, index: int) -> None:
        """One of the last queries, the newest is 0."""
        recent = self.drama.ui.history[::-1]
        if index < len(recent):
            self._recall(recent[index])

    def _recall(self, query: str | None) -> None:
        if query is not None:
            self.bar.input.value = query
            self.bar.input.cursor_position = len(query)
            self.bar.input.focus()

    def action_clear_history(self) -> None:
        """Forgets what was asked."""
        self.drama.ui.history.clear()
        self.drama.say("The history of queries is empty now")
        self.describe()

    # --- mode, conditions, similar ---------------------------------------------------------------------------

    @on(ModeBadge.Clicked)
    def action_mode(self) -> None:
        """The next mode; hits stay until the new ones come."""
        modes = list(MODES)
        self.action_use_mode(modes[(modes.index(self.mode) + 1) % len(modes)])

    def action_use_mode(self, mode: Mode) -> None:
        """Searches the same query in another way."""
        self.drama.ui.mode = mode
        self.bar.show_mode(mode)
        self.ask()

    def action_filter(self) -> None:
        """Opens the line in which a condition is typed."""
        self.query_one(FilterBar).open()

    @on(FilterBar.Added)
    def _on_added(self, event: FilterBar.Added) -> None:
        if self._add(event.chips):
            self.ask()

    @on(FilterBar.LastRemoved)
    def _on_last_removed(self) -> None:
        if self.chips:
            self._change_chips(self.chips[:-1])

    @on(ChipRow.Removed)
    def _on_removed(self, event: ChipRow.Removed) -> None:
        if event.index is None or event.index == -1:
            self.similar = None
        kept = () if event.index is None else (each for place, each in enumerate(self.chips) if place != event.index)
        self._change_chips(tuple(kept))

    @on(FilterBar.Closed)
    def _on_closed(self) -> None:
        if self.focused is None or self.focused.id in (None, "filter"):
            self.bar.input.focus()

    def on_search_inside(self, message: SearchInside) -> None:
        """Another screen names a folder: it takes the place of other folders."""
        self.bar.input.focus()
        self.similar = None
        self._change_chips((*(chip for chip in self.chips if chip.key != "in"), Chip("in", str(message.path))))

    def action_clear_filters(self) -> None:
        """Takes all conditions away."""
        self.similar = None
        self._change_chips(())

    def _add(self, chips: tuple[Chip, ...]) -> bool:
        try:
            self.chips = add_chips(self.chips, chips)
        except UsageError as error:
            self.hint = str(error)
            self.describe()
            return False
        self.limit, self.hint = PAGE, ""
        self._show_chips()
        return True

    def _change_chips(self, chips: tuple[Chip, ...]) -> None:
        self.chips, self.limit, self.hint = chips, PAGE, ""
        self._show_chips()
        self.ask()

    def _show_chips(self) -> None:
        self.query_one(FilterBar).show(self.chips, self.similar[0].name if self.similar else "")

    def action_similar(self) -> None:
        """Shows what is like the document, or like its page."""
        hit, passage = self.hit, self.passage
        if hit is not None:
            self.similar = (hit.path, passage.page if passage else None)
            self._change_chips(self.chips)

    def action_repeat(self) -> None:
        """Asks again: the index may have changed."""
        self.ask()

    # --- the index changes -----------------------------------------------------------------------------------

    def _on_library(self) -> None:
        if self.drama.library is not None and not self.wanted.is_empty:
            self.ask()
        self.describe()

    def _on_status(self, status: Status | None) -> None:
        if status is not None:
            roots = tuple(root.path for root in status.roots)
            bar = self.query_one(FilterBar)
            kinds, languages = tuple(status.kinds), tuple(status.languages)
            bar.choices = replace(bar.choices, roots=roots, kinds=kinds, languages=languages)
        self.refresh_quietly()
        self.describe()

    def on_screen_resume(self) -> None:
        """What changed while another screen was shown."""
        self.refresh_quietly()

    # --- showing ---------------------------------------------------------------------------------------------

    def describe(self) -> None:
        """Says where things stand."""
        now = self._situation()
        told = bool(now.error or now.hint)
        self.set_class(told, "-told")
        self.query_one("#state", Static).update(describe_state(now), layout=told)
        self.query_one("#notice", Static).update(clean_for_terminal(describe_notice(now)))
        if not self.has_class("-found"):
            recent = tuple(self.drama.ui.history[::-1])
            self.query_one("#nothing > Static", Static).update(describe_nothing(now, recent))

    def _situation(self) -> Situation:
        return Situation(
            opened=self.drama.opened,
            has_index=self.drama.library is not None,
            status=self.drama.status,
            progress=self.drama.progress,
            request=self.answered if self.results is not None else self.wanted,
            results=self.results,
            searching=self.asked is not None,
            error=self.error or self.drama.trouble,
            hint=self.hint or self.why_nothing,
            chosen=len(self.result_list.chosen),
            missing_phrase=self.missing_phrase,
        )

    @on(ResultList.ChoiceChanged)
    def _on_choice(self) -> None:
        self.describe()

    @on(ResultList.Highlighted)
    def _on_highlighted(self, event: ResultList.Highlighted) -> None:
        self.update_preview()
        if (event.hit is None) == self._can_act:  # other keys work now
            self._can_act = event.hit is not None
            self.refresh_bindings()

    @on(ResultList.Opened)
    def _on_opened(self) -> None:
        self.action_open()

    def action_move(self, by: int) -> None:
        """Moves the cursor of the hits, wherever the focus is."""
        self.result_list.move(by)

    @on(Splitter.Moved)
    def _on_split(self, event: Splitter.Moved) -> None:
        self.drama.ui.preview_percent = event.percent
        self._arrange()

    def action_share(self, by: int) -> None:
        """Gives the preview more or less."""
        self.drama.ui.preview_percent = limit_share(self.drama.ui.preview_percent + by)
        self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        """Stacks the panes where it is narrow."""
        self._arrange(narrow=event.size.width < WIDE)

    def _arrange(self, *, narrow: bool | None = None) -> None:
        narrow = self.size.width < WIDE if narrow is None else narrow
        share = f"{limit_share(self.drama.ui.preview_percent)}%"
        self.query_one(Splitter).set_class(narrow, "-level")
        self.preview.styles.width = "1fr" if narrow else share
        self.preview.styles.height = share if narrow else "1fr"

    def action_back(self) -> None:
        """Closes the top layer, then lets go of what is selected, of the query, of filters. It never leaves."""
        if self.query_one(FilterBar).is_open:
            self.query_one(FilterBar).close()
        elif self.similar is not None:
            self.similar = None
            self._change_chips(self.chips)
        elif self.focused is not self.bar.input:
            self.bar.input.focus()
        elif self.result_list.chosen:
            self.result_list.let_go()
        elif self.bar.input.value or not self.chips:
            self.bar.input.value = ""
        else:
            self._change_chips(())
