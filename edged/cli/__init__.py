"""The `edged` command, on the device.

* `commands`: the list of its subcommands; each is registered by the module of its name (`rollback` by `promotion`)
* `options`, `bundles`: options that several have, and models as a command line names and prints them
* `state`, `unit`, `sandbox`: whose configuration and state folder a subcommand means where edged is a service
* `interrupts`: Ctrl-C at any moment

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. What subcommands do is in the rooms below; tables and
progress are in `edged.terminal`. Commands over MQTT, from a workstation, are `edged.ctl`.
"""

from __future__ import annotations

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run edged.

    Nothing is imported before SIGINT is taken care of: Ctrl-C may come that early, too.

    Args:
        argv: Arguments without the program's name; None: those of the process.

    Returns:
        The exit code.
    """
    try:
        from edged.cli.interrupts import Interrupts

        with Interrupts() as interrupts:
            from edged.cli.commands import run_command
            from edged.terminal.program import run_program

            return run_program("edged", lambda: run_command(argv, interrupts))
    except KeyboardInterrupt:  # before `run_program`, or one that a library had turned into an error of its own
        return 130
