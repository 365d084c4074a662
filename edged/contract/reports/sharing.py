"""What devices report that learn together, or compare models: what they hand out, and how they judge."""

from __future__ import annotations

from collections.abc import Mapping

from edged.contract.reports.part import ReportPart, Share
from edged.contract.reports.training import Decision


class Bottlenecks(ReportPart):
    """What a device has made ready for a head that is trained elsewhere: the report of `cmd/bottlenecks_get`.

    Attributes:
        sha256: Of the whole, by which `bottlenecks_part` asks for it.
        bytes: Size of the whole.
        images: Images that are in it.
        counts: Label → images.
        backbone: Name of the network that has made the bottlenecks.
        backbone_sha256: Hash of its file: only bottlenecks of one file belong together.
        photo_bytes: What the photos take, which stay where they are.
        unreadable: Labeled images that could not be read.
        clip, sigma: The noise that is in it; absent without.
    """

    sha256: str
    bytes: int
    images: int
    counts: Mapping[str, int] = {}
    backbone: str
    backbone_sha256: str
    photo_bytes: int | None = None
    unreadable: int | None = None
    clip: float | None = None
    sigma: float | None = None


class Judgement(ReportPart):
    """How a device has judged a model that was made elsewhere: the report of `cmd/models_judge`.

    Attributes:
        model: Id of the model that was judged.
        name: Name under which it is installed.
        images: Images of this device that judged it.
        accuracy: Its accuracy on them; absent without any.
        previous: Accuracy of the model that answered, on those whose labels both know; absent without any.
        answers: Whether it answers now.
        decision: Why.
    """

    model: str
    name: str
    images: int
    accuracy: Share | None = None
    previous: Share | None = None
    answers: bool = False
    decision: Decision


class SideBySide(ReportPart):
    """A model beside the one that answers, on the device's own test images: the report of `cmd/models_compare`.

    Attributes:
        model: Id of the model.
        name: Its name.
        against: Id of the model that answers.
        images: Test images whose label the model that answers knows: they judge both.
        accuracy: Share of them that the model names rightly; absent where `why` tells that nothing was judged.
        previous: The same of the model that answers.
        beyond_chance: Whether chance alone would explain such a difference in fewer than 5 % of cases.
        unknown: Labels of these images that the model does not know: it is wrong on each of them; absent without any.
        why: Why nothing was judged, one line; absent where it was.
    """

    model: str
    name: str
    against: str
    images: int
    accuracy: Share | None = None
    previous: Share | None = None
    beyond_chance: bool | None = None
    unknown: tuple[str, ...] = ()
    why: str | None = None
