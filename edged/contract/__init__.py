"""What crosses the wire: the one room that the daemon and edgectl share. Pydantic models, and nothing else.

* `messages`: what is published, a model for each kind of message
* `channels`: on which topic which message is, with which QoS, retained or not, and of which content type
* `commands`: each command, declared once: its arguments, its size limit, whether it is done at once or takes a while
* `parsing`: from the bytes of a command to a typed one, or one line that says why not
* `hyperparameters`: names, defaults, ranges and help of a training's hyperparameters
* `reports`: what a training and a profile report
* `replies`: where an ack may go besides, at the wish of a sender
* `signature`: what exactly a command's signature is of, and how it is written; what verifies it is `edged.signing`
* `signed_bundle`: the same of a bundle's
* `topics`: what a level of a topic may be
* `discovery`: where Home Assistant finds the description of a device
* `model_file`: which kind of file a model is, and what it is called in a bundle
* `patch`: a model as its difference from another one

Who carries a command out is written in `edged.daemon.app`; how bytes travel, in `edged.mqtt`.
"""

__all__ = [
    "channels",
    "commands",
    "discovery",
    "hyperparameters",
    "labels",
    "messages",
    "model_file",
    "parsing",
    "patch",
    "replies",
    "reports",
    "signature",
    "signed_bundle",
    "topics",
]
