"""What the search screen adds to the palette: everything it can do that has no key at this moment."""

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from drama_app.tui.screens.actions import ACTIONS
from drama_app.tui.widgets.search_bar import MODES


class SearchCommands(Provider):
    """Commands of the search screen."""

    def _commands(self) -> Iterator[tuple[str, str, str]]:
        """Title, what it does, action."""
        listed = {each.binding.action for each in self.screen.active_bindings.values()}
        for each in ACTIONS:
            if each.action not in listed and self.screen.check_action(each.action, ()):
                yield each.name, each.title, each.action
        for mode, name in MODES.items():
            yield f"Search by {name}", "how the query is searched for", f"use_mode('{mode}')"
        yield "Clear filters", "search everything again", "clear_filters"
        yield "Clear history", "forget the queries that were asked before", "clear_history"

    async def discover(self) -> Hits:
        """All of them."""
        for title, about, action in self._commands():
            yield DiscoveryHit(title, partial(self.screen.run_action, action), help=about)

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for title, about, action in self._commands():
            score = max(matcher.match(title), matcher.match(about) * 0.8)
            if score > 0:
                yield Hit(score, matcher.highlight(title), partial(self.screen.run_action, action), help=about)
