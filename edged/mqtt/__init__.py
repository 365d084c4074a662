"""The broker: the connection that survives, the outbox, and commands that run once.

* `link`: what the daemon holds: publishes without waiting; `delivery` and `outbox` keep what is not acknowledged
* `connection`: one connection, the only file of the device that knows paho; `sockets`: the TCP below it; `waker`: how
  the link waits for it and for other threads; `retry`: when to connect again
* `properties`: what MQTT 5 tells of a message besides topic and payload
* `dispatcher` and `ledger`: received commands, each answered and run once; `turns`: the queue in which they wait;
  `trust`: whose commands these may be
* `broker`: address, login and TLS; `session` and `probe`: those who connect once

What messages say is declared in `edged.contract`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # edgectl imports messages from here and must not pay for paho, SQLite and the settings
    from collections.abc import Callable, Mapping

    from edged.contract.commands import Args, Command
    from edged.mqtt.link import Link
    from edged.settings import Settings

__all__ = ["broker", "events", "link", "open_link", "probe", "properties", "session", "sockets", "trust", "turns"]


def open_link(
    settings: Settings,
    *,
    on_command: Callable[[Command[Args]], None],
    has_room: Callable[[type[Args]], bool] = lambda _: True,
    notices: Mapping[str, Callable[[bytes], None]] | None = None,
    on_failure: Callable[[], None] = lambda: None,
) -> Link:
    """Make the link of this device, with its outbox and ledger in `storage.state_dir`; `start` it to connect.

    Args:
        settings: The whole configuration.
        on_command: See `Link`.
        has_room: See `Link`.
        notices: See `Link`.
        on_failure: See `Link`.

    Raises:
        ConfigError: `[mqtt]` or the folder cannot be used, or there are trusted keys and no library to verify with.
    """
    from contextlib import ExitStack

    from edged.mqtt.ledger import Ledger
    from edged.mqtt.link import Link
    from edged.mqtt.outbox import Outbox
    from edged.mqtt.trust import Trust

    trust = Trust(settings.security.trusted_keys)
    folder = settings.storage.state_dir
    with ExitStack() as undo:
        outbox = Outbox(folder / "outbox.sqlite", settings.storage.outbox_max_mb)
        undo.callback(outbox.close)
        ledger = Ledger(folder / "commands.sqlite")
        undo.callback(ledger.close)
        link = Link(
            settings=settings.mqtt,
            device=settings.device.id,
            outbox=outbox,
            ledger=ledger,
            on_command=on_command,
            has_room=has_room,
            trust=trust,
            notices=notices,
            on_failure=on_failure,
        )
        undo.pop_all()  # from here on the link closes both
        return link
