"""Work that lasts: a child process that does it (`process`), and the job that is told of it (`runner`).

Not here: what is done. A child is named by its module's path and never imported; the commands that start jobs stand in
`daemon`. `requests` has the messages of the profile, between the daemon and the lab, which do not know each other.
"""
