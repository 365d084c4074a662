"""Work that lasts: a child process that does it, and the job that is told of it.

* `process`: one kind of child process for all: its messages, priority, memory limit, time limit, cancel, how it ended
* `child_work`: what a job does where such a process does the work
* `spare`: one that has loaded its libraries before there is a request
* `runner`: jobs: one of a kind at a time, told of again and again, cancelled by id
* `requests`: the messages of the profile, between the daemon and the lab, which do not know each other

Not here: what is done. A child is named by its module's path and never imported; the commands that start jobs stand in
`edged.daemon`, the trainer's messages and priority in `edged.learning.request`.
"""

__all__ = ["child_work", "process", "requests", "runner", "spare"]
