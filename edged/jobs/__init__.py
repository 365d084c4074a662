"""Work that lasts: a child process that does it (`process`), and the job that is told of it (`runner`).

Not here: what is done. A child is named by its module's path and never imported; the commands that start jobs stand in
`daemon`. `profile` has the messages between the daemon and the profile's process, which stands in the lab.
"""
