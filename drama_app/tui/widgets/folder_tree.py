"""The folders of the disk as a tree to pick from; lists in threads, as Textual's own tree does."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DirectoryTree
from textual.widgets.directory_tree import DirEntry
from textual.widgets.tree import TreeNode

from drama_app.output import clean_for_terminal


class FolderTree(DirectoryTree):
    """Folders only, without hidden ones."""

    ICON_NODE = "▸ "
    ICON_NODE_EXPANDED = "▾ "
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Follow it", id="folders.choose"),
        Binding("space", "toggle_node", "Open or close", id="folders.toggle"),
        Binding("right", "open", "Open", id="folders.open", show=False),
        Binding("left", "shut", "Close", id="folders.shut", show=False),
    ]
    DEFAULT_CSS = """
    FolderTree { background: $surface; scrollbar-size-vertical: 1; }
    """

    @dataclass
    class Chosen(Message):
        """Enter was pressed on a folder."""

        path: Path

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        """Keeps folders that one sees."""
        return [path for path in paths if not path.name.startswith(".") and self._is_folder(path)]

    @staticmethod
    def _is_folder(path: Path) -> bool:
        try:
            return path.is_dir() and not path.is_symlink()
        except OSError:
            return False

    def render_label(self, node: TreeNode[DirEntry], base_style: Style, style: Style) -> Text:
        """A name, cleaned."""
        icon = self.ICON_NODE_EXPANDED if node.is_expanded else self.ICON_NODE
        name = Text(clean_for_terminal(str(node.label)))
        name.stylize(style)
        return Text.assemble((icon, base_style), name)

    @property
    def here(self) -> Path | None:
        """The folder at the cursor."""
        node = self.cursor_node
        return Path(node.data.path) if node is not None and node.data is not None else None

    def action_choose(self) -> None:
        """Asks for the folder at the cursor."""
        if self.here is not None:
            self.post_message(self.Chosen(self.here))

    def action_open(self) -> None:
        """Opens the folder, or goes to its first one."""
        node = self.cursor_node
        if node is not None and node.is_expanded:
            self.action_cursor_down()
        elif node is not None:
            node.expand()

    def action_shut(self) -> None:
        """Closes the folder, or goes up to the one that holds it."""
        node = self.cursor_node
        if node is not None and node.is_expanded and node is not self.root:
            node.collapse()
        else:
            self.action_cursor_parent()
