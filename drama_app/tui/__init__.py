"""The terminal UI: screens over the same `Library` that the shell uses.

Widgets say what was asked, screens decide, threads compute and post one frozen result. It owns no behaviour of the
engine; what a person can do here, the shell can do too.
"""
