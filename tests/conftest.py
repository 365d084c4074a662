"""Fixtures that every room's tests share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mosquitto import Mosquitto
from tests.pinned import Pins

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos, clips and models that the project uses but does not contain."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data, which a fresh clone does not have")
    return folder


@pytest.fixture
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Mosquitto]]:
    """A factory of running Mosquitto brokers (options: see the class); skips where there is none to run."""
    brokers: list[Mosquitto] = []

    def factory(**options: object) -> Mosquitto:
        broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"), **options)  # type: ignore[arg-type]  # passed through
        brokers.append(broker)
        return broker.start()

    yield factory
    for broker in brokers:
        broker.kill()


@pytest.fixture
def pins() -> Iterator[Pins]:
    """Keeps files from being deleted, see `tests.pinned`."""
    with ExitStack() as stack:
        yield Pins(stack)
