"""The labeled images of a device, and the frames that wait for a label.

`ImageStore` takes, labels, lists and removes images and keeps their embeddings; `open_images` opens the device's images
or somebody's folder; `FrameKeeper` decides which live frames are worth a person's label, `suggest` which of the kept
ones to label next, and `group_alike` which of them show the same kind of thing. Files are the truth about labels;
beside them lies an index in SQLite.

Inside: `store` is the main class, `index` has all of the SQL, `layout` knows the folders, `scan` brings the index up to
date with them, `image` has the values and the split into training, validation and test images, `near_duplicates`,
`sampling`, `suggestion` and `clustering` are pure numpy.

Not here: pixels of image files (`edged.codec`), what a label may be (`edged.contract.labels`), what is computed from
images (`edged.learning`), and the commands about images (`edged.daemon.images`, `edged.ctl`).
"""

from edged.images.clustering import group_alike
from edged.images.image import LOOKED_AT, SPLITS, Embedding, Kept, LabeledImage, Split, StoredImage, variant
from edged.images.layout import Skipped
from edged.images.near_duplicates import alike_pairs
from edged.images.sampling import FrameKeeper
from edged.images.scan import ScanReport
from edged.images.store import ImageStore, open_images
from edged.images.suggestion import Suggestion, suggest

__all__ = [
    "LOOKED_AT",
    "SPLITS",
    "Embedding",
    "FrameKeeper",
    "ImageStore",
    "Kept",
    "LabeledImage",
    "ScanReport",
    "Skipped",
    "Split",
    "StoredImage",
    "Suggestion",
    "alike_pairs",
    "group_alike",
    "open_images",
    "suggest",
    "variant",
]
