"""Retraining over a real broker: the command, its job, the new model on live results, and the way back."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from edged.contract.messages import FINAL, Job, ModelInfo, Result
from edged.ctl.client import Client
from edged.ctl.errors import RejectedError
from edged.daemon.loop import PROBATION_FRAMES
from edged.mqtt.broker import brokers as brokers_of
from edged.settings import MqttSettings
from edged.store import Store, read_bundle
from edged.zoo.install import install
from tests.albums import LABELS, make_album, picture, put
from tests.conftest import REPOSITORY
from tests.daemon.process import Daemon
from tests.mosquitto import Mosquitto
from tests.networks import made
from tests.pinned import Pins
from tests.waiting import PATIENCE_S, has_ended, wait_until

RETRAIN = "[retrain]\nkeep_frames = false\nbatch = 16\nmin_accuracy = 0.4\ntolerance = 0.2\n"
ENDLESS = {"epochs": 10_000, "lr": 1e-6, "batch": 1, "patience": 10_000}
"""A training that does not end by itself while a test looks at it."""
ENDLESS_OPTIONS = [f"--{name}={value}" for name, value in ENDLESS.items()]
Edgectl = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def client(broker: Mosquitto) -> Iterator[Client]:
    with Client(brokers_of(MqttSettings(url=broker.url)), timeout_s=PATIENCE_S) as opened:
        yield opened


@pytest.fixture
def device(daemon: Callable[..., Daemon], tmp_path: Path) -> Daemon:
    """A daemon with 12 pictures of each label."""
    make_album(tmp_path / "state" / "images", 12)
    return daemon(RETRAIN)


def call(client: Client, name: str, args: dict[str, Any] | None = None) -> list[Job]:
    """Every state of the command's job; the last one is final."""
    ack = client.command("dut", name, args or {})
    return list(client.jobs(ack.id))


def retrain(client: Client, **args: Any) -> Job:
    return call(client, "retrain", args)[-1]


def model_id(client: Client) -> str:
    with client.subscribe("dut/model") as answers:
        message = answers.get(PATIENCE_S)
        assert message is not None
        model = message.decode(ModelInfo)
        assert model is not None
        return model.id


def answers_live(client: Client, model: str | None = None) -> bool:
    """Wait for a result of a model, or of any; those of the model before it may still be on their way."""
    with client.subscribe("dut/result/+") as answers:
        while (message := answers.get(PATIENCE_S)) is not None:
            result = message.decode(Result)
            assert result is not None
            if model in (None, result.model):
                return True
    return False


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def test_a_new_final_layer_answers_and_the_old_one_comes_back(
    daemon: Callable[..., Daemon], client: Client, tmp_path: Path
) -> None:
    make_album(tmp_path / "state" / "images", 12)
    device = daemon(RETRAIN, fps=0)  # the camera waits for the network, so that no frame may be missing
    before = model_id(client)
    with client.subscribe("dut/result/+") as live:
        states = call(client, "retrain", {"lr": 0.1})
        last = states[-1]
        assert last.status == "succeeded", last.error
        report = last.report
        assert report is not None
        new = report["model"]
        # No result is lost at the swap: seq has no gap, each frame is answered by the old or the new model, and labels
        # belong to the model that is named.
        wait_until(lambda: live.arrived.qsize() > 0, what="results")
        seen = []
        while (message := live.get(PATIENCE_S)) is not None:
            result = message.decode(Result)
            assert result is not None
            seen.append(result)
            if result.model == new and len(seen) > 12:
                break
    assert {result.model for result in seen} == {before, new}
    assert all((result.label in LABELS) == (result.model == new) for result in seen)
    sequence = [result.seq for result in seen]
    assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))

    stages = list(dict.fromkeys(job.stage for job in states if job.stage))
    assert stages[:2] == ["scan", "bottlenecks"]
    assert "swap" in stages
    assert [job.progress for job in states] == sorted(job.progress for job in states)
    assert report["counts"] == dict.fromkeys(LABELS, 12)
    assert {"scan", "bottlenecks", "training", "swap", "total"} <= set(report["seconds"])
    assert report["decision"]["against"] == before
    assert model_id(client) == new

    listed = call(client, "models_list")[-1].report
    assert listed is not None
    assert [(one["id"], one["current"], one["previous"]) for one in listed["models"] if one["kind"] == "version"] == [
        (new, True, False), (before, False, True),
    ]  # fmt: skip
    assert call(client, "rollback")[-1].status == "succeeded"
    assert model_id(client) == before
    assert answers_live(client, before)
    assert call(client, "models_use", {"model": new})[-1].status == "succeeded"
    assert answers_live(client, new)
    with client.subscribe("dut/job") as retained:
        message = retained.get(PATIENCE_S)
    assert message is not None
    assert message.decode(Job) == last  # commands that are done at once have not taken its place
    assert device.stop() == 0
    assert Store(device.state_dir).current("mobilenet_v2").id == new
    assert "Traceback" not in device.log


def test_edgectl_shows_a_training_to_its_end(device: Daemon, edgectl: Edgectl, client: Client) -> None:
    code, out, err = finish(edgectl("retrain", "--lr", "0.1", "--json"))
    assert code == 0, err
    (line,) = out.splitlines()
    job = json.loads(line)
    assert (job["device"], job["status"]) == ("dut", "succeeded")
    assert {"float", "quantized"} <= set(job["report"]["accuracy"])
    code, out, err = finish(edgectl("retrain", "--lr", "0.5", "--seed", "3"))
    assert code == 0, err
    assert "cross-validated on" in out
    assert all(label in out for label in LABELS)
    assert "bottlenecks" in err
    code, out, err = finish(edgectl("jobs", "--json"))
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["succeeded", "succeeded"]
    assert "report" not in out
    code, out, err = finish(edgectl("models", "list"))
    assert job["report"]["model"] in out
    code, out, err = finish(edgectl("rollback"))
    assert (code, job["report"]["model"] in out) == (0, True), err
    code, out, err = finish(edgectl("rollback", "--json"))
    assert json.loads(out)["report"]["name"] == "mobilenet_v2"
    code, out, err = finish(edgectl("rollback"))
    assert code == 1
    assert "nothing to roll back to" in err
    code, out, err = finish(edgectl("models", "use", "nonsense"))
    assert code == 1
    assert "installed: mobilenet_v2" in err


def test_one_training_at_a_time_and_a_command_runs_once(device: Daemon, client: Client) -> None:
    first = client.command("dut", "retrain", ENDLESS)
    second = call(client, "retrain")[-1]
    assert (second.status, second.error) == ("rejected", f"a training is running: {first.id}")
    payload = json.dumps({"id": first.id, "args": {}}).encode()
    with client.subscribe(f"dut/ack/{first.id}") as acks:
        client.publish("dut/cmd/retrain", payload)
        assert acks.get(PATIENCE_S) is not None  # answered again…
    wait_until(lambda: f"training {first.id} runs" in device.log, what="the training's process")
    assert device.log.count(f"training {first.id} runs") == 1  # …not run again
    assert call(client, "cancel", {"job": "feed"})[-1].status == "failed"
    assert call(client, "cancel", {"job": first.id[:6]})[-1].status == "succeeded"
    (*_, last) = client.jobs(first.id)
    assert last.status == "cancelled"
    assert answers_live(client)
    assert retrain(client).status == "succeeded"


def test_what_runs_is_cancelled_and_shown_by_the_beginning_of_its_id(
    device: Daemon, client: Client, edgectl: Edgectl
) -> None:
    code, out, err = finish(edgectl("cancel"))
    assert (code, out, err) == (1, "", "edgectl: dut: cancel failed: nothing is running\n")
    code, out, err = finish(edgectl("retrain", *ENDLESS_OPTIONS, "--no-wait"))
    assert code == 0, err
    job_id = out.split("job ")[1].split(";")[0]
    code, _, err = finish(edgectl("retrain", "--no-wait"))
    assert (code, err) == (1, f"edgectl: dut: retrain rejected: a training is running: {job_id}\n")
    code, out, err = finish(edgectl("retrain", "--no-wait", "--json"))
    assert (code, json.loads(out)["status"]) == (1, "rejected")
    code, out, err = finish(
        edgectl("profile", "--no-wait", "--only", "online", "--online", "100000", "--seconds", "600")
    )
    assert code == 0, err
    profile_id = out.split("job ")[1].split(";")[0]
    code, _, err = finish(edgectl("cancel"))
    assert code == 1
    assert f"several jobs are running, name one: retrain {job_id}, profile {profile_id}" in err
    code, out, err = finish(edgectl("cancel", profile_id[:5]))
    assert (code, out) == (0, f"dut: profile {profile_id} is being cancelled\n"), err
    wait_until(lambda: f"profile {profile_id}: cancelled" in device.log, what="the end of the profile")
    code, out, err = finish(edgectl("cancel"))
    assert (code, out) == (0, f"dut: retrain {job_id} is being cancelled\n"), err
    wait_until(lambda: f"training {job_id}: cancelled" in device.log, what="the end of the training")
    code, out, err = finish(edgectl("jobs"))
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80
    rows = [line.split() for line in out.splitlines() if "cancelled" in line]
    assert [row[:3] for row in rows] == [
        [job_id[:8], "retrain", "cancelled"], [profile_id[:8], "profile", "cancelled"]
    ]  # fmt: skip
    assert f"running: {job_id[:8]} " in " ".join(out.split()), "ids stand on one line, also in a reason"
    code, out, err = finish(edgectl("jobs", profile_id[:6], "--json"))
    assert (json.loads(out)["id"], code) == (profile_id, 0), err
    code, out, err = finish(edgectl("retrain", "--json"))
    trained = json.loads(out)
    code, out, err = finish(edgectl("jobs", trained["id"][:6]))
    assert (code, "cross-validated on" in out) == (0, True), err
    code, out, err = finish(edgectl("jobs", "zzz"))
    assert code == 1
    assert "job zzz: there is none with this id" in err


def test_no_wait_tells_what_the_images_do_not_allow(daemon: Callable[..., Daemon], edgectl: Edgectl) -> None:
    daemon(RETRAIN)
    code, out, err = finish(edgectl("retrain", "--no-wait"))
    assert (code, out) == (1, "")
    assert err.startswith("edgectl: dut: retrain rejected: training needs at least two labels")


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"lr": 0}, "args.lr = 0: .*greater than 0"),
        ({"lr": -1}, "args.lr = -1: .*greater than 0"),
        ({"lr": "NaN"}, "args.lr = 'NaN': .*finite"),
        ({"epochs": 0}, "args.epochs = 0"),
        ({"colour": 1}, "args.colour: unknown field; allowed: lr, epochs"),
    ],
)
def test_wrong_values_are_refused_at_once(device: Daemon, client: Client, args: dict[str, Any], reason: str) -> None:
    with pytest.raises(RejectedError, match=reason):
        client.command("dut", "retrain", args)


def test_what_cannot_be_learned_from_is_refused(daemon: Callable[..., Daemon], client: Client) -> None:
    device = daemon(RETRAIN)
    before = model_id(client)
    empty = retrain(client)
    assert (empty.status, "no labeled image" in (empty.error or "")) == ("rejected", True)
    images = make_album(device.state_dir / "images", 12, LABELS[:1])
    put(images / LABELS[1] / "1.jpg", picture(LABELS[1], 1))
    put(images / LABELS[1] / "2.jpg", picture(LABELS[1], 2))
    one = retrain(client)
    assert one.status == "rejected"
    assert one.error == "training needs at least two labels of 5 images or more each; there are: checks 12, discs 2"
    wrong = retrain(client, backbone="resnet_9000")
    assert wrong.status == "rejected"
    assert "installed: mobilenet_v2" in (wrong.error or "")
    assert model_id(client) == before
    assert answers_live(client, before)


def test_a_broker_that_goes_during_the_training_hears_of_its_end(
    device: Daemon, client: Client, broker: Mosquitto
) -> None:
    job_id = client.command("dut", "retrain", {"seed": 4}).id
    broker.stop()
    wait_until(lambda: f"training {job_id}: succeeded" in device.log, what="the end of the training")
    broker.start()
    wait_until(lambda: client.connected, what="our own connection")
    with client.subscribe("dut/job") as retained:
        message = retained.get(PATIENCE_S)
        while message is not None and (job := message.decode(Job)) is not None and job.status not in FINAL:
            message = retained.get(PATIENCE_S)
    assert message is not None
    assert (job.id, job.status) == (job_id, "succeeded")


@pytest.mark.parametrize("stage", ["scan", "bottlenecks", "training", "export", "evaluation", "writing", "swap"])
def test_a_training_is_cancelled_at_any_stage(
    daemon: Callable[..., Daemon], client: Client, tmp_path: Path, stage: str
) -> None:
    make_album(tmp_path / "state" / "images", 12)
    device = daemon(RETRAIN + "epochs = 20\n")
    before, cancel = model_id(client), None
    job_id = client.command("dut", "retrain", {}).id
    for last in client.jobs(job_id):
        if last.stage == stage and cancel is None:
            cancel = client.command("dut", "cancel", {"job": job_id}).id
    assert cancel is not None
    (*_, answer) = client.jobs(cancel)
    if answer.status == "succeeded":  # else the stage was over when the command came
        assert (last.status, last.error) == ("cancelled", "cancelled on request")
        assert model_id(client) == before
        assert {version.id for version in Store(device.state_dir).versions()} <= {before}
    assert answers_live(client)


def test_a_training_that_takes_too_long_ends(daemon: Callable[..., Daemon], client: Client, tmp_path: Path) -> None:
    make_album(tmp_path / "state" / "images", 12)
    daemon(RETRAIN + "timeout_s = 0.05\n")
    last = retrain(client)
    assert (last.status, last.error) == ("failed", "not done after retrain.timeout_s = 0.05 s")


def test_a_daemon_that_stops_ends_its_training(device: Daemon, client: Client) -> None:
    job_id = client.command("dut", "retrain", ENDLESS).id
    wait_until(lambda: f"training {job_id} runs" in device.log, what="the training")
    assert device.stop() == 0
    (*_, last) = client.jobs(job_id)
    assert (last.status, last.error) == ("cancelled", "the daemon stopped")


_HELD = """
import os, sys, time
from edged.cli import main
from edged.daemon import training

read_bundle = training.read_bundle

def held(path):
    while os.path.exists(sys.argv[1]):
        time.sleep(0.05)
    return read_bundle(path)

training.read_bundle = held
sys.exit(main(sys.argv[2:]))
"""
"""`edged`, where a training that is done does not let its model answer while there is a file."""


def test_a_training_leaves_a_model_alone_that_it_was_not_compared_with(
    daemon: Callable[..., Daemon], client: Client, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    make_album(tmp_path / "state" / "images", 12)
    daemon(RETRAIN, program=("-c", _HELD, str(hold)))
    before = model_id(client)
    first = retrain(client)
    assert first.status == "succeeded", first.error
    hold.touch()
    for job in client.jobs(client.command("dut", "retrain", {"lr": 0.05}).id):
        if job.stage == "swap" and hold.exists():
            assert call(client, "rollback")[-1].status == "succeeded"
            hold.unlink()
    assert first.report is not None
    assert job.report is not None
    answers, made = f"mobilenet_v2 ({before}) answers by now", f"({job.report['model']}) was compared with"
    assert job.status == "rejected", job
    assert job.error is not None
    assert job.error.startswith(f"{answers}, and goes on; ")
    assert job.error.endswith(f" {made} {first.report['model']}")
    assert model_id(client) == before
    assert call(client, "models_use", {"model": job.report["model"]})[-1].status == "succeeded", "it is there"


_OVERTAKEN = """
import sys, threading
from edged.cli import main
from edged.daemon import app, deadline, switching

begun, begin_stop = threading.Event(), app.Daemon._begin_stop

def begin(daemon):
    begun.set()
    begin_stop(daemon)

app.Daemon._begin_stop = begin
switching.ModelSwitch._examine = lambda *_: begun.wait()
switching.HAND_OVER_S = app._PART_S = deadline.STOP_S = deadline.LEAVE_S = 1000.0
sys.exit(main(sys.argv[1:]))
"""
"""`edged`, where a change of model comes to its live frames when the stop has begun, which waits for it for long."""


def test_a_stop_does_not_wait_for_live_frames_of_a_model_that_is_being_let_in(
    daemon: Callable[..., Daemon], client: Client, tmp_path: Path
) -> None:
    make_album(tmp_path / "state" / "images", 12)
    device = daemon(RETRAIN, program=("-c", _OVERTAKEN))
    assert retrain(client).status == "succeeded"
    new = model_id(client)
    assert call(client, "rollback")[-1].status == "succeeded"
    client.command("dut", "models_use", {"model": new})
    assert device.stop() == 0
    assert "still at work" not in device.log


def test_a_slow_camera_does_not_hold_the_new_model_up(device: Daemon, client: Client) -> None:
    assert call(client, "set", {"fps": 0.05})[-1].status == "succeeded"
    with client.subscribe("dut/result/+") as live:
        last = retrain(client)
    assert last.status == "succeeded", last.error
    new, by_new = (last.report or {})["model"], 0
    while (message := live.get(0)) is not None:
        by_new += json.loads(message.payload)["model"] == new
    assert by_new < PROBATION_FRAMES / 2, "success was told before a probation on live frames could end"
    assert model_id(client) == new


def test_no_process_outlives_a_training(daemon: Callable[..., Daemon], client: Client, tmp_path: Path) -> None:
    make_album(tmp_path / "state" / "images", 12)
    device = daemon(RETRAIN + "ready_s = 0\n")
    assert retrain(client).status == "succeeded"
    assert device.process is not None
    daemon_process = psutil.Process(device.process.pid)
    # What is left here when the daemon ends, systemd kills, and says so in the log.
    wait_until(lambda: not daemon_process.children(recursive=True), what="the end of the trainer")
    job_id = client.command("dut", "retrain", ENDLESS).id
    wait_until(lambda: f"training {job_id} runs" in device.log, what="the training")
    wait_until(lambda: daemon_process.children(recursive=True), what="the trainer's process")
    started = daemon_process.children(recursive=True)
    assert device.stop() == 0
    assert all(has_ended(one) for one in started)


def test_a_trainer_waits_for_the_next_training(device: Daemon, client: Client) -> None:
    """After an image has got a label, and after a training; and it ends with the daemon."""
    assert device.process is not None
    daemon_process = psutil.Process(device.process.pid)
    assert not daemon_process.children()
    data = picture(LABELS[0], 900)
    sha256 = hashlib.sha256(data).hexdigest()
    client.command("dut", "image", {"label": LABELS[0], "sha256": sha256, "jpeg": base64.b64encode(data).decode()})
    for seed in range(2):
        wait_until(daemon_process.children, what="a process that waits")
        (process,) = daemon_process.children()
        job_id = client.command("dut", "retrain", {"seed": seed}).id
        (*_, last) = client.jobs(job_id)
        assert last.status == "succeeded", last.error
        assert f"training {job_id} runs in process {process.pid}\n" in device.log
        assert has_ended(process)
    wait_until(daemon_process.children, what="a process that waits")
    (process,) = daemon_process.children()
    assert device.stop() == 0
    assert has_ended(process)


def test_only_the_last_versions_stay(daemon: Callable[..., Daemon], client: Client, tmp_path: Path) -> None:
    make_album(tmp_path / "state" / "images", 12)
    device = daemon(RETRAIN + "keep_versions = 3\n")
    ids = [(retrain(client, seed=seed, epochs=5).report or {})["model"] for seed in range(4)]
    assert [version.id for version in Store(device.state_dir).versions()] == ids[:0:-1]


def test_what_cannot_be_deleted_fails_no_training(
    daemon: Callable[..., Daemon], client: Client, edgectl: Edgectl, tmp_path: Path, pins: Pins
) -> None:
    make_album(tmp_path / "state" / "images", 12)
    device = daemon(RETRAIN + "keep_versions = 2\n")
    store = Store(device.state_dir)
    first = (retrain(client, seed=0, epochs=5).report or {})["model"]
    pins.pin(store.find(first).path / "model.tflite")
    given_up = device.state_dir / "uploads" / "given-up"
    given_up.mkdir(parents=True)
    (given_up / "file").touch()
    pins.pin(given_up / "file")
    for seed in range(1, 5):
        trained = retrain(client, seed=seed, epochs=5)
        assert trained.status == "succeeded", trained.error
    assert len(store.versions()) == 2
    assert 1 <= device.log.count("stays: it cannot be deleted") <= 4, "the daemon once, and each trainer once"
    code, _, err = finish(edgectl("models", "push", str(REPOSITORY / "models" / "mobilenet_v2"), "--name", "again"))
    assert code == 0, err
    assert list((device.state_dir / "uploads").iterdir()) == [given_up]


def test_a_model_is_pushed_and_answers(device: Daemon, edgectl: Edgectl, client: Client, tmp_path: Path) -> None:
    source, labels = made("made_v1_128").write(tmp_path, "legacy")
    code, out, err = finish(edgectl("models", "push", str(source), "--labels", str(labels), "--name", "small"))
    assert code == 0, err
    assert "small" in out
    code, out, err = finish(edgectl("models", "push", str(source), "--labels", str(labels), "--name", "small"))
    assert code == 1
    assert "a model named small is installed already" in err
    code, out, err = finish(edgectl("models", "use", "small"))
    assert code == 0, err
    assert model_id(client) in out
    code, out, err = finish(edgectl("models", "push", str(REPOSITORY / "models" / "mobilenet_v2"), "--name", "again"))
    assert code == 0, err
    pushed = Store(device.state_dir).find("again").manifest
    shipped = Store(device.state_dir).find("mobilenet_v2").manifest
    assert (pushed.backbone, pushed.backbone_sha256) == ("again", shipped.sha256)
    assert (pushed.outputs, pushed.accuracy, pushed.source) == (shipped.outputs, shipped.accuracy, shipped.source)
    code, out, err = finish(edgectl("models", "push", str(labels), "--labels", str(labels)))
    assert (code, err) == (2, f"edgectl: {labels}: is no TensorFlow Lite model, and no ONNX model\n")
    trained = retrain(client, backbone="small", lr=0.3)
    assert trained.status == "succeeded", trained.error
    assert (trained.report or {})["backbone"] == "small"
    assert not list((device.state_dir / "uploads").iterdir())


def test_a_pushed_bundle_keeps_its_lineage(device: Daemon, edgectl: Edgectl, client: Client, tmp_path: Path) -> None:
    trained = (retrain(client).report or {})["model"]
    bundle = Store(device.state_dir).find(trained)
    carried = tmp_path / "carried"
    shutil.copytree(bundle.path, carried)
    code, out, err = finish(edgectl("models", "push", str(carried), "--name", "carried"))
    assert code == 0, err
    assert " kB were sent, what differs from a model that it has" in out
    installed = Store(device.state_dir).find("carried")
    assert installed.read_familiarity() == bundle.read_familiarity() is not None
    assert installed.read_model() == bundle.read_model()
    assert installed.manifest == bundle.manifest.model_copy(update={"name": "carried"})
    assert installed.manifest.outputs == ("scores", "bottleneck")
    assert installed.accuracy == bundle.accuracy is not None
    manifest = json.loads((carried / "manifest.json").read_text())
    (carried / "manifest.json").write_text(json.dumps({**manifest, "backbone_sha256": "feed"}))
    code, _, err = finish(edgectl("models", "push", str(carried), "--name", "other"))
    assert code == 1
    assert "models_add failed: manifest: backbone_sha256: String should match pattern" in err
    (carried / "manifest.json").write_text(json.dumps({**manifest, "sha256": "0" * 64}))
    code, _, err = finish(edgectl("models", "push", str(carried), "--name", "other"))
    assert (code, f"manifest.json: sha256 starts with 000000000000, that of {carried}" in err) == (2, True), err


def test_auto_ranks_what_is_installed_and_trains_on_the_first(
    daemon: Callable[..., Daemon], client: Client, tmp_path: Path
) -> None:
    make_album(tmp_path / "state" / "images", 12)
    shipped = read_bundle(REPOSITORY / "models" / "mobilenet_v2")
    store = Store(tmp_path / "state")
    install(store, shipped.read_model() + bytes(16), shipped.labels, name="other", origin="other")
    daemon(RETRAIN)
    trained = retrain(client, backbone="auto")
    assert trained.status == "succeeded", trained.error
    report = trained.report or {}
    assert report["choice"]["chosen"] == report["backbone"] == "mobilenet_v2"
    assert [one["name"] for one in report["choice"]["sources"]] == ["mobilenet_v2", "other"]
