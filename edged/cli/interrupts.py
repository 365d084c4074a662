"""Ctrl-C at any moment ends a command without a traceback.

Native libraries turn a KeyboardInterrupt that comes while they are imported into errors of their own, or print it. So
SIGINT ends the process at once, without Python, as long as nothing is begun that must be ended in order.
"""

from __future__ import annotations

import signal


class Interrupts:
    """While entered, SIGINT kills; after `raise_from_now_on` it raises KeyboardInterrupt in the main thread.

    Leaving it turns whatever a library made of the interrupt back into a KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self._came = False
        self._before = signal.getsignal(signal.SIGINT)
        self._ours = self._before is signal.default_int_handler  # else it is ignored (nohup), or a test's

    def raise_from_now_on(self) -> None:
        """Let SIGINT raise KeyboardInterrupt: there may be something to clear up."""
        if self._ours:
            signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, *_: object) -> None:
        self._came = True
        raise KeyboardInterrupt

    def __enter__(self) -> Interrupts:
        if self._ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._ours and signal.getsignal(signal.SIGINT) in (self._interrupt, signal.SIG_DFL):
            signal.signal(signal.SIGINT, self._before)
        if self._came and error is not None and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error
