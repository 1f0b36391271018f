"""One screen a file: what it is composed of, its keys, and the handlers that decide."""
