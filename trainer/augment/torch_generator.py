"""Owns text generation by transformers, for a GPU: a folder with weights, configuration and tokenizer.

It runs no code from the folder and fetches nothing.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drama_app.errors import UsageError
from trainer.augment.llm import Prompt, Sampling, Usage, cut_output

_BATCH = 64


def open_torch_generator(folder: Path, *, device: str = "") -> "TorchGenerator":
    """Load a causal language model.

    Args:
        folder: Layout of transformers: config.json, safetensors, tokenizer.
        device: "cuda", "cpu" or another of torch's; "" takes a GPU if there is one.

    Raises:
        UsageError: transformers is not installed, or the folder holds no language model; the text says what.
    """
    check_folder(folder)
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise UsageError("models in folders need torch and transformers: pip install 'drama[train]'") from error
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True,
            dtype=torch.bfloat16 if chosen.startswith("cuda") else torch.float32,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{folder}: cannot be loaded ({str(error).splitlines()[0]})") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return TorchGenerator(folder, tokenizer, model, chosen)


def check_folder(folder: Path) -> None:
    """Look at the description of a model without loading it.

    Raises:
        UsageError: The folder holds no language model.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"{folder}: holds no config.json, so it is no model of transformers; name a GGUF file or such a folder"
        )
    try:
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architectures = [str(each) for each in stated.get("architectures") or []]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"{folder / 'config.json'}: cannot be read ({error})") from error
    if not any("CausalLM" in each or "ConditionalGeneration" in each for each in architectures):
        what = ", ".join(architectures) or stated.get("model_type") or "model of no known kind"
        raise UsageError(f"{folder}: is a {what} and writes no text")


class TorchGenerator:
    """A causal language model that writes in padded batches."""

    def __init__(self, folder: Path, tokenizer: Any, model: Any, device: str) -> None:
        self._folder, self._tokenizer, self._model = folder, tokenizer, model.to(device).eval()
        self._usage = Usage()

    @property
    def name(self) -> str:
        """The folder's name and the number of parameters."""
        return f"{self._folder.name} ({self._model.num_parameters():,} parameters)"

    @property
    def licence(self) -> str:
        """What the model's README says."""
        from trainer.model_files import read_licence

        return read_licence(self._folder)

    @property
    def batch(self) -> int:
        """Prompts at a time."""
        return _BATCH

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return self._usage

    def write(self, prompts: Sequence[Prompt], sampling: Sampling, *, seeds: Sequence[int]) -> list[str]:
        """One text for each prompt. The first seed serves the whole batch: torch draws all rows from one source."""
        if not prompts:
            return []
        import torch

        rows = self._tokenizer([self._render(prompt) for prompt in prompts], add_special_tokens=False)["input_ids"]
        fed = self._tokenizer.pad({"input_ids": rows}, return_tensors="pt").to(self._model.device)
        draws = sampling.temperature > 0
        chosen: dict[str, Any] = {}
        if draws:
            chosen = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.inference_mode():
            torch.manual_seed(seeds[0])
            outputs = self._model.generate(
                **fed, do_sample=draws, max_new_tokens=sampling.most_tokens,
                stop_strings=[*sampling.stop] or None, tokenizer=self._tokenizer,
                pad_token_id=self._tokenizer.pad_token_id, **chosen,
            )  # fmt: skip
        written = outputs[:, fed["input_ids"].shape[1] :]
        self._usage.read += sum(map(len, rows))
        self._usage.written += int((written != self._tokenizer.pad_token_id).sum())
        texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        return [cut_output(text, sampling.stop) for text in texts]

    def close(self) -> None:
        """Free the weights."""
        self._model = None

    def _render(self, prompt: Prompt) -> str:
        if self._tokenizer.chat_template:
            return str(
                self._tokenizer.apply_chat_template(
                    prompt.as_messages(), tokenize=False, add_generation_prompt=True, enable_thinking=False
                )
            )
        return f"{self._tokenizer.bos_token or ''}{prompt.as_text()}"
