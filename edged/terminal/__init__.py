"""What people read on a terminal or in a pipe, for both command lines: text, tables, progress, options.

* `registry`: how a command joins a command line, and how a mistake on it is told
* `program`: what is done around a command: standard streams, errors as one line, exit codes
* `completion`: the script by which a shell completes a command line
* `options`: options that both programs have: a training's hyperparameters, what a profile measures
* `onnx_options`: what both ask about an .onnx file
* `progress`: the one progress bar; lines where there is no terminal
* `text`: text from the wire made harmless, numbers made short, lines and JSON lines; imports no library
* `tables`: consoles and tables, with rich
* `training`, `profile`: their reports as tables; `performance`: what the machine was set to meanwhile

What a single command does is in `edged.cli` (edged) and `edged.ctl` (edgectl).
"""

__all__ = [
    "completion",
    "onnx_options",
    "options",
    "performance",
    "profile",
    "program",
    "progress",
    "registry",
    "tables",
    "text",
    "training",
]
