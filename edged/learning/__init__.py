"""Labeled images become a new final layer: a training from the scan of the images to a bundle.

`pipeline` goes through the stages; `trainer` is the child process that runs it for the daemon. In the order of the
stages: `dataset` (which images take part), `bottlenecks` (what the network below the head makes of them),
`softmax_regression` with `standardisation` (the training itself; `many_heads` for several sets of few images at once),
`recipe` (how a head is made, and made again of other images), `acceptance` (whether the new model may answer:
`comparison` makes heads without the images that they judge, `incumbent` is the model that answers now, `gate` decides),
`calibration` (the temperature that makes scores mean something, found by these heads), `export` (a quantized file and
its bundle), `exemplars` (what frames will be compared with), `evaluation` (accuracy, recall of each class, confusions),
`judging` (runs the exported file), `learning_curve` (what more images would bring), `step` (what of all that is taken
over after a few more images), `review` with `doubtful` (labels that look wrong; `reviewer` is the child process of a
review without a training), `sharing` with `privacy` (what leaves the device where a head is trained elsewhere),
`pooled` (such a head, of many devices' images), `offer` (a model that was made elsewhere, judged by the device's own
images), `side_by_side` (how well two files name these; `sharer`, `judge` and `comparer` are child processes), `report`
(what is told of it), `tensorboard` (curves and graph).
Pure numpy, without files, clocks and threads: `softmax_regression`, `standardisation`, `many_heads`, `recipe`,
`evaluation`, `calibration`, `comparison`, `gate`, `doubtful`, `exemplars` and `learning_curve`.

The port is what asks for a training and what a training says, and the modules of its parts that the lab takes up, each
by its own name, because they load numpy: a trainer limits its threads before.

Not here: the images and their labels (`edged.images`), the promotion of what came out (`edged.daemon.training`,
`edged.cli`), the form of the report (`edged.contract.reports`), more layers than the last one and the ranking of
networks to start from (`edged.lab`).
"""

from edged.learning.request import (
    AUTO,
    CHOOSING_TRAINER,
    COMPARER,
    JUDGE,
    REVIEWER,
    SHARED,
    SHARER,
    TRAINER,
    Choice,
    ComparisonRequest,
    JudgeRequest,
    Limits,
    Needed,
    Outcome,
    Progress,
    ReviewRequest,
    SharingRequest,
    Stage,
    TrainingRequest,
    candidates,
    choose_backbone,
)

__all__ = [
    "AUTO",
    "CHOOSING_TRAINER",
    "COMPARER",
    "JUDGE",
    "REVIEWER",
    "SHARED",
    "SHARER",
    "TRAINER",
    "Choice",
    "ComparisonRequest",
    "JudgeRequest",
    "Limits",
    "Needed",
    "Outcome",
    "Progress",
    "ReviewRequest",
    "SharingRequest",
    "Stage",
    "TrainingRequest",
    "bottlenecks",
    "candidates",
    "choose_backbone",
    "dataset",
    "export",
    "gate",
    "pipeline",
    "pooled",
    "sharing",
    "softmax_regression",
    "tensorboard",
    "trainer",
]
