"""What tools/prove_arm64 runs on both sides: this file is copied into the arm64 root and needs nothing but edged.

    python prove_steps.py classify RUNTIME [INPUTS]    the shipped models on the demonstration's photos
    python prove_steps.py crops FOLDER                 60 labeled crops of these photos

INPUTS, a folder, holds the networks' inputs as the other side has made them; without it they are made and written to
the folder `inputs` here.

Prints one JSON object.
"""

import json
import platform
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

import edged.demo
from edged.codec import read_image
from edged.demo.crops import write_crops
from edged.store import Store
from edged.vision.network import Network

PHOTOS = Path(edged.demo.__file__).parent / "photos"
PACKAGES = {"litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}


def classify(runtime: str, inputs: str = "inputs") -> dict[str, object]:
    """Classify every photo with every shipped model; scores as the network left them, in quantization steps.

    What a photo becomes depends on the JPEG decoder's and OpenCV's arithmetic too. So networks are compared on inputs
    that are the same on both sides, and the inputs by themselves.
    """
    with tempfile.TemporaryDirectory() as state:
        bundles = Store(Path(state)).installed()
    models = {}
    for bundle in bundles:
        network = Network(bundle.read_model(), runtime=runtime, threads=1, crop=bundle.manifest.input.crop)
        photos = {}
        for photo in sorted(PHOTOS.glob("*.jpg")):
            own = network.prepare(read_image(photo))
            file = Path(inputs, f"{bundle.name}-{photo.stem}.npy")
            if not file.exists():
                file.parent.mkdir(exist_ok=True)
                np.save(file, own)
            given = np.load(file)
            top = int(network.invoke(own).scores.argmax())
            outputs = network.invoke(given)
            apart = np.abs(own.astype(int) - given)
            photos[photo.name] = {
                "input_differs": int((apart > 0).sum()),
                "input_apart": int(apart.max()),
                "scores": outputs.scores.tolist(),
                "bottleneck": outputs.bottleneck.tolist(),
                "top": bundle.labels[top],
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
    print(json.dumps({"classify": classify, "crops": crops}[sys.argv[1]](*sys.argv[2:])))
