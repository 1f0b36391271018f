"""What keeps the project readable: sizes, lazy imports, one set of commands, an installable wheel."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted([*ROOT.glob("drama_app/**/*.py"), *ROOT.glob("trainer/**/*.py")])
HEAVY = {"lancedb", "pyarrow", "numpy", "onnxruntime", "tokenizers", "pypdf", "lxml", "openpyxl", "rich", "torch",
         "transformers", "textual", "py3langid", "watchdog"}  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    """No module is longer than 400 lines and no function longer than 40."""
    text = path.read_text(encoding="utf-8")
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    assert text.count("\n") <= 400
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= 40] == []


def loaded_by(code: str) -> set[str]:
    """Top-level packages in a clean interpreter after `code`."""
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import drama_app.cli; drama_app.cli.build_parser().format_help()", set()),
        ("import drama_app.library", set()),
        ("import drama_app.search, drama_app.rank, drama_app.store, drama_app.embed", set()),
        ("import drama_app.extract.worker, drama_app.extract", set()),
    ],
)
def test_imports_are_lazy(code: str, allowed: set[str]) -> None:
    """Nothing heavy is imported before it is used."""
    assert loaded_by(code) & HEAVY <= allowed


def test_readme_and_ci_run_the_same_commands() -> None:
    """The two commands of the README are the ones that are checked."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [line for line in readme.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_dependency_has_its_reason() -> None:
    """Each line of a dependency list says why it is there."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"].values()
    for requirement in (*project["dependencies"], *(each for extra in extras for each in extra)):
        name = re.escape(f'"{requirement}"')
        assert re.search(rf"^  {name},\s+# \S", text, re.MULTILINE), requirement
