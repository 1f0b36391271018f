"""Owns text generation by llama.cpp: many prompts in one batch, their common beginning computed once.

It loads one GGUF file and writes; it knows nothing of what for. Texts depend on the seeds, the batches and the number
of threads, nothing else, so a run that is continued writes what an uninterrupted one would have written.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app.embed import count_cores
from drama_app.errors import DramaError, UsageError
from trainer.augment.llm import Prompt, Sampling, Usage, cut_output

if TYPE_CHECKING:
    from types import ModuleType

SEQUENCES = 48
"""Prompts decoded together. A small model's decoding waits for memory, so many at a time cost little more than one: 64
prompts of some 110 tokens with 17 written each took 28, 25 and 23 s with 16, 32 and 64 (Gemma 3 270M at 4 bits, two
free cores). Older builds of llama.cpp know 64 sequences, one of which holds the common beginning."""
_CHUNK = 512
"""Tokens in one call of llama.cpp."""
_WRITES_NOTHING = ("bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert",
                   "eurobert", "llama-embed", "gemma-embedding", "t5encoder", "clip")  # fmt: skip
"""Architectures of encoders."""
_KEEPER = 0
"""The sequence that holds the common beginning; the others copy it."""
_LEVEL_OF_ERRORS = 4
"""ggml's number; the bindings do not name it."""
_ROOM = 300 << 20
"""Bytes that llama.cpp needs beside weights: its context and scratch space for a small model."""


def open_llama(path: Path, *, threads: int | None = None, context: int = 8192) -> "LlamaGenerator":
    """Load a GGUF file.

    Raises:
        UsageError: llama-cpp-python is not installed, or the file is missing, no GGUF, too large for the memory, cut
            short, or no model that writes text.
    """
    check_model(path)
    # Threads that spin while they wait take the core from whoever has work; read when OpenMP is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    import llama_cpp

    complaints, _ = _listen()
    complaints.clear()
    settings = llama_cpp.llama_model_default_params()
    settings.n_gpu_layers = 999 if llama_cpp.llama_supports_gpu_offload() else 0
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), settings)
    if not model:
        said = "; ".join(complaints[-3:]) or "no reason given"
        raise UsageError(f"{path}: llama.cpp cannot load it ({said}); it may be cut short or too new for this version")
    try:
        return LlamaGenerator(llama_cpp, model, path, threads=threads or count_cores(), context=context)
    except BaseException:
        llama_cpp.llama_model_free(model)
        raise


def check_model(path: Path) -> None:
    """Look at a GGUF file and at the library that will read it, without loading either.

    Raises:
        UsageError: llama-cpp-python is not installed, or the file is missing, no GGUF, or too large for the memory.
    """
    if find_spec("llama_cpp") is None:
        raise UsageError(
            "writing queries with a GGUF file needs llama.cpp: pip install llama-cpp-python (it is built on the spot, "
            "about five minutes, and needs a C++ compiler and cmake)"
        )
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
        size = path.stat().st_size
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    if magic != b"GGUF":
        raise UsageError(f"{path}: is no GGUF file; llama.cpp reads models in this format only")
    free = measure_free_memory()
    if free and size + _ROOM > free:
        raise UsageError(f"{path}: needs about {(size + _ROOM) >> 20:,} MB of memory, {free >> 20:,} MB are free")


def measure_free_memory() -> int:
    """Bytes that the system can give without swapping, 0 where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")), 0)


@cache
def _listen() -> tuple[list[str], object]:
    """Errors that llama.cpp reports, instead of its own lines on stderr; the callback must live as long
    as the process, which the cache sees to."""
    import llama_cpp

    complaints: list[str] = []

    def keep(level: int, text: bytes, _: object) -> None:
        if level == _LEVEL_OF_ERRORS:
            complaints.append(text.decode("utf-8", "replace").strip())

    callback = llama_cpp.llama_log_callback(keep)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    return complaints, callback


class LlamaGenerator:
    """A GGUF model that writes."""

    def __init__(self, library: "ModuleType", model: Any, path: Path, *, threads: int, context: int) -> None:
        self._library, self._model, self._path = library, model, path
        self._vocabulary = library.llama_model_get_vocab(model)
        self._refuse_encoders()
        self._render = _open_template(library, model, self._vocabulary)
        self._context = self._open_context(threads, min(context, library.llama_model_n_ctx_train(model) * SEQUENCES))
        self._memory = library.llama_get_memory(self._context)
        self._batch = library.llama_batch_init(_CHUNK, 0, 1)
        self._usage = Usage()

    @property
    def name(self) -> str:
        """File name and size."""
        return f"{self._path.name} ({self._path.stat().st_size:,} bytes)"

    @property
    def licence(self) -> str:
        """What the file says."""
        return self._read_metadata("general.license")

    @property
    def batch(self) -> int:
        """Prompts at a time."""
        return 2 * SEQUENCES

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return self._usage

    @property
    def instructed(self) -> bool:
        """Whether the model has a chat template."""
        return self._render is not None

    def write(self, prompts: Sequence[Prompt], sampling: Sampling, *, seeds: Sequence[int]) -> list[str]:
        """One text for each prompt, "" for one that the context cannot hold. As one ends the next takes its place.

        Raises:
            UsageError: Each of several prompts is longer than the context.
        """
        if not prompts:
            return []
        rows = [self._tokenize(prompt) for prompt in prompts]
        most = min(self._size, self._library.llama_model_n_ctx_train(self._model))
        fitting = [place for place, row in enumerate(rows) if len(row) + sampling.most_tokens <= most]
        if not fitting and len(rows) > 1:
            least = min(map(len, rows)) + sampling.most_tokens
            raise UsageError(f"a prompt with its answer takes {least:,} tokens, the context has {most:,}")
        texts = [""] * len(rows)
        if fitting:
            written = self._write([rows[place] for place in fitting], sampling, [seeds[place] for place in fitting])
            for place, text in zip(fitting, written, strict=True):
                texts[place] = text
        return texts

    def _write(self, rows: list[list[int]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        shared = _count_common(rows)
        self._read_prefix(rows[0][:shared])
        self._usage.read += shared + sum(len(row) - shared for row in rows)
        self._usage.reused += shared * (len(rows) - 1)
        writers = [
            _Writer(self._library, self._vocabulary, row, shared, sampling, seed)
            for row, seed in zip(rows, seeds, strict=True)
        ]  # fmt: skip
        try:
            self._run(writers, shared, sampling.most_tokens)
        finally:
            self._usage.written += sum(writer.count for writer in writers)
            for writer in writers:
                writer.close()
        return [cut_output(writer.text, sampling.stop) for writer in writers]

    def close(self) -> None:
        """Free the model; it writes no more."""
        self._library.llama_batch_free(self._batch)
        self._library.llama_free(self._context)
        self._library.llama_model_free(self._model)

    def _refuse_encoders(self) -> None:
        architecture = self._read_metadata("general.architecture")
        decodes = self._library.llama_model_has_decoder(self._model)
        causal = self._read_metadata(f"{architecture}.attention.causal") != "false"
        if not decodes or not causal or architecture in _WRITES_NOTHING:
            raise UsageError(
                f"{self._path}: is an encoder ('{architecture}') and writes no text; name a language model"
            )
        if self._library.llama_model_has_encoder(self._model):
            raise UsageError(
                f"{self._path}: '{architecture}' has an encoder and a decoder; only decoders are supported"
            )

    def _read_metadata(self, key: str) -> str:
        value = ctypes.create_string_buffer(256)
        length = self._library.llama_model_meta_val_str(self._model, key.encode(), value, len(value))
        return value.value.decode("utf-8", "replace") if length >= 0 else ""

    def _open_context(self, threads: int, context: int) -> Any:
        settings = self._library.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = context, _CHUNK, _CHUNK
        settings.n_threads = settings.n_threads_batch = threads
        settings.n_seq_max = SEQUENCES + 1
        # One buffer for all sequences: the common beginning stands in it once, and one long prompt may take it all.
        settings.kv_unified = True
        # A window's cache forgets the common beginning that the next prompts want again.
        settings.swa_full = True
        settings.no_perf = True
        opened = self._library.llama_init_from_model(self._model, settings)
        if not opened:
            said = "; ".join(_listen()[0][-3:])
            raise UsageError(f"{self._path}: no memory for a context of {context:,} tokens ({said})")
        self._size = int(self._library.llama_n_ctx(opened))
        return opened

    def _tokenize(self, prompt: Prompt) -> list[int]:
        text, special = (
            (prompt.as_text(), False) if self._render is None else (self._render(prompt.as_messages()), True)
        )
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        tokens = (ctypes.c_int32 * room)()
        # A template writes the first token of a text itself.
        count = self._library.llama_tokenize(self._vocabulary, raw, len(raw), tokens, room, not special, special)
        return list(tokens[:count])

    def _run(self, writers: "list[_Writer]", shared: int, most_tokens: int) -> None:
        """Advance the writers until all are done, as many at a time as there are sequences and room in the context."""
        waiting = list(reversed(writers))
        slots: dict[int, _Writer] = {}
        room = self._size - shared
        while waiting or slots:
            for slot in range(1, SEQUENCES + 1):
                if waiting and slot not in slots and waiting[-1].count_cells(most_tokens) <= room:
                    slots[slot] = waiting.pop()
                    room -= slots[slot].count_cells(most_tokens)
                    self._library.llama_memory_seq_cp(self._memory, _KEEPER, slot, 0, shared)
            self._advance(slots)
            for slot in [slot for slot, writer in slots.items() if writer.done]:
                room += slots.pop(slot).count_cells(most_tokens)
                self._library.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def _advance(self, slots: "dict[int, _Writer]") -> None:
        """One call of llama.cpp: the last token of whoever writes, as much as fits of the prompts still to be read."""
        entries: list[tuple[int, int, int, bool]] = []
        ends: list[tuple[int, _Writer]] = []
        for slot, writer in sorted(slots.items(), key=lambda item: item[1].reading):
            entries += [(token, place, slot, last) for token, place, last in writer.take(_CHUNK - len(entries))]
            if entries and entries[-1][2:] == (slot, True):
                ends.append((len(entries) - 1, writer))
        self._decode(entries)
        for row, writer in ends:
            writer.draw(self._context, row)

    def _read_prefix(self, tokens: list[int]) -> None:
        """Compute the common beginning in an empty memory.

        It is computed even where the call before had the same: cells in another order round sums differently, and a
        run that is continued would draw other tokens. Some 250 tokens a call, 3 % of its work.
        """
        self._library.llama_memory_clear(self._memory, True)
        for start in range(0, len(tokens), _CHUNK):
            piece = tokens[start : start + _CHUNK]
            self._decode([(token, start + place, _KEEPER, False) for place, token in enumerate(piece)])

    def _decode(self, entries: list[tuple[int, int, int, bool]]) -> None:
        """Compute tokens, each with its place, its sequence and whether its logits are wanted."""
        batch = self._batch
        batch.n_tokens = len(entries)
        for row, (token, place, sequence, wanted) in enumerate(entries):
            batch.token[row], batch.pos[row], batch.logits[row] = token, place, wanted
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequence
        failure = self._library.llama_decode(self._context, batch)
        if failure:
            raise DramaError(f"llama.cpp stopped with code {failure} ({'; '.join(_listen()[0][-3:])})")


class _Writer:
    """One output as it grows."""

    def __init__(
        self, library: "ModuleType", vocabulary: Any, row: list[int], shared: int, sampling: Sampling, seed: int
    ) -> None:
        self._library, self._vocabulary, self._sampling = library, vocabulary, sampling
        self._row, self._place = row, shared
        self._own = len(row) - shared
        self.count, self.done = 0, False
        self._written = b""
        self._chain = _make_chain(library, vocabulary, sampling, seed)

    @property
    def reading(self) -> bool:
        """Whether tokens of the prompt are still to be computed."""
        return self.count == 0

    def count_cells(self, most_tokens: int) -> int:
        """Places of the context that it may come to need."""
        return self._own + most_tokens

    def take(self, most: int) -> list[tuple[int, int, bool]]:
        """Up to so many tokens to be computed next, each with its place and whether an output follows it."""
        start = self._place
        self._place = min(len(self._row), start + most)
        return [(self._row[place], place, place == len(self._row) - 1) for place in range(start, self._place)]

    @property
    def text(self) -> str:
        """What is written; a character that was not finished is left out."""
        return self._written.decode("utf-8", "ignore")

    def draw(self, context: Any, row: int) -> None:
        """Draw the next token from the logits of a row of the last batch."""
        token = self._library.llama_sampler_sample(self._chain, context, row)
        self._row.append(token)
        self.count += 1
        if self._library.llama_vocab_is_eog(self._vocabulary, token):
            self.done = True
            return
        piece = ctypes.create_string_buffer(256)
        length = self._library.llama_token_to_piece(self._vocabulary, token, piece, len(piece), 0, False)
        self._written += piece.raw[: max(length, 0)]
        begun = self._written.lstrip()
        stopped = any(mark.encode() in begun for mark in self._sampling.stop)
        self.done = stopped or self.count >= self._sampling.most_tokens

    def close(self) -> None:
        """Free the sampler."""
        self._library.llama_sampler_free(self._chain)


def _make_chain(library: "ModuleType", vocabulary: Any, sampling: Sampling, seed: int) -> Any:
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
    if sampling.grammar:
        grammar = library.llama_sampler_init_grammar(vocabulary, sampling.grammar.encode(), b"root")
        if not grammar:
            raise UsageError("llama.cpp does not understand the grammar of this prompt")
        library.llama_sampler_chain_add(chain, grammar)
    if sampling.temperature <= 0:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())
        return chain
    for step in (
        library.llama_sampler_init_top_k(sampling.top_k),
        library.llama_sampler_init_top_p(sampling.top_p, 1),
        library.llama_sampler_init_temp(sampling.temperature),
        library.llama_sampler_init_dist(seed & 0xFFFFFFFF),
    ):
        library.llama_sampler_chain_add(chain, step)
    return chain


def _open_template(library: "ModuleType", model: Any, vocabulary: Any) -> Callable[[list[dict[str, str]]], str] | None:
    """The model's chat template as a function, None for a base model."""
    template = library.llama_model_chat_template(model, None)
    if not template:
        return None
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    def show(token: int) -> str:
        text = library.llama_vocab_get_text(vocabulary, token) if token >= 0 else b""
        return str((text or b"").decode("utf-8", "replace"))

    format_chat = Jinja2ChatFormatter(
        template=template.decode("utf-8"),
        bos_token=show(library.llama_vocab_bos(vocabulary)),
        eos_token=show(library.llama_vocab_eos(vocabulary)),
    )

    def render(messages: list[dict[str, str]]) -> str:
        turns: Any = messages
        return str(format_chat(messages=turns, enable_thinking=False).prompt)

    return render


def _count_common(rows: Sequence[list[int]]) -> int:
    """Tokens at which all rows begin alike, leaving each at least one of its own."""
    least, most = min(rows), max(rows)
    longest = min(len(row) for row in rows) - 1
    return next((place for place in range(longest) if least[place] != most[place]), longest)
