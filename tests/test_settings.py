"""What a mistaken configuration is answered with: one line that names the place, the key and what is allowed."""

from pathlib import Path

import pytest

from edged import settings
from edged.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(settings.os.environ):
        if name.upper().startswith("EDGED_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "SYSTEM_CONFIG", tmp_path / "none.toml")


def mistake(config: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        settings.load(config)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


@pytest.mark.parametrize(
    ("toml", "parts"),
    [
        ("[model]\nnam = 'x'", ("model.nam: unknown key; allowed here: name, providers, runtime, threads, top",)),
        ("[modle]\nname = 'x'", ("modle: unknown key; allowed here: ", "model")),
        ("[model]\nthreads = 'many'", ("model.threads = 'many'", "integer")),
        ("[model]\nthreads = 0", ("model.threads = 0", "greater than or equal to 1")),
        ("[model]\nruntime = 'onyx'", ("model.runtime = 'onyx'", "'litert'", "'onnx'")),
        ("[model]\nproviders = ['CUDA,cpu']", ("model.providers", "CUDA,cpu")),
        (
            "[cameras.main]\nsorce = '0'",
            (
                "cameras.main.sorce: unknown key; allowed here: fps, loop, regions, regions_max, roi, score_threshold, "
                "source",
            ),
        ),
        ("[cameras.main]\nsorce = '0'\nfps = -1", ("cameras.main.fps = -1", "(and 1 more)")),
        ("[cameras.main]\nroi = [0.5, 0, 0.6, 1]", ("cameras.main.roi", "stay inside the frame")),
        ("[cameras.main]\nregions = 'grid:3'", ("cameras.main.regions = 'grid:3'", 'use "motion", "grid:3x2"')),
        ("[cameras.main]\nregions = 'grid:9x9'", ("cameras.main.regions = 'grid:9x9'", "at most 64 regions")),
        ("[cameras.main]\nregions = 'detector:a/b'", ("cameras.main.regions = 'detector:a/b'", '"detector:NAME"')),
        ("[cameras.main]\nregions = 'detector:'", ("cameras.main.regions = 'detector:'", '"detector:NAME"')),
        ("[cameras.main]\nscore_threshold = 1.5", ("cameras.main.score_threshold = 1.5", "less than or equal to 1")),
        ("[cameras.main]\nregions = 3", ("cameras.main.regions = 3", 'use "motion"')),
        (
            "[cameras.main.regions]\ntill = [0, 0, 1.5, 1]",
            ("cameras.main.regions", "till: x, y, width, height must be"),
        ),
        ("[cameras.main.regions]\ntill = [0, 0]", ("cameras.main.regions", "till: x, y, width, height must be")),
        ("[cameras.main.regions]\n'a/b' = [0, 0, 1, 1]", ("cameras.main.regions", "a/b: use 1 to 64 letters")),
        ("[cameras.main]\nregions_max = 0", ("cameras.main.regions_max = 0", "greater than or equal to 1")),
        ("[cameras.'a/b']\nsource = '0'", ("cameras.a/b = 'a/b'", "letters, digits")),
        ("[cameras]\nmain = 'pattern'", ("cameras.main = 'pattern'",)),
        ("[cameras]", ("cameras = {}", "at least 1")),
        ("[device]\nid = 'all'", ("device.id = 'all'", "whole fleet")),
        ("[mqtt]\nurl = 'http://x'", ("mqtt.url = 'http://x'", "use mqtt://HOST")),
        ("[mqtt]\nurl = ['mqtt://a', 'mqtt://joe:s3cret@b']", ("mqtt.url = ", "address 2: use mqtt://HOST")),
        ("[mqtt]\nurl = []", ("mqtt.url = []", "at least one address")),
        ("[mqtt]\nurl = 5", ("mqtt.url = 5", "a list of the addresses")),
        ("[metrics]\nlisten = 9184", ("metrics.listen = 9184", "string")),
        ("[metrics]\nlisten = '9184'", ("metrics.listen = '9184'", "use HOST:PORT")),
        ("[metrics]\nlisten = ':9184'", ("metrics.listen = ':9184'", "use HOST:PORT")),
        ("[metrics]\nlisten = 'localhost:0'", ("metrics.listen = 'localhost:0'", "use HOST:PORT")),
        ("[metrics]\nlisten = '127.0.0.1:65536'", ("metrics.listen = '127.0.0.1:65536'", "use HOST:PORT")),
        ("[metrics]\nlisten = '::1:9184'", ("metrics.listen = '::1:9184'", "use HOST:PORT")),
        ("[metrics]\nlisten = 'http://localhost:9184'", ("metrics.listen", "use HOST:PORT")),
        ("[storage]\noutbox_max_mb = inf", ("storage.outbox_max_mb = inf", "less than")),
        ("[storage]\nstate_dir = '~no-such-user/x'", ("storage.state_dir", "no such user")),
        ("[device]\nid = = 3", ("line 2",)),
    ],
)
def test_a_mistake_names_file_key_value_and_what_is_allowed(tmp_path: Path, toml: str, parts: tuple[str, ...]) -> None:
    config = tmp_path / "edged.toml"
    config.write_text(toml)
    text = mistake(config)
    assert text.startswith(f"{config}: ")
    for part in parts:
        assert part in text


@pytest.mark.parametrize("url", ["'mqtt://joe:s3cret@host'", "['mqtt://a', 'mqtt://joe:s3cret@host']"])
def test_a_password_in_a_url_is_not_repeated(tmp_path: Path, url: str) -> None:
    config = tmp_path / "edged.toml"
    config.write_text(f"[mqtt]\nurl = {url}")
    assert "s3cret" not in mistake(config)


def test_the_nodes_of_a_cluster_are_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "edged.toml"
    config.write_text("[mqtt]\nurl = ['mqtt://a', 'wss://b/mqtt']")
    assert settings.load(config).mqtt.url == ("mqtt://a", "wss://b/mqtt")
    config.write_text("[mqtt]\nurl = 'mqtt://a'")
    assert settings.load(config).mqtt.url == ("mqtt://a",)
    monkeypatch.setenv("EDGED_MQTT__URL", "mqtt://c:1, ws://d")
    assert settings.load(config).mqtt.url == ("mqtt://c:1", "ws://d")


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("", None),
        ("127.0.0.1:9184", ("127.0.0.1", 9184)),
        ("[::1]:65535", ("::1", 65535)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("my-host.example:80", ("my-host.example", 80)),
    ],
)
def test_where_the_metrics_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: str, address: tuple[str, int] | None
) -> None:
    monkeypatch.setenv("EDGED_METRICS__LISTEN", listen)
    assert settings.load().metrics.address == address


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    config = tmp_path / "edged.toml"
    config.write_text(f"[model]\nthreads = '{'x' * 100_000}'")
    assert "xxx…" in mistake(config)


def test_what_is_no_configuration_file(tmp_path: Path) -> None:
    assert "no such configuration file" in mistake(tmp_path / "missing.toml")
    assert "is a folder" in mistake(tmp_path)
    assert "not a regular file" in mistake(Path("/dev/zero"))
    assert "File name too long" in mistake(Path("x" * 300))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    assert "byte 0 is not UTF-8 text" in mistake(binary)
    huge = tmp_path / "huge.toml"
    with huge.open("wb") as file:
        file.truncate(8 * 10**9)
    assert "8000000000 bytes" in mistake(huge)


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("EDGED_MODEL__THREADS", "lots", ("model.threads = 'lots'",)),
        ("EDGED_MODEL__FOO", "1", ("model.foo: unknown key; allowed here: name",)),
        ("EDGED_MODLE__NAME", "x", ("no such section; sections: cameras, device",)),
        ("EDGED_CAMERAS__DOOR__FPS", "x", ("cameras.door.fps = 'x'",)),
        ("EDGED_MODEL", "mobilenet_v2", ("not JSON", "EDGED_SECTION__KEY")),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, parts: tuple[str, ...]
) -> None:
    config = tmp_path / "edged.toml"
    config.write_text("[model]\nthreads = 1\n")
    monkeypatch.setenv(name, value)
    text = mistake(config)
    assert text.startswith(f"{name}: ")
    for part in parts:
        assert part in text


def test_the_environment_wins_over_the_file_and_flags_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "edged.toml"
    config.write_text("[model]\nthreads = 1\ntop = 1\nname = 'a'\n[cameras.door]\nsource = 'pattern'\n")
    monkeypatch.setenv("EDGED_MODEL__TOP", "2")
    monkeypatch.setenv("EDGED_MODEL__NAME", "b")
    monkeypatch.setenv("EDGED_CAMERAS__DOOR__FPS", "7")
    monkeypatch.setenv("EDGED_SOMETHING_ELSE", "x")
    loaded = settings.load(config, {"model": {"name": "c"}})
    assert (loaded.model.threads, loaded.model.top, loaded.model.name) == (1, 2, "c")
    assert (loaded.cameras["door"].source, loaded.cameras["door"].fps) == ("pattern", 7)


def test_without_a_home_folder_the_state_needs_a_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert "storage.state_dir" in mistake()
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert settings.load().storage.state_dir == tmp_path


def test_a_credential_lies_where_systemd_says(tmp_path, monkeypatch):
    config = tmp_path / "edged.toml"
    config.write_text('[mqtt]\nusername = "u"\npassword_file = "credential:mqtt"\n')
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert settings.load(config).mqtt.password_file == Path("credential:mqtt")  # of another process, or of no unit
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/edged.service")
    assert settings.load(config).mqtt.password_file == Path("/run/credentials/edged.service/mqtt")


@pytest.mark.parametrize("name", ["", "../mqtt"])
def test_a_credential_is_a_name(tmp_path, name):
    config = tmp_path / "edged.toml"
    config.write_text(f'[mqtt]\npassword_file = "credential:{name}"\n')
    said = mistake(config)
    assert f"mqtt.password_file = 'credential:{name}': " in said
    assert "use credential:NAME" in said


def test_a_detector_is_named() -> None:
    cameras = settings.load(
        None, {"cameras": {"a": {"regions": "detector:ssd_v2.1"}, "b": {"regions": "motion"}}}
    ).cameras
    assert (cameras["a"].detector, cameras["a"].grid, cameras["a"].score_threshold) == ("ssd_v2.1", None, 0.5)
    assert (cameras["b"].detector, settings.CameraSettings(regions={"detector": (0, 0, 1, 1)}).detector) == (None, None)


def test_regions_are_a_word_a_grid_or_boxes_with_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "edged.toml"
    config.write_text(
        '[cameras.a]\nregions = "grid:3x2"\n[cameras.b]\nregions = { till = [0, 0, 0.5, 1] }\n[cameras.c]'
    )
    cameras = settings.load(config).cameras
    assert cameras["a"].grid == (3, 2)
    assert (cameras["b"].regions, cameras["b"].grid) == ({"till": (0, 0, 0.5, 1)}, None)
    assert (cameras["c"].regions, cameras["c"].regions_max) == ("", 8)
    monkeypatch.setenv("EDGED_CAMERAS__C__REGIONS", "motion")
    assert settings.load(config).cameras["c"].regions == "motion"
