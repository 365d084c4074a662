"""One tree of settings: TOML < environment (EDGED_SECTION__KEY) < flags. Frozen; unknown keys are errors."""

from __future__ import annotations

import math
import os
import re
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from edged.contract.discovery import DEFAULT_PREFIX
from edged.contract.hyperparameters import Hyperparameters
from edged.contract.signature import ALGORITHM, MAX_KEYS, PublicKey
from edged.contract.topics import TopicLevel, check_topic_level
from edged.errors import ConfigError, Mistake, mistakes
from edged.types import Box

SYSTEM_CONFIG = Path("/etc/edged/edged.toml")
_PREFIX = "EDGED_"
_MAX_CONFIG_BYTES = 1_000_000
_CREDENTIAL = "credential:"
_HOST = r"(\[[0-9a-fA-F:.%]+\]|[^/:@,\s\[\]]+)(:\d{1,5})?"
_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+(%[\w.-]+)?)\]|(?P<host>[A-Za-z0-9_.-]+)):(?P<port>[1-9]\d{0,4})")
_BROKER_URL = re.compile(rf"(mqtts?://{_HOST}/?|wss?://{_HOST}(/[^\s?#]*)?)")
_URLS = {
    "anyOf": [
        {"type": "string", "pattern": rf"^{_BROKER_URL.pattern}(\s*,\s*{_BROKER_URL.pattern})*$"},
        {"type": "array", "items": {"type": "string", "pattern": f"^{_BROKER_URL.pattern}$"}, "minItems": 1},
    ]
}
"""What `mqtt.url` may be, as a JSON Schema: one address or several, see `MqttSettings`."""
_KeyLine = Annotated[str, Field(json_schema_extra={"pattern": rf"^\s*{ALGORITHM}:[A-Za-z0-9+/]{{43}}=(\s.*)?$"})]
_SHOWN = 200
"""Of a wrong value, characters."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()).strip("-._")[:64] or "edged"


def _default_state_dir() -> Path:
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    try:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError as error:  # neither $HOME nor an entry in the password file
        raise ConfigError("storage.state_dir: this user has no home folder; set storage.state_dir or $HOME") from error
    return Path(base) / "edged"


def check_name(key: str, value: str) -> None:
    """Raise ConfigError where a name from the command line is no safe file name."""
    try:
        check_topic_level(value)
    except ValueError as error:
        raise ConfigError(f"{key} = {value!r}: {error}") from error


class DeviceSettings(_Section):
    """Who this device is."""

    id: TopicLevel = Field(default_factory=_host_name, json_schema_extra={"not": {"const": "all"}})

    @field_validator("id")
    @classmethod
    def _not_all(cls, value: str) -> str:
        if value == "all":
            raise ValueError("'all' addresses the whole fleet; choose another id")
        return value


_HOW_BOX = "x, y, width, height must be fractions that stay inside the frame, e.g. [0, 0, 1, 1]"


def _inside(box: Box) -> Box:
    x, y, width, height = box
    inside = 0 <= x < 1 and 0 <= y < 1 and width > 0 and height > 0
    if not (inside and x + width <= 1 + 1e-9 and y + height <= 1 + 1e-9):
        raise ValueError(_HOW_BOX)
    return box


_InsideBox = Annotated[Box, AfterValidator(_inside)]
_BOX: TypeAdapter[Box] = TypeAdapter(_InsideBox)
_GRID = re.compile(r"grid:([1-9]\d?)x([1-9]\d?)")
_DETECTOR = re.compile(r"detector:([A-Za-z0-9][A-Za-z0-9_.-]{0,63})")
_MAX_REGIONS = 64
_REGIONS = {
    "anyOf": [
        {"type": "string", "pattern": f"^(|motion|{_GRID.pattern}|{_DETECTOR.pattern})$"},
        {
            "type": "object",
            "additionalProperties": {
                "type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}, "minItems": 4, "maxItems": 4,
            },
            "maxProperties": _MAX_REGIONS,
        },
    ]
}  # fmt: skip
"""What `cameras.NAME.regions` may be, as a JSON Schema, see `CameraSettings`."""
_HOW_REGIONS = (
    'use "motion", "grid:3x2" (columns, rows), "detector:NAME" (an installed one), names with boxes '
    '({ till = [0.1, 0.2, 0.3, 0.4] }), or ""; '
    f"at most {_MAX_REGIONS} regions"
)


class CameraSettings(_Section):
    """One camera; `roi` is x, y, width, height as fractions of the frame."""

    source: str = "0"
    fps: float = Field(default=0.0, ge=0, le=1000)
    loop: bool = True
    roi: _InsideBox = (0.0, 0.0, 1.0, 1.0)
    regions: Annotated[str | dict[str, Box], WithJsonSchema(_REGIONS)] = ""
    """What is classified by itself, in place of the whole frame; see `daemon.regions`."""
    regions_max: int = Field(default=8, ge=1, le=_MAX_REGIONS)
    score_threshold: float = Field(default=0.5, ge=0, le=1)
    """What of a detector's is less sure than this is no region."""

    @field_validator("regions", mode="before")
    @classmethod
    def _known_regions(cls, value: Any) -> Any:
        if isinstance(value, str):
            found = _GRID.fullmatch(value)
            known = value in ("", "motion") or _DETECTOR.fullmatch(value) is not None
            if not known and (found is None or int(found[1]) * int(found[2]) > _MAX_REGIONS):
                raise ValueError(_HOW_REGIONS)
            return value
        if not isinstance(value, Mapping) or not 0 < len(value) <= _MAX_REGIONS:
            raise ValueError(_HOW_REGIONS)
        for name, box in value.items():
            try:  # of a choice between a text and a table, pydantic would tell what is wrong with each
                check_topic_level(str(name))
                _BOX.validate_python(box)
            except ValidationError as error:
                raise ValueError(f"{name}: {_HOW_BOX}") from error
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return value

    @property
    def grid(self) -> tuple[int, int] | None:
        """Columns and rows of the regions; None: they are no grid."""
        found = _GRID.fullmatch(self.regions) if isinstance(self.regions, str) else None
        return None if found is None else (int(found[1]), int(found[2]))

    @property
    def detector(self) -> str | None:
        """Name of the detector that finds the regions; None: they are found in another way."""
        found = _DETECTOR.fullmatch(self.regions) if isinstance(self.regions, str) else None
        return None if found is None else found[1]


class ModelSettings(_Section):
    """Which network runs, and how."""

    name: TopicLevel = "mobilenet_v2"
    runtime: Literal["auto", "litert", "tflite_runtime", "onnx"] = "auto"
    providers: tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")], ...] = ()
    threads: int = Field(default=2, ge=1, le=64)
    top: int = Field(default=5, ge=1, le=1000)
    unknown: float = Field(default=0.02, ge=0, le=0.5)

    @property
    def engine(self) -> str:
        """The runtime with its providers, as whoever opens a network takes it, e.g. "onnx:tensorrt,cuda"."""
        return self.engine_of(None)

    def engine_of(self, runtime: str | None) -> str:
        """Return `engine` with another runtime; None: the configured one. One that names providers keeps them."""
        runtime = runtime or self.runtime
        return f"{runtime}:{','.join(self.providers)}" if self.providers and ":" not in runtime else runtime


class MqttSettings(_Section):
    """The broker, and what is published."""

    url: Annotated[tuple[str, ...], NoDecode, WithJsonSchema(_URLS)] = ("mqtt://localhost:1883",)
    """One, or those of a cluster's nodes, which are tried in turn; in an environment variable separated by commas."""
    prefix: TopicLevel = "edged"
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    results: Literal["all", "changes"] = "all"
    heartbeat_s: float = Field(default=60.0, gt=0)
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    max_bytes: int | None = Field(default=None, ge=16_384)
    """The largest message that the broker takes, where it does not say so itself (MQTT 3.1.1 cannot)."""

    @field_validator("password_file", "ca_file", "cert_file", "key_file", mode="before")
    @classmethod
    def _credential(cls, value: Any) -> Any:
        """`credential:NAME` is what systemd's LoadCredential= has laid ready, where it runs this process."""
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not isinstance(value, str) or not value.startswith(_CREDENTIAL):
            return value
        name = value.removeprefix(_CREDENTIAL)
        if not name or "/" in name:
            raise ValueError("use credential:NAME with the NAME of a LoadCredential= of the unit")
        return Path(folder, name) if folder else value

    @field_validator("url", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",")]
        if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
            raise ValueError('use "mqtt://HOST", or a list of the addresses of one cluster')
        return value

    @field_validator("url")
    @classmethod
    def _broker_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("at least one address is needed")
        for number, url in enumerate(value, 1):
            if not _BROKER_URL.fullmatch(url):  # it is not repeated: there may be a password in it
                which = f"address {number}: " if len(value) > 1 else ""
                raise ValueError(
                    f"{which}use mqtt://HOST[:PORT], mqtts:// for TLS, ws://HOST[:PORT][/PATH] or wss:// for "
                    "WebSockets; user and password are keys of their own"
                )
        return value


DRIFT_FRAMES = 12
"""With fewer frames in `telemetry.drift_s` nothing is said of a camera's drift."""


class TelemetrySettings(_Section):
    """How often telemetry is published, and how much of the past its drift looks at."""

    interval_s: float = Field(default=5.0, ge=0.1, le=86400)
    drift_s: float = Field(default=3600.0, ge=1, le=604800)


class RetrainSettings(_Section, Hyperparameters):
    """Defaults of a training's hyperparameters, and its limits."""

    timeout_s: float = Field(default=3600.0, gt=0)
    ready_s: float = Field(default=300.0, ge=0)
    keep_frames: bool = True
    keep_versions: int = Field(default=5, ge=1)

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The hyperparameters alone."""
        return Hyperparameters(**{name: getattr(self, name) for name in Hyperparameters.model_fields})


class SelectionSettings(_Section):
    """Several networks that take turns; `pool` names them (none: all that are installed for the same labels)."""

    strategy: Literal["none", "premodel", "cascade", "learned"] = "none"
    premodel: TopicLevel = "default"
    point: Literal["default", "accurate"] = "default"
    pool: tuple[TopicLevel, ...] = ()
    audit: float = Field(default=0.01, ge=0, le=1)
    max_mean_ms: float | None = Field(default=None, gt=0)
    max_power_mw: float | None = Field(default=None, gt=0)
    max_temp_c: float | None = Field(default=None, gt=0)


class MetricsSettings(_Section):
    """Where Prometheus reads the metrics."""

    listen: str = ""

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        found = _LISTEN.fullmatch(value)
        if value and (found is None or int(found["port"]) > 65535):
            raise ValueError('use HOST:PORT, such as "127.0.0.1:9184" or "[::1]:9184"; "" serves none')
        return value

    @property
    def address(self) -> tuple[str, int] | None:
        """Host, without the brackets of IPv6, and port; None: no metrics."""
        found = _LISTEN.fullmatch(self.listen)
        return None if found is None else (found["v6"] or found["host"], int(found["port"]))


class HomeAssistantSettings(_Section):
    """Whether and where this device tells Home Assistant what it has, and how often it shows a picture."""

    discovery: bool = False
    prefix: TopicLevel = DEFAULT_PREFIX
    picture_s: float = Field(default=60.0, ge=0, le=86400)

    @property
    def pictures(self) -> bool:
        """Whether pictures are published."""
        return self.discovery and self.picture_s > 0


class SecuritySettings(_Section):
    """Whose commands are carried out."""

    trusted_keys: tuple[_KeyLine, ...] = Field(default=(), max_length=MAX_KEYS)

    @field_validator("trusted_keys")
    @classmethod
    def _public_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, line in enumerate(value, 1):
            try:
                PublicKey.parse(line)
            except ValueError as error:
                raise ValueError(f"key {number}: {error}") from error
        return value


class StorageSettings(_Section):
    """Where state lives and how large it may grow, in megabytes (10^6 bytes)."""

    state_dir: Path = Field(default_factory=_default_state_dir)
    outbox_max_mb: float = Field(default=64.0, gt=0, le=1e6)
    images_max_mb: float = Field(default=512.0, gt=0, le=1e6)

    @field_validator("state_dir")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError as error:  # ~somebody
            raise ValueError("there is no such user, or they have no home folder") from error


class Settings(BaseSettings):
    """The whole configuration. Make one with `load`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    device: DeviceSettings = Field(default_factory=DeviceSettings)
    cameras: dict[TopicLevel, CameraSettings] = Field(default_factory=lambda: {"main": CameraSettings()}, min_length=1)
    model: ModelSettings = Field(default_factory=ModelSettings)
    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    retrain: RetrainSettings = Field(default_factory=RetrainSettings)
    selection: SelectionSettings = Field(default_factory=SelectionSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    homeassistant: HomeAssistantSettings = Field(default_factory=HomeAssistantSettings)
    security: SecuritySettings = Field(default_factory=SecuritySettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)

    def unwatched(self) -> list[str]:
        """Return a line for each camera whose configured rate is too low for anything to be said of its drift."""
        window_s = self.telemetry.drift_s
        return [
            f"telemetry.drift_s = {window_s:g} is too short for camera {name}: with fps = {camera.fps:g} it needs "
            f"{math.ceil(DRIFT_FRAMES / camera.fps)} or more; no drift of it is told"
            for name, camera in self.cameras.items()
            if 0 < camera.fps * window_s < DRIFT_FRAMES
        ]


def load(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the configuration.

    Args:
        config: A TOML file. None: `/etc/edged/edged.toml` where that exists, else defaults only.
        flags: Nested values from the command line, e.g. {"model": {"threads": 1}}; these win.

    Raises:
        ConfigError: One line that names the file, the key, the value and what is allowed.
    """
    if config is None and SYSTEM_CONFIG.exists():
        config = SYSTEM_CONFIG
    if config is not None:
        _check_file(config)
    _check_environment()

    class _Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library calls it by this signature
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            if config is None:
                return init_settings, env_settings
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config)

    origin = str(config) if config is not None else "configuration"
    try:
        return _Loaded(**dict(flags or {}))
    except ValidationError as error:
        first, *others = mistakes(error)
        more = f" (and {len(others)} more)" if others else ""
        raise ConfigError(
            f"{_line(origin, first)}{more}",
            key=first.key,
            others=[(other.key, _line(origin, other)) for other in others],
        ) from error
    except SettingsError as error:  # a whole section in one variable, which has to be JSON
        variable = next(
            (name for name in os.environ if f'"{name[len(_PREFIX) :].lower()}"' in str(error)), "environment"
        )
        raise ConfigError(f"{variable}: not JSON; use {_PREFIX}SECTION__KEY=value for a single key") from error
    except OSError as error:
        raise ConfigError(f"{origin}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{origin}: byte {error.start} is not UTF-8 text; a TOML file is needed") from error
    except ValueError as error:  # TOML syntax
        raise ConfigError(f"{origin}: {' '.join(str(error).split())}") from error


def _check_file(config: Path) -> None:
    """Look at the file before all of it is read."""
    try:
        status = config.stat()
    except FileNotFoundError as error:
        raise ConfigError(f"{config}: no such configuration file") from error
    except OSError as error:
        raise ConfigError(f"{config}: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{config}: is a folder; a TOML file is needed")
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{config}: not a regular file; a TOML file is needed")
    if status.st_size > _MAX_CONFIG_BYTES:
        raise ConfigError(f"{config}: {status.st_size} bytes; a configuration has at most {_MAX_CONFIG_BYTES}")


def _check_environment() -> None:
    """Refuse EDGED_SECTION__KEY of sections that there are not: pydantic-settings passes over them."""
    for name in sorted(os.environ):
        section, separator, _ = name[len(_PREFIX) :].lower().partition("__")
        if name.upper().startswith(_PREFIX) and separator and section not in Settings.model_fields:
            raise ConfigError(f"{name}: no such section; sections: {', '.join(sorted(Settings.model_fields))}")


def _line(origin: str, mistake: Mistake) -> str:
    """Tell a person of a mistake: where it stands, key, value, what is allowed."""
    key, given, kind, text = mistake
    path = key.split(".")
    variable = f"{_PREFIX}{'__'.join(path)}".upper()
    if (name := next((name for name in os.environ if name.upper() == variable), None)) is not None:
        origin = name
    if kind == "extra_forbidden":
        return f"{origin}: {key}: unknown key; allowed here: {', '.join(_allowed(path[:-1]))}"
    value = repr(given)
    value = re.sub(r"(://[^/@:\s]*):[^/\s]*@", r"\1:***@", value)  # a password in a URL stays out of the log
    shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    return f"{origin}: {key} = {shown}: {text}"


def _allowed(path: list[str]) -> list[str]:
    """Keys that the section at `path` knows."""
    if not path:
        return sorted(Settings.model_fields)
    if path[0] == "cameras":
        return sorted(CameraSettings.model_fields)
    section = Settings.model_fields[path[0]].annotation
    return sorted(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
