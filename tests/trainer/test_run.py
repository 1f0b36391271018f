"""The loop: learning, going on, several processes, and reasons to stop."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

import trainer.train.run as run_module  # noqa: E402
from drama_app.errors import UsageError  # noqa: E402
from tests.trainer import tiny_training  # noqa: E402
from tests.trainer.tiny_training import RECIPE, load_world, make_network, train_world  # noqa: E402
from trainer.checkpoint import WEIGHTS, find_latest, load_network, open_checkpoint, read_tensors  # noqa: E402
from trainer.token_table import code_groups, round_table  # noqa: E402
from trainer.train import coded_table  # noqa: E402
from trainer.train.average import average_weights  # noqa: E402
from trainer.train.data import TeacherVectors  # noqa: E402
from trainer.train.guard import TrainingError, Watch  # noqa: E402
from trainer.train.interrupt import holding_back_interrupts  # noqa: E402
from trainer.train.rate import count_flops, measure_gemm, measure_memory  # noqa: E402
from trainer.train.run import refuse_other, schedule  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def _assert_same_weights(one, other):
    first, second = (read_tensors(each.folder / WEIGHTS) for each in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_interrupted_run_ends_with_the_same_weights(world, tmp_path):
    """Stopped between checkpoints and at them, a run that goes on is bit for bit the run that was never stopped."""
    whole = train_world(world, tmp_path / "whole")
    stopped = train_world(world, tmp_path / "parts", stop_at=3)
    assert stopped.step == 3
    train_world(world, tmp_path / "parts", stop_at=7)
    # A crash after step 8 leaves a half-written checkpoint and lines of steps that will be taken again.
    (tmp_path / "parts" / "step-0000008").mkdir()
    with (tmp_path / "parts" / "history.jsonl").open("a") as stream:
        stream.write('{"step": 8}\n')
    final = train_world(world, tmp_path / "parts")

    _assert_same_weights(whole, final)
    histories = [
        [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert [row["step"] for row in histories[1]] == list(range(1, 13))
    assert [row["loss"] for row in histories[0]] == [row["loss"] for row in histories[1]]
    assert final.metrics["averaged"] == ["step-0000010", "step-0000012"]


def test_another_recipe_does_not_go_on(world, tmp_path):
    """A folder that holds a run of another recipe is refused."""
    train_world(world, tmp_path / "run", stop_at=1)
    with pytest.raises(UsageError, match="another recipe"):
        train_world(world, tmp_path / "run", replace(RECIPE, temperature=0.2))


@pytest.fixture
def heard():
    """Ctrl-C as in a terminal; a test run that a script has put into the background begins with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_loses_no_step(world, tmp_path, monkeypatch):
    """The step under way is finished and saved, and a run that goes on ends with the weights of one never stopped."""
    recipe = replace(RECIPE, save_every=6)
    whole = train_world(world, tmp_path / "whole", recipe)
    taken = run_module._take_step

    def press(run, data, recipe):
        if run.step in (6, 10):
            signal.raise_signal(signal.SIGINT)
        return taken(run, data, recipe)

    monkeypatch.setattr(run_module, "_take_step", press)
    for stopped in (7, 11):
        with pytest.raises(KeyboardInterrupt):
            train_world(world, tmp_path / "run", recipe)
        latest = find_latest(tmp_path / "run")
        assert latest and latest.step == stopped
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    final = train_world(world, tmp_path / "run", recipe)
    assert final.metrics["averaged"] == ["step-0000006", "step-0000012"]
    _assert_same_weights(whole, final)


def test_an_ignored_ctrl_c_stays_ignored():
    """A training that a script has put into the background does not stop at a Ctrl-C that is meant for another."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with holding_back_interrupts() as is_stopped:
            signal.raise_signal(signal.SIGINT)
            assert not is_stopped()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_lost_run_goes_on_more_slowly(world, tmp_path):
    """What the guard advises can be done: another rate, warm-up or deadline does not make it another run."""
    train_world(world, tmp_path / "run", stop_at=1)
    slower = replace(RECIPE, learning_rate=RECIPE.learning_rate / 2, warmup=3, must_learn_by=0)
    assert train_world(world, tmp_path / "run", slower, stop_at=2).step == 2


def test_a_checkpoint_from_before_a_key_goes_on(world, tmp_path):
    """A key that the recipe got later had its default; one that differs is refused."""
    out = tmp_path / "run"
    stated = train_world(world, out, stop_at=5).folder / "meta.json"
    content = json.loads(stated.read_text("utf-8"))
    assert content["recipe"]["train"].pop("row_weight") == 0.0
    stated.write_text(json.dumps(content), encoding="utf-8")
    sizes = stated.with_name("complete.json")
    whole = json.loads(sizes.read_text("utf-8")) | {stated.name: stated.stat().st_size}
    sizes.write_text(json.dumps(whole), encoding="utf-8")
    latest = find_latest(out)
    assert latest and latest.step == 5 and "row_weight" not in latest.recipe["train"]
    refuse_other(out, RECIPE)
    assert train_world(world, out).step == RECIPE.steps
    with pytest.raises(UsageError, match="another recipe"):
        refuse_other(out, replace(RECIPE, temperature=0.2))


def test_it_learns_which_passage_answers(world, tmp_path):
    """After 60 steps the loss has halved and most queries find their passage; progress says so."""
    seen = []
    recipe = replace(RECIPE, steps=60, save_every=60, must_learn_by=40, learning_rate=1e-2, chunk_tokens=2000)
    train_world(world, tmp_path / "run", recipe, report=seen.append)

    assert seen[-1].loss < 0.5 * seen[0].loss
    assert seen[-1].right > 0.7
    assert all(each.tokens_per_second > 0 and each.memory > 0 and 0 < each.gemm_share < 1 for each in seen)
    assert seen[-1].seconds_left == 0 < seen[0].seconds_left


@pytest.mark.parametrize("taught", [False, True], ids=["alone", "taught"])
def test_two_processes_are_one(taught, world, tmp_path):
    """Two processes over gloo have the losses and, to 1e-5, the weights of one, with a teacher of rows and without."""
    program = [
        sys.executable,
        tiny_training.__file__,
        str(world),
        str(tmp_path / "two"),
        *(["taught"] if taught else []),
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    root = str(Path(__file__).parents[2])
    common = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    environments = [{**common, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    both = [subprocess.Popen(program, env=each, stdout=subprocess.PIPE, text=True, cwd=root) for each in environments]
    losses = []
    student, whole = tiny_training.make_student() if taught else (None, None)
    recipe = replace(tiny_training.TAUGHT if taught else RECIPE, steps=4)
    more = {"network": student, "whole": whole, "report": lambda progress: losses.append(progress.loss)}
    one = train_world(world, tmp_path / "one", recipe, **more)
    output = [process.communicate(timeout=100)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert json.loads(output[0]) == pytest.approx(losses, abs=1e-5)
    weights = [read_tensors(folder / WEIGHTS) for folder in (one.folder, tmp_path / "two" / "final")]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])


def test_nan_stops_the_run_and_spares_the_weights(world, tmp_path):
    """A weight that is no number ends the run in a sentence, and no checkpoint is written."""
    network = make_network()
    with torch.no_grad():
        network.layers[0].up.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="step 1: the loss is no number any more"):
        train_world(world, tmp_path / "run", network=network)
    assert not list((tmp_path / "run").glob("step-*"))


def test_a_run_that_does_not_learn_is_stopped(world, tmp_path):
    """A learning rate of next to nothing is found out at the step agreed on; 0 lets it be."""
    # Without learning the means differ by the batches alone; with this seed the later ones are harder.
    idle = replace(RECIPE, learning_rate=1e-12, must_learn_by=9, seed=3)
    with pytest.raises(TrainingError, match="step 9: the loss does not fall"):
        train_world(world, tmp_path / "run", idle)
    assert train_world(world, tmp_path / "other", replace(idle, must_learn_by=0), stop_at=9).step == 9


def test_a_watch_remembers_its_start():
    """Saved and restored, a watch compares with the losses of the first run."""
    first = Watch(6)
    for step in range(1, 4):
        first.check(step, 1.0, 1.0)
    second = Watch(6)
    second.restore(first.save())
    second.check(4, 3.0, 1.0)
    with pytest.raises(TrainingError):
        for step in (5, 6):
            second.check(step, 3.0, 1.0)


def test_frozen_table_stays_and_is_not_saved_with_each_checkpoint(world, tmp_path):
    """With a frozen table only the final checkpoint holds it, as it was; a resumed run agrees."""
    recipe = replace(RECIPE, freeze_tokens=True, steps=6)
    train_world(world, tmp_path / "run", recipe, stop_at=4)
    final = train_world(world, tmp_path / "run", recipe)
    whole = train_world(world, tmp_path / "whole", recipe)

    table = read_tensors(final.folder / WEIGHTS)["embed_tokens.weight"]
    assert torch.equal(table, make_network().embed_tokens.weight)
    assert "embed_tokens.weight" not in read_tensors(tmp_path / "run" / "step-0000006" / WEIGHTS)
    _assert_same_weights(final, whole)


def test_codebooks_learn_and_rows_keep_their_codes(world, tmp_path, monkeypatch):
    """With `learn_codes` rows that shared a code still do, what it stands for has moved; a resumed run agrees."""

    def make_coded():
        network = make_network()
        with torch.no_grad():
            network.embed_tokens.weight.copy_(
                torch.from_numpy(round_table(network.embed_tokens.weight.numpy(), bits=2))
            )
        return network

    recipe = replace(RECIPE, freeze_tokens=True, learn_codes=True, steps=6)
    train_world(world, tmp_path / "run", recipe, network=make_coded(), stop_at=4)
    with monkeypatch.context() as elsewhere:  # where sums come out otherwise, codes are numbered otherwise
        elsewhere.setattr(coded_table, "code_groups", lambda table: [each[::-1].copy() for each in code_groups(table)])
        final = train_world(world, tmp_path / "run", recipe, network=make_coded())
    whole = train_world(world, tmp_path / "whole", recipe, network=make_coded())
    before, after = make_coded().embed_tokens.weight, read_tensors(final.folder / WEIGHTS)["embed_tokens.weight"]

    _assert_same_weights(final, whole)
    stopped = load_network(open_checkpoint(tmp_path / "run" / "step-0000006"))
    assert torch.allclose(stopped.embed_tokens.weight, after, atol=1e-2), "a step is a network that can be exported"
    assert 0 < (after - before).abs().max() < 0.1
    assert torch.equal(torch.from_numpy(round_table(after.numpy(), bits=2)), after), "stored in 2 bits it loses nothing"
    for group in range(4):
        columns = slice(group, None, 4)  # of a quarter of the width each
        codes = torch.unique(before[:, columns], dim=0, return_inverse=True)[1]
        moved = torch.unique(torch.cat([codes[:, None].float(), after[:, columns]], dim=1), dim=0)
        assert len(moved) == len(codes.unique()), "all rows with a code have moved alike"


def test_distillation_brings_the_student_near_its_teacher(world, tmp_path):
    """Trained on embeddings and scores of a wider teacher alone, the student ranks as the teacher does."""
    chooser = np.random.default_rng(0)
    topics = chooser.normal(size=(40, 24))
    teacher = TeacherVectors(queries=topics[np.arange(120) % 40], passages=topics[np.arange(160) // 4])
    recipe = replace(
        RECIPE,
        steps=50,
        learning_rate=1e-2,
        embedding_weight=1.0,
        score_weight=1.0,
        save_every=50,
        reverse=0.0,
        chunk_tokens=2000,
    )
    seen = []
    train_world(world, tmp_path / "run", recipe, data=load_world(world, recipe, teacher=teacher), report=seen.append)
    gaps = [each.loss - each.contrastive for each in seen]
    assert gaps[-1] < 0.6 * gaps[0]
    with pytest.raises(UsageError, match="no embeddings of a teacher"):
        train_world(world, tmp_path / "other", recipe)


def test_scores_on_others_need_a_teacher_as_wide(world, tmp_path, caplog):
    """A student of another width than its teacher's matches scores on the batch's passages, and says so."""
    vectors = np.random.default_rng(0).normal(size=(160, 24)).astype(np.float16)
    recipe = replace(RECIPE, steps=2, embedding_weight=1.0, score_weight=1.0)
    data = load_world(world, recipe, teacher=TeacherVectors(queries=vectors[:120], passages=vectors))
    seen = []
    for name, count in (("batch", 0), ("others", 50)):
        train_world(world, tmp_path / name, replace(recipe, score_others=count), data=data, report=seen.append)

    assert "24 wide, not 16" in caplog.text
    assert [each.loss for each in seen[:2]] == pytest.approx([each.loss for each in seen[2:]])


def test_widths_beyond_the_network_are_refused(world, tmp_path):
    """A Matryoshka width that the network does not have is an error at the start."""
    with pytest.raises(UsageError, match="24 is no width"):
        train_world(world, tmp_path / "run", replace(RECIPE, widths=(24,)))


def test_averages_are_weighted_means():
    """Weights are averaged by share; those of another network are refused."""
    one, other = {"a": torch.tensor([0.0, 4.0])}, {"a": torch.tensor([4.0, 0.0])}
    assert average_weights([one, other])["a"].tolist() == [2.0, 2.0]
    assert average_weights([one, other], [3.0, 1.0])["a"].tolist() == [1.0, 3.0]
    with pytest.raises(UsageError, match="one network"):
        average_weights([one, {"b": torch.ones(2)}])


def test_start_share_pulls_back_to_the_start(world, tmp_path):
    """With nearly all of the start in the mean, the final weights are nearly those of the start."""
    final = train_world(world, tmp_path / "run", replace(RECIPE, start_share=0.75, average=1))
    last = read_tensors(tmp_path / "run" / "step-0000012" / WEIGHTS)["layers.0.up.weight"]
    start = make_network().layers[0].up.weight
    assert torch.allclose(read_tensors(final.folder / WEIGHTS)["layers.0.up.weight"], 0.25 * last + 0.75 * start)


def test_schedule_warms_up_and_falls():
    """The rate rises in a line to its top and falls to its final share at the last step."""
    recipe = replace(RECIPE, steps=100, warmup=10, learning_rate=1.0, final_rate=0.1)
    assert schedule(5, recipe) == pytest.approx(0.5)
    assert schedule(10, recipe) == pytest.approx(1.0)
    assert schedule(55, recipe) == pytest.approx(0.55)
    assert schedule(100, recipe) == pytest.approx(0.1)


def test_flops_are_counted_by_hand():
    """Three passes of 2 FLOPs a weight and token, and 4 a head column, token and token seen; one for a teacher."""
    weights = 2 * (4 * 16 * 16 + 2 * 16 * 32)
    reading = 30 * 2 * weights + 500 * 4 * 16 * 2
    assert count_flops(make_network(), [10, 20]) == 3 * reading
    assert count_flops(make_network(), [10, 20], make_network()) == 4 * reading
    assert measure_gemm(torch.device("cpu"), torch.float32, seconds=0.01) > 1e8
    assert measure_memory(torch.device("cpu")) > 10**7
