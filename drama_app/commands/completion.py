"""Print a completion script for a shell.

bash:  drama-app completion bash > ~/.local/share/bash-completion/completions/drama-app
zsh:   drama-app completion zsh > a folder of $fpath, named _drama-app
tcsh:  drama-app completion tcsh | source /dev/stdin
fish:  drama-app completion fish > ~/.config/fish/completions/drama-app.fish
"""

import argparse

from drama_app.config import Settings
from drama_app.output import Output

NAME = "completion"
HELP = "print a completion script for a shell"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh", "fish"))


def run(arguments: argparse.Namespace, _: Settings, output: Output) -> int:
    """Prints the script."""
    import shtab

    output.write_line(shtab.complete(arguments.root_parser, shell=arguments.shell))
    return 0
