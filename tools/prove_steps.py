"""What tools/prove_arm64 runs on both sides: this file is copied into the arm64 root and needs nothing but edged.

    python prove_steps.py classify RUNTIME     the shipped models on the demonstration's photos
    python prove_steps.py crops FOLDER         60 labeled crops of these photos

Prints one JSON object.
"""

import hashlib
import json
import platform
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import edged.demo
from edged.codec import read_image
from edged.demo.crops import write_crops
from edged.store import Store
from edged.vision.network import Network

PHOTOS = Path(edged.demo.__file__).parent / "photos"
PACKAGES = {"litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}


def classify(runtime: str) -> dict[str, object]:
    """Classify every photo with every shipped model; scores as the network left them, in quantization steps."""
    with tempfile.TemporaryDirectory() as state:
        bundles = Store(Path(state)).installed()
    models = {}
    for bundle in bundles:
        network = Network(bundle.read_model(), runtime=runtime, threads=1, crop=bundle.manifest.input.crop)
        photos = {}
        for photo in sorted(PHOTOS.glob("*.jpg")):
            prepared = network.prepare(read_image(photo))
            outputs = network.invoke(prepared)
            photos[photo.name] = {
                "input": hashlib.sha256(prepared.tobytes()).hexdigest(),
                "scores": outputs.scores.tolist(),
                "bottleneck": outputs.bottleneck.tolist(),
                "top": bundle.labels[int(outputs.scores.argmax())],
                "invoke_ms": round(outputs.invoke_ms, 1),
            }
        models[bundle.name] = {"id": bundle.id, "photos": photos}
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "glibc": platform.libc_ver()[1],
        "runtime": metadata.version(PACKAGES[runtime]),
        "models": models,
    }


def crops(folder: str) -> dict[str, object]:
    """Write 60 labeled photos."""
    began = time.monotonic()
    return {"photos": write_crops(PHOTOS, Path(folder), per_photo=10), "seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    print(json.dumps({"classify": classify, "crops": crops}[sys.argv[1]](sys.argv[2])))
