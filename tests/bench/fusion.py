"""Prints nDCG@10 of meaning, keywords and their fusion for all test sets of a folder.

python -m tests.bench.fusion FOLDER [RETRIEVER]
"""

import sys

from trainer.cli import main

if __name__ == "__main__":
    folder, *retriever = sys.argv[1:] or ["--help"]
    sys.exit(main(["evaluate", "--sets", folder, *(["--retriever", retriever[0]] if retriever else [])]))
