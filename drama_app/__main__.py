"""Lets `python -m drama_app` start the program."""

import sys

from drama_app.cli import main

if __name__ == "__main__":
    sys.exit(main())
