"""Owns text generation by an OpenAI-compatible endpoint, such as vLLM or llama.cpp's server on the user's network.

It sends prompts to the URL that the user named and to nothing else. Chat where the model has a template, plain
completion where it has none.
"""

import http.client
import json
import logging
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock
from typing import Any

from drama_app.errors import UsageError
from trainer.augment.llm import Prompt, Sampling, Usage, cut_output

KEY = "DRAMA_LLM_KEY"
"""Environment variable with the endpoint's key, if it wants one."""

_TRIES = 6
_FIRST_WAIT = 0.5
"""Seconds before the second try; doubled each time, 15 s altogether: enough for a server that restarts a worker."""
_LONGEST_WAIT = 60.0
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_NO_CHAT = frozenset({400, 404, 405, 422, 500, 501})
"""What servers answer to a chat where the model has no template, or the path is not there."""
_TOO_LONG = frozenset({400, 413, 422})
"""What servers answer to a prompt that their context cannot hold."""

_TRIAL = Prompt(instruction="Say yes.", shots=(), ask="yes", labels=("Q", "A"))

log = logging.getLogger(__name__)


class _RefuseRedirects(urllib.request.HTTPRedirectHandler):
    """The user named one address; a redirect ends as an error."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""
        return


class _RefusedError(Exception):
    """The endpoint answered with an error that another try will not change."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


class _ForeignError(Exception):
    """What came back is no JSON object; the text has its beginning."""


def open_endpoint(
    url: str, model: str = "", *, concurrency: int = 16, timeout: float = 120.0, first_wait: float = _FIRST_WAIT
) -> "Endpoint":
    """Reach an endpoint, find its model and whether it chats.

    Args:
        url: Its base, up to and including /v1.
        model: Name of the model; "" takes the first one listed.
        concurrency: Requests at a time.
        timeout: Seconds for one request.
        first_wait: Seconds before the second try of a request.

    Raises:
        UsageError: The URL is none, cannot be reached, lists no model, or does not write.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url}: is no address of an endpoint; it looks like http://localhost:8000/v1")
    endpoint = Endpoint(url.rstrip("/"), model, concurrency, timeout, first_wait)
    try:
        endpoint.probe()
    except BaseException:
        endpoint.close()
        raise
    return endpoint


class Endpoint:
    """A model behind an OpenAI-compatible HTTP interface. Seeds are sent; whether they are kept is the server's."""

    def __init__(self, url: str, model: str, concurrency: int, timeout: float, first_wait: float) -> None:
        self._url, self._model, self._timeout, self._first_wait = url, model, timeout, first_wait
        self._concurrency = concurrency
        self._workers = ThreadPoolExecutor(concurrency, thread_name_prefix="endpoint")
        self._chats = True
        self._answered = False
        # vLLM and llama.cpp's server: a model that thinks first would spend its few tokens on that.
        self._options: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
        self._usage, self._counting, self._stopped = Usage(), Lock(), Event()
        # Elsewhere the key would come along, and a prompt holds the user's texts.
        self._opener = urllib.request.build_opener(_RefuseRedirects)

    @property
    def name(self) -> str:
        """The model and where it runs."""
        return f"{self._model} at {self._url}"

    @property
    def licence(self) -> str:
        """Endpoints tell none."""
        return ""

    @property
    def batch(self) -> int:
        """Prompts at a time: several rounds, so that one slow answer keeps nobody waiting for long."""
        return 4 * self._concurrency

    @property
    def usage(self) -> Usage:
        """Tokens so far, as the server counts them."""
        return self._usage

    def probe(self) -> None:
        """Find the model, and whether it takes a chat or plain text.

        Raises:
            UsageError: Neither; the text has the server's words.
        """
        if not self._model:
            try:
                listed = self._try("/models", None).get("data")
            except _RefusedError as refusal:
                raise UsageError(
                    f"{self._url}: lists no model ({refusal}); the address often ends in /v1, and a key goes into {KEY}"
                ) from refusal
            if not (isinstance(listed, list) and listed and isinstance(listed[0], dict)):
                raise UsageError(f"{self._url}: lists no model; name one")
            self._model = str(listed[0].get("id"))
        for chats, options in ((True, self._options), (True, {}), (False, {})):
            self._chats, self._options = chats, options
            try:
                answer = self._request(_TRIAL, Sampling(most_tokens=4), 0)
                self._count(answer.get("usage"))
                if self._find_text(answer) is not None:
                    return
                # As a server that has no such path.
                raise _RefusedError(501, f"its answer holds no text: {json.dumps(answer)[:200]}")
            except _RefusedError as refusal:
                if refusal.code not in _NO_CHAT:
                    raise UsageError(f"{self._url}: refuses to write ({refusal})") from refusal
                said = refusal
        raise UsageError(f"{self._url}: '{self._model}' neither chats nor completes ({said})") from said

    def write(self, prompts: Sequence[Prompt], sampling: Sampling, *, seeds: Sequence[int]) -> list[str]:
        """One text for each prompt, in their order.

        Raises:
            UsageError: The endpoint refuses, or does not answer after several tries.
        """
        jobs = [
            self._workers.submit(self._ask, prompt, sampling, seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]  # fmt: skip
        try:
            return self._collect(jobs, sampling)
        except BaseException:
            self._stopped.set()  # else an interrupted run waits for tries that nobody wants any more
            raise
        finally:
            for job in jobs:
                job.cancel()

    def _collect(self, jobs: "Sequence[Future[str]]", sampling: Sampling) -> list[str]:
        texts: list[str] = []
        refusals: list[_RefusedError] = []
        for job in jobs:
            try:
                texts.append(cut_output(job.result(), sampling.stop))
            except _RefusedError as refusal:
                if refusal.code not in _TOO_LONG:
                    raise UsageError(f"{self._url}: refuses a prompt ({refusal})") from refusal
                refusals.append(refusal)
                texts.append("")
        if 1 < len(refusals) == len(jobs):
            raise UsageError(f"{self._url}: refuses every prompt ({refusals[0]})") from refusals[0]
        return texts

    def close(self) -> None:
        """Let go of the threads."""
        self._stopped.set()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _ask(self, prompt: Prompt, sampling: Sampling, seed: int) -> str:
        answer = self._request(prompt, sampling, seed)
        self._count(answer.get("usage"))
        return self._find_text(answer) or ""

    def _request(self, prompt: Prompt, sampling: Sampling, seed: int) -> dict[str, Any]:
        content: dict[str, Any] = {
            "model": self._model, "max_tokens": sampling.most_tokens, "temperature": sampling.temperature,
            "top_p": sampling.top_p, "seed": seed & 0x7FFFFFFF,
        }  # fmt: skip
        if self._chats:
            # No stop: a chat may begin with thoughts and empty lines, which are cut off here.
            return self._try("/chat/completions", content | self._options | {"messages": prompt.as_messages()})
        return self._try("/completions", content | {"prompt": prompt.as_text(), "stop": [*sampling.stop]})

    def _find_text(self, answer: dict[str, Any]) -> str | None:
        """What was written, "" if the server was silent, None if its answer has no place for it."""
        choices = answer.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(first, dict):
            return None
        if not self._chats:
            return first["text"] if isinstance(first.get("text"), str) else None
        message = first.get("message")
        if not isinstance(message, dict):
            return None
        said = message.get("content")  # null where the few tokens went into thoughts
        return said if isinstance(said, str) else ""

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
            with self._counting:
                self._usage.read += read if isinstance(read, int) else 0
                self._usage.written += written if isinstance(written, int) else 0

    def _try(self, path: str, content: dict[str, Any] | None) -> dict[str, Any]:
        wait = self._first_wait
        for tries in range(1, _TRIES + 1):
            try:
                return self._send(path, content)
            except urllib.error.HTTPError as error:
                said = error.read(2000).decode("utf-8", "replace").strip() or error.reason
                pause = error.headers.get("Retry-After", "")
                error.close()
                if error.code not in _BUSY or (error.code == 500 and tries > 1 and path != "/models"):
                    raise _RefusedError(error.code, f"{error.code}: {said[:300]}") from error
                problem, asked = f"{error.code}: {said[:300]}", float(pause) if pause.isdigit() else 0.0
            except _ForeignError as error:
                if not self._answered:
                    raise UsageError(
                        f"{self._url}: answers, but with no JSON object ({error}); the address often ends in /v1"
                    ) from error
                problem, asked = str(error), 0.0  # a proxy's page while the server restarts
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem, asked = str(getattr(error, "reason", "") or error), 0.0
            if tries < _TRIES:
                log.info("%s: %s; next try in %.1f s", self._url, problem, wait)
                if self._stopped.wait(min(_LONGEST_WAIT, max(wait, asked))):
                    break
                wait *= 2
        raise UsageError(f"{self._url}: does not answer ({problem}) after {_TRIES} tries; is the server running?")

    def _send(self, path: str, content: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._url + path, body, headers)  # noqa: S310  the scheme was checked
        with self._opener.open(request, timeout=self._timeout) as reply:
            body = reply.read()
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise _ForeignError(repr(" ".join(body[:100].decode("utf-8", "replace").split())))
        self._answered = True
        return answer
