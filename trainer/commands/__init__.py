"""The verbs of `drama-train`, each with NAME, HELP, `declare` and `run`: one calls one stage and tells of it."""

from trainer.commands import evaluate, export, report
from trainer.commands.stage import STAGE_VERBS

VERBS = (*STAGE_VERBS, evaluate, export, report)
