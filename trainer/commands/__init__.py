"""The verbs of `drama-train`: a module each, with NAME, HELP, `declare` and `run`.

Each calls one stage and tells what came of it.
"""

from trainer.commands import evaluate

VERBS = (evaluate,)
