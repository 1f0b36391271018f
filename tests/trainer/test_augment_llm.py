"""Generators: llama.cpp on a tiny real model, an endpoint over real HTTP, transformers on a tiny real model."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from drama_app.errors import UsageError
from tests.trainer.tiny_gguf import make_tiny_gguf
from trainer.augment import llama_generator
from trainer.augment.endpoint import open_endpoint
from trainer.augment.llm import Prompt, Sampling, cut_output, open_generator

SHOTS = (("abc", "d"), ("efg", "h"))
PROMPTS = [
    Prompt(instruction="Answer.", shots=SHOTS, ask=f"text number {number}", labels=("Q", "A")) for number in range(40)
]
SEEDS = list(range(40))
TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}<assistant>"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    return make_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def llama(tiny):
    generator = open_generator(tiny, threads=1)
    yield generator
    generator.close()


def test_a_prompt_is_text_for_a_base_model_and_turns_for_a_chat():
    """A base model reads labelled pairs; a chat begins with the instruction and ends with the person's turn."""
    prompt = Prompt(instruction="Ask.", shots=(("eins", "zwei"),), ask="drei", labels=("Text", "Frage"))

    assert prompt.as_text() == "Text: eins\nFrage: zwei\n\nText: drei\nFrage:"
    turns = prompt.as_messages()
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"] == "Ask.\n\neins"


@pytest.mark.parametrize(
    ("text", "cut"),
    [("\n one\ntwo", "one"), ("<think>a\nb</think>\n\nyes\n", "yes"), ("<think>never ends", ""), ("none", "none")],
)
def test_outputs_are_cut(text, cut):
    """An output ends at the stop behind its first words; a model's thoughts are no output."""
    assert cut_output(text, ("\n",)) == cut


def test_a_model_tells_its_licence(llama):
    """What a GGUF file says of its terms is read, for the notice of what is trained on its outputs."""
    assert llama.licence == "mit"


def test_llama_writes_the_same_for_the_same_seeds(llama):
    """The same call gives the same texts whatever was written before; other seeds give others."""
    first = llama.write(PROMPTS, Sampling(most_tokens=12), seeds=SEEDS)
    llama.write(PROMPTS[:3], Sampling(most_tokens=5), seeds=[7, 8, 9])

    assert llama.write(PROMPTS, Sampling(most_tokens=12), seeds=SEEDS) == first
    assert llama.write(PROMPTS, Sampling(most_tokens=12), seeds=[*SEEDS[1:], 99]) != first


def test_llama_batches_change_nothing_but_speed(llama):
    """Each prompt's likeliest answer is the same alone, in a full batch, and after others have left their places."""
    greedy = Sampling(most_tokens=10, temperature=0.0)
    alone = [llama.write([prompt], greedy, seeds=[0])[0] for prompt in PROMPTS[:20]]

    assert llama.write(PROMPTS[:20], greedy, seeds=[0] * 20) == alone
    assert len(set(alone)) > 1


def test_llama_computes_the_common_beginning_once(llama):
    """Shots that all prompts share are read once a call."""
    read, reused = llama.usage.read, llama.usage.reused
    llama.write(PROMPTS[:10], Sampling(most_tokens=1), seeds=SEEDS[:10])

    assert llama.usage.reused - reused > 4 * (llama.usage.read - read)


def test_llama_obeys_a_grammar(llama):
    """With a grammar even a random model writes what it allows."""
    sampling = Sampling(most_tokens=12, grammar='root ::= ("[" [1-3] "] > ")+')
    for text in llama.write(PROMPTS[:4], sampling, seeds=SEEDS[:4]):
        assert set(text) <= set("[]123> ")
        assert text.startswith("[")


def test_llama_refuses_a_prompt_beyond_its_context(tiny):
    """Prompts that do not fit are an error that names both numbers, or no text if others do; none is cut in silence."""
    long = Prompt(instruction="", shots=(), ask="x" * 400, labels=("Q", "A"))
    generator = open_generator(tiny, threads=1, context=256)
    try:
        with pytest.raises(UsageError, match="the context has 256"):
            generator.write([long, long], Sampling(), seeds=[0, 1])
        assert generator.write([long], Sampling(), seeds=[0]) == [""]  # the last block may hold one
        # One among others costs only itself.
        short = generator.write(PROMPTS[:2], Sampling(most_tokens=8), seeds=SEEDS[:2])
        mixed = generator.write([PROMPTS[0], long, PROMPTS[1]], Sampling(most_tokens=8), seeds=[SEEDS[0], 9, SEEDS[1]])
        assert mixed == [short[0], "", short[1]]
        # More prompts than fit together are taken one after the other.
        assert len(generator.write(PROMPTS[:8], Sampling(most_tokens=40), seeds=SEEDS[:8])) == 8
    finally:
        generator.close()


def test_llama_uses_a_chat_template(tiny, tmp_path):
    """A model with a template is asked in its form, one without in plain text."""
    generator = open_generator(make_tiny_gguf(tmp_path / "chat.gguf", template=TEMPLATE), threads=1)
    try:
        assert generator.instructed
        assert len(generator.write(PROMPTS[:2], Sampling(most_tokens=4), seeds=[0, 1])) == 2
    finally:
        generator.close()


def test_wrong_models_are_refused_at_the_start(tiny, tmp_path, monkeypatch):
    """A missing, foreign, cut, too large or encoding model each gets its own sentence."""
    with pytest.raises(UsageError, match="cannot be read"):
        open_generator(tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("no model")
    with pytest.raises(UsageError, match="is no GGUF"):
        open_generator(tmp_path / "text.gguf")
    (tmp_path / "cut.gguf").write_bytes(tiny.read_bytes()[:60_000])
    with pytest.raises(UsageError, match="cut short"):
        open_generator(tmp_path / "cut.gguf")
    with pytest.raises(UsageError, match="is an encoder"):
        open_generator(make_tiny_gguf(tmp_path / "encoder.gguf", causal=False))
    with pytest.raises(UsageError, match=r"config\.json"):
        open_generator(tmp_path)
    with pytest.raises(UsageError, match="--local-llm"):
        open_generator()
    monkeypatch.setattr(llama_generator, "measure_free_memory", lambda: 100 << 20)
    with pytest.raises(UsageError, match="100 MB are free"):
        open_generator(tiny)


class _Server(BaseHTTPRequestHandler):
    """Answers as an OpenAI-compatible server, after as many failures as the test wants."""

    def do_GET(self):
        if self.path == "/moved/models":
            return self._send(302, {}, location="/v1/models")
        if self.path.startswith("/page/"):
            return self._send_body(
                200, b"<!DOCTYPE html>\n<title>Chat</title>" if "html" in self.path else b"[" * 100_000
            )
        if self.path.startswith("/odd/"):
            return self._send(200, {"data": {"id": "tiny"}})
        return self._send(200 if self.path == "/v1/models" else 404, {"data": [{"id": "tiny"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state = self.server.state
        state["asked"].append((self.path, asked, self.headers.get("Authorization")))
        chats = self.path.endswith("/chat/completions")
        if "answer" in state:
            return self._send(200, state["answer"])
        if state["failures"] > 0:
            state["failures"] -= 1
            return self._send(503, {"error": "busy"})
        if chats and not state["chats"]:
            return self._send(400, {"error": "no chat template"})
        if "chat_template_kwargs" in asked and state.get("strict"):
            return self._send(400, {"error": "unknown field chat_template_kwargs"})
        if asked.get("seed") == state.get("too_long", -1):
            return self._send(400, {"error": "longer than the context"})
        if state.get("refuses"):
            return self._send(401, {"error": "bad key"})
        shown = asked["messages"][-1]["content"] if chats else asked["prompt"].split("\n")[-2]
        text = f"<think>hm</think>\nabout {shown}\nmore"
        choice = {"message": {"content": text}} if chats else {"text": text}
        return self._send(200, {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})

    def log_message(self, *arguments):
        pass

    def _send(self, code, content, location=""):
        self._send_body(code, json.dumps(content).encode(), location)

    def _send_body(self, code, body, location=""):
        self.send_response(code)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    server.state = {"asked": [], "failures": 0, "chats": True}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_endpoint_keeps_order_and_passes_the_seed(server, monkeypatch):
    """Answers come back in the order of the prompts, with seed and key sent and tokens counted."""
    monkeypatch.setenv("DRAMA_LLM_KEY", "secret")
    endpoint = open_generator(url=server.url)
    texts = endpoint.write(PROMPTS, Sampling(), seeds=SEEDS)
    endpoint.close()

    assert texts == [f"about {prompt.ask}" for prompt in PROMPTS]
    assert {asked["seed"] for path, asked, key in server.state["asked"][1:]} == set(SEEDS)
    assert {key for _, _, key in server.state["asked"]} == {"Bearer secret"}
    assert endpoint.usage.read == 5 * 41
    assert "tiny" in endpoint.name


def test_an_endpoint_answers_for_itself_alone(server):
    """An address without its ending is told so, one that sends elsewhere is not followed, a prompt that is too long
    costs only itself."""
    with pytest.raises(UsageError, match=r"404.*ends in /v1"):
        open_generator(url=server.url.removesuffix("/v1"))
    with pytest.raises(UsageError, match="302"):
        open_generator(url=server.url.replace("/v1", "/moved"))
    endpoint = open_endpoint(server.url)
    server.state["too_long"] = 7
    assert endpoint.write(PROMPTS[:2], Sampling(), seeds=[7, 8]) == ["", "about text number 1"]
    assert endpoint.write(PROMPTS[:1], Sampling(), seeds=[7]) == [""]
    with pytest.raises(UsageError, match="every prompt"):
        endpoint.write(PROMPTS[:2], Sampling(), seeds=[7, 7])
    endpoint.close()


def test_an_endpoint_without_a_template_completes(server):
    """Where the model has no chat template the prompt goes out as plain text with its stop."""
    server.state["chats"] = False
    endpoint = open_endpoint(server.url)
    texts = endpoint.write(PROMPTS[:2], Sampling(), seeds=[0, 1])
    endpoint.close()

    assert texts == ["about Q: text number 0", "about Q: text number 1"]
    assert server.state["asked"][-1][1]["stop"] == ["\n"]


@pytest.mark.parametrize("strict", [False, True])
def test_an_endpoint_asks_for_no_thoughts(strict, server):
    """A chat model is told not to think, since its few tokens are for the query; a server that knows no such option
    is asked without it."""
    server.state["strict"] = strict
    endpoint = open_endpoint(server.url)
    assert endpoint.write(PROMPTS[:1], Sampling(), seeds=[0]) == ["about text number 0"]
    endpoint.close()
    path, asked, _ = server.state["asked"][-1]
    assert path.endswith("/chat/completions")
    assert asked.get("chat_template_kwargs") == (None if strict else {"enable_thinking": False})


def test_an_endpoint_is_tried_again(server):
    """A busy server is asked again; one that stays busy, refuses, or is not there ends with a sentence."""
    endpoint = open_endpoint(server.url, first_wait=0.001)
    server.state["failures"] = 3
    assert endpoint.write(PROMPTS[:1], Sampling(), seeds=[0]) == ["about text number 0"]
    server.state["failures"] = 100
    with pytest.raises(UsageError, match=r"503.*after 6 tries"):
        endpoint.write(PROMPTS[:1], Sampling(), seeds=[0])
    server.state.update(failures=0, refuses=True)
    with pytest.raises(UsageError, match=r"401.*bad key"):
        endpoint.write(PROMPTS[:1], Sampling(), seeds=[0])
    endpoint.close()
    with pytest.raises(UsageError, match="is the server running"):
        open_endpoint("http://127.0.0.1:9/v1", first_wait=0.001)
    with pytest.raises(UsageError, match="is no address"):
        open_endpoint("localhost:8000")


@pytest.mark.parametrize(
    "answer",
    [
        {"usage": {}}, {"choices": []}, {"choices": "text"}, {"choices": ["text"]}, {"choices": [{"message": "text"}]},
        {"error": {"message": "no credit"}},
    ],
)  # fmt: skip
def test_an_endpoint_that_has_no_place_for_a_text_is_refused(answer, server):
    """A server that answers something else is told at the start and in its own words, not by a run without queries."""
    server.state["answer"] = answer
    with pytest.raises(
        UsageError, match="neither chats nor completes .*its answer holds no text: .*" + next(iter(answer))
    ):
        open_endpoint(server.url)


@pytest.mark.parametrize(
    ("place", "message"),
    [("page/html", r"no JSON object \('<!DOCTYPE html> <title>Chat</title>'\).*ends in /v1"), ("page/deep", "no JSON"),
     ("odd", "lists no model; name one")],
)  # fmt: skip
def test_an_address_of_something_else_is_told_at_once(place, message, server):
    """A web page, or whatever else is no list of models, is not asked six times and is no server that is down."""
    with pytest.raises(UsageError, match=message):
        open_endpoint(server.url.replace("v1", place), first_wait=60.0)


def test_an_odd_answer_costs_only_itself(server):
    """A silent answer is no text, a count of tokens that is no number no count."""
    endpoint = open_endpoint(server.url)
    read = endpoint.usage.read
    for content in (None, [], 3):
        choice = {"message": {"content": content}}
        server.state["answer"] = {"choices": [choice], "usage": {"prompt_tokens": "many", "completion_tokens": None}}
        assert endpoint.write(PROMPTS[:1], Sampling(), seeds=[0]) == [""]
    server.state["answer"] = {"choices": [{"message": "text"}], "usage": 3}
    assert endpoint.write(PROMPTS[:1], Sampling(), seeds=[0]) == [""]
    endpoint.close()
    assert endpoint.usage.read == read


def test_transformers_write(tmp_path):
    """A folder of transformers writes, the same for the same seed, and an encoder's folder is refused."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {chr(code): code - 32 for code in range(32, 127)} | {"\n": 95, "</s>": 96}
    raw = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], fuse_unk=True))
    raw.decoder = tokenizers.decoders.Fuse()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>").save_pretrained(tmp_path / "lm")
    config = transformers.LlamaConfig(
        vocab_size=97, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        eos_token_id=96, bos_token_id=96, pad_token_id=96,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "lm")
    (tmp_path / "lm" / "README.md").write_text("---\nlicense: gemma\n---\n")
    generator = open_generator(tmp_path / "lm")
    assert generator.licence == "gemma"
    sampling = Sampling(most_tokens=8, temperature=1.0, top_p=1.0)

    first = generator.write(PROMPTS[:3], sampling, seeds=[1, 2, 3])
    assert generator.write(PROMPTS[:3], sampling, seeds=[1, 2, 3]) == first
    assert generator.write(PROMPTS[:3], sampling, seeds=[4, 2, 3]) != first
    assert generator.usage.written > 0
    generator.close()

    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    with pytest.raises(UsageError, match="writes no text"):
        open_generator(tmp_path / "bert")
