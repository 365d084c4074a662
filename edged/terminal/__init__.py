"""What people read on a terminal or in a pipe, for both command lines: text, tables, progress, options.

* `registry`: how a command joins a command line, and how a mistake on it is told
* `hyperparameters`: a training's hyperparameters as options
* `text`: text from the wire made harmless, numbers made short, JSON lines
* `training`, `profile`: their reports as tables

What a single command does is in `edged.cli` (edged) and `edged.ctl` (edgectl).
"""
