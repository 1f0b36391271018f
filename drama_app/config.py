"""Settings: what a person can choose, where each value came from, and where the app keeps its folders.

Owns precedence (flags, environment, the user's own file, defaults) and the names of every folder. The only file ever
read is `config.toml` in the user's configuration folder: a configuration found in a searched folder is somebody
else's and never read. Nothing is created here until a caller asks for it with `make_private`.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from drama_app.errors import UsageError

APP = "drama-app"
PREFIX = "DRAMA_APP_"
CONFIG_NAME = "config.toml"
MEBIBYTE = 1024 * 1024
THEMES = ("auto", "dark", "light", "contrast")
KEYS = "keys"  # the table of the file that no variable and no flag stands for
TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _option(default: Any, key: str, sentence: str) -> Any:
    """A field that a person may set: its key in the file and its sentence, which `config init` writes out."""
    return field(default=default, metadata={"key": key, "sentence": sentence})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the app lets a person choose; checked when made."""

    data_folder: Path
    """Holds the index and nothing else of value."""
    config_folder: Path
    """Holds `config.toml`."""
    state_folder: Path
    """Holds what survives a restart but can be lost: locks, what `watch` last said."""
    cache_folder: Path
    """Holds what can be made again."""
    log_folder: Path
    """Holds the log file."""
    hidden: bool = _option(False, "index.hidden", "Index files and folders whose name starts with a dot.")
    ignore: tuple[str, ...] = _option(
        (), "index.ignore", 'More patterns to pass over, as in a .gitignore, for example ["*.bak", "archive/"].'
    )
    max_file_megabytes: int = _option(256, "index.max_file_megabytes", "A larger file is failed.")
    workers: int = _option(0, "extraction.workers", "Processes that read files; 0 chooses by the number of cores.")
    timeout_seconds: float = _option(120.0, "extraction.timeout_seconds", "A file that takes longer to read is failed.")
    memory_megabytes: int = _option(
        400, "extraction.memory_megabytes", "A file that needs more memory than this to read is failed."
    )
    retriever: Path | None = _option(  # noqa: RUF009 - the call makes a dataclass field
        None,
        "retriever.folder",
        "The retriever of a new index, in place of the shipped one; an index that is there: drama-app model use.",
    )
    threads: int = _option(0, "retriever.threads", "Threads of the encoder; 0 uses every core that the app may use.")
    poll_seconds: float = _option(
        30.0, "watch.poll_seconds", "How often to look at folders whose changes the system does not report."
    )
    settle_seconds: float = _option(
        0.5, "watch.settle_seconds", "How long changes must have come to rest before they are indexed."
    )
    theme: str = _option("auto", "ui.theme", "auto (as dark as the terminal), dark, light or contrast.")
    mouse: bool = _option(True, "ui.mouse", "Click, scroll and drag; false leaves the mouse to the terminal.")
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of the terminal UI by action, from the table `[keys]`: {"search.open": "enter,ctrl+m"}."""

    def __post_init__(self) -> None:
        for name in ("data_folder", "config_folder", "state_folder", "cache_folder", "log_folder"):
            if not getattr(self, name).is_absolute():
                raise UsageError(f"{name.replace('_', ' ')} must be an absolute path, not {getattr(self, name)}")
        _check_range("index.max_file_megabytes", self.max_file_megabytes, 1, 1_000_000)
        _check_range("extraction.workers", self.workers, 0, 256)
        _check_range("extraction.timeout_seconds", self.timeout_seconds, 0.1, 86_400)
        # Below this the worker cannot even import the PDF and office readers.
        _check_range("extraction.memory_megabytes", self.memory_megabytes, 256, 1_000_000)
        _check_range("retriever.threads", self.threads, 0, 1024)
        _check_range("watch.poll_seconds", self.poll_seconds, 0.1, 86_400)
        _check_range("watch.settle_seconds", self.settle_seconds, 0.0, 3_600)
        if self.theme not in THEMES:
            raise UsageError(f"ui.theme must be one of {', '.join(THEMES)}, not {self.theme!r}")
        if any("\n" in pattern or not pattern.strip() for pattern in self.ignore):
            raise UsageError("index.ignore holds an empty pattern or one with a line break; give one pattern an item")

    @property
    def config_file(self) -> Path:
        """The only configuration file that is read."""
        return self.config_folder / CONFIG_NAME

    @property
    def log_file(self) -> Path:
        """Where tracebacks go."""
        return self.log_folder / "drama-app.log"

    @property
    def max_file_bytes(self) -> int:
        """`max_file_megabytes` in bytes."""
        return self.max_file_megabytes * MEBIBYTE


@dataclass(frozen=True, slots=True)
class Choice:
    """One setting as `config show` prints it."""

    key: str
    """The key's path in the file, "folder.data" and so on for folders."""
    value: object
    origin: str
    """"flag", "environment DRAMA_APP_THREADS", the file's path, or "default"."""


def load_settings(flags: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Returns the settings in force; `flags` maps field names to values, None meaning "not given".

    Raises:
        UsageError: a value, a key or the file is wrong; the text names it.
    """
    return resolve_settings(flags, environment)[0]


def default_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Returns the settings of somebody who has chosen none but where things are."""
    return Settings(**_find_folders(os.environ if environment is None else environment)[0])  # type: ignore[arg-type]


def resolve_settings(
    flags: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None
) -> tuple[Settings, tuple[Choice, ...]]:
    """Like `load_settings`, with the origin of each value."""
    environment = os.environ if environment is None else environment
    folders, folder_origin = _find_folders(environment)
    values: dict[str, object] = dict(folders)
    origins = dict.fromkeys(folders, folder_origin)
    config_file = folders["config_folder"] / CONFIG_NAME
    for origin, layer in (
        (str(config_file), _read_file(config_file)),
        ("environment", _read_environment(environment)),
        ("flag", {name: value for name, value in (flags or {}).items() if value is not None}),
    ):
        for name, value in layer.items():
            values[name] = value
            origins[name] = f"{origin} {_variable(name)}" if origin == "environment" else origin
    settings = Settings(**values)  # type: ignore[arg-type]  # each layer has checked its types by `_convert`
    choices = [
        Choice(_key(item), getattr(settings, item.name), origins.get(item.name, "default"))
        for item in fields(settings)
        if item.name != KEYS
    ]
    choices += [Choice(f"{KEYS}.{action}", keys, str(config_file)) for action, keys in settings.keys.items()]
    return settings, tuple(choices)


def make_private(folder: Path) -> Path:
    """Creates a folder of ours, readable by its owner only, with whatever is missing above it; returns it."""
    if not folder.is_dir():
        if not folder.parent.is_dir():
            make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def measure_folder(folder: Path) -> int:
    """Bytes below a folder; a writer may remove files meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(place, name)).st_size  # noqa: PTH116, PTH118  half the time of Path
    return total


def describe_template() -> str:
    """Returns a commented `config.toml` that changes nothing until a line is uncommented."""
    lines = [
        "# Settings of drama-app. Every line below shows its default; uncomment a line to change it.",
        "# A flag on the command line and a DRAMA_APP_* variable in the environment go before this file.",
    ]
    table = ""
    for item in _options():
        head, _, name = _key(item).partition(".")
        if head != table:
            lines += ["", f"[{head}]"]
            table = head
        example = '"/path/to/a/retriever"' if item.name == "retriever" else show_value(item.default)
        lines += [f"# {item.metadata['sentence']} Or {_variable(item.name)}.", f"# {name} = {example}"]
    lines += ["", f"[{KEYS}]", "# Keys of the terminal UI by action, as its help (F1) names them; several by commas."]
    lines += ['# "search.open" = "enter"']
    return "\n".join(lines) + "\n"


def show_value(value: object) -> str:
    """Returns a value as TOML writes it, "(none)" for one that is not set."""
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(show_value(item) for item in value) + "]"
    if isinstance(value, (str, Path)):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def _options() -> list[Any]:
    return [item for item in fields(Settings) if item.metadata]


def _key(item: Any) -> str:
    return str(item.metadata["key"] if item.metadata else "folder." + item.name.removesuffix("_folder"))


def expand_home(path: Path | str) -> Path:
    """The path with a leading "~" or "~name" opened out.

    Raises:
        UsageError: it is a home folder of nobody.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: there is no such home folder; put ./ before a name that begins with ~") from error


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _find_folders(environment: Mapping[str, str]) -> tuple[dict[str, Path], str]:
    """Returns the five folders and their origin."""
    home = environment.get(PREFIX + "HOME", "")
    if home:
        base = expand_home(home).absolute()
        names = {"data": "data", "config": "config", "state": "state", "cache": "cache", "log": "logs"}
        return {f"{key}_folder": base / name for key, name in names.items()}, f"environment {PREFIX}HOME"
    from platformdirs import PlatformDirs

    dirs = PlatformDirs(APP, appauthor=False)
    return {
        "data_folder": dirs.user_data_path,
        "config_folder": dirs.user_config_path,
        "state_folder": dirs.user_state_path,
        "cache_folder": dirs.user_cache_path,
        "log_folder": dirs.user_log_path,
    }, "default"


def _read_environment(environment: Mapping[str, str]) -> dict[str, object]:
    known = {_variable(item.name): item for item in _options()}
    values: dict[str, object] = {}
    for variable in sorted(name for name in environment if name.startswith(PREFIX) and name != PREFIX + "HOME"):
        if variable not in known:
            raise UsageError(f"unknown setting {variable} in the environment{suggest(variable, known)}")
        if environment[variable] != "":
            values[known[variable].name] = _parse(variable, environment[variable], known[variable])
    return values


def _parse(variable: str, text: str, item: Any) -> object:
    """Turns the text of an environment variable into the type of its setting."""
    if isinstance(item.default, bool):
        return _convert(variable, TRUTH.get(text.strip().lower(), text), item)
    if isinstance(item.default, tuple):
        return tuple(part for part in text.split(os.pathsep) if part)
    if isinstance(item.default, (int, float)):
        number: Callable[[str], object] = int if isinstance(item.default, int) else float
        try:
            return number(text)
        except ValueError:
            return _convert(variable, text, item)
    return _convert(variable, text, item)


def _read_file(path: Path) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows write a byte order mark
        import tomllib  # here: 4 ms of every start, and most people have no such file

        content = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except OSError as error:
        said = f"cannot read the configuration {path}: {error.strerror}"
        raise UsageError(f"{said}; see that you may read it, or move it away") from error
    except ValueError as error:  # not UTF-8 and not TOML
        raise UsageError(f"cannot read the configuration {path}: {error}; correct it or move it away") from error
    known = {_key(item): item for item in _options()}
    tables = {key.partition(".")[0] for key in known}
    values: dict[str, object] = {}
    if KEYS in content:
        values[KEYS] = _read_keys(content.pop(KEYS), path)
    for table, entries in content.items():
        if table not in tables or not isinstance(entries, dict):
            raise UsageError(f"unknown table or key {table!r} in {path}{_suggest_place(table, known, tables)}")
        for name, value in entries.items():
            key = f"{table}.{name}"
            if key not in known:
                raise UsageError(f"unknown key {key!r} in {path}{suggest(key, known)}")
            values[known[key].name] = _convert(f"{key} in {path}", value, known[key])
    return values


def _read_keys(table: object, path: Path) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(keys, str) and keys for keys in table.values()):
        raise UsageError(f'[{KEYS}] in {path} must hold lines such as "search.open" = "enter"')
    return {str(action): keys for action, keys in table.items()}


def _suggest_place(word: str, known: Mapping[str, object], tables: set[str]) -> str:
    """Where a key belongs that was written outside its table; else the nearest name of a table or key."""
    owners = {key.partition(".")[2]: key.partition(".")[0] for key in known}
    if word in owners:
        return f"; it belongs below the line [{owners[word]}]"
    return suggest(word, tables | owners.keys())


def _convert(where: str, value: object, item: Any) -> object:
    """Returns `value` in the setting's type, or says which type it should have."""
    default = item.default
    if isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        fits, wanted = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif isinstance(default, float):
        fits, wanted = isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
        value = float(value) if fits and isinstance(value, (int, float)) else value
    elif isinstance(default, tuple):
        fits, wanted = isinstance(value, list) and all(isinstance(part, str) for part in value), "a list of texts"
        value = tuple(value) if fits and isinstance(value, list) else value
    elif isinstance(default, str):
        fits, wanted = isinstance(value, str), "a text"
    else:
        fits, wanted = isinstance(value, str) and value != "", "a path"
        value = expand_home(value).absolute() if fits and isinstance(value, str) else value
    if not fits:
        raise UsageError(f"{where} must be {wanted}, not {value!r}")
    return value


def _check_range(key: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # NaN fails too
        raise UsageError(f"{key} must be between {least} and {most}, not {value}")


def suggest(word: str, known: Mapping[str, object] | set[str]) -> str:
    """Returns "; did you mean ...?" for the nearest known word, else ""."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
