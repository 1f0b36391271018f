"""The verbs, in the order in which help lists them: a module each, with NAME, HELP, `declare` and `run`."""

from drama_app.commands import completion, config, doctor, forget, index, model, purge, search, status, watch

VERBS = (index, search, watch, status, doctor, forget, purge, model, config, completion)
