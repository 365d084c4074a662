"""edgectl, on a workstation: look at devices and command them over MQTT.

* `commands`: a module for each command; `cli` and `options`: the command line that they share
* `contexts`: brokers that were logged in to; `user_folder`: where they, groups and the signing key are
* `client`, `connect`, `subscription`: the connection, and what arrives; `fleet`: which devices there are
* `together`, `download`, `head`: the steps of `learn`, fetching in parts, the heads that were made
* `jobs`: commands to each device, waiting for what they answer, following what takes a while; `live`: messages as they
  come; `push`, `upload`, `photos`: sending photos and models
* `board`, `fleet_table`: the whole fleet at a glance; `console`: the same and more as a web page; `rollout`: a model to
  many devices, some first

What is said over the wire is declared in `edged.contract`; nothing of the device's own rooms is imported here.
"""

from edged.ctl.cli import main

__all__ = ["main"]
