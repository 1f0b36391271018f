"""Everything that must hold before a change lands: lint, types, import contracts, tests. `python tests/check.py`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS = (
    (str(BIN / "ruff"), "check", "."),
    (str(BIN / "ruff"), "format", "--check", "."),
    (str(BIN / "mypy"),),
    (str(BIN / "lint-imports"),),
    (sys.executable, "-m", "pytest"),
)


def main() -> int:
    """Runs the checks in order; the first that fails decides."""
    for command in CHECKS:
        print(f"== {Path(command[0]).name} {' '.join(command[1:])}", flush=True)
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
