"""Models that can be had: the catalogue of `configs/zoo.toml`, pulling from it, and installing what a user brings.

`catalogue` says what can be pulled, `install` pulls, installs and verifies, `examination` lets a child process
(`examiner`) be the first to open a file, `detectors` does both for networks that find regions
(`detector_examination` and its child `detector_examiner`), `adoption` takes what PyTorch exports (`bottleneck_range`
and its child `ranger` measure it), `sent_onnx` has a child process (`adopter`) do so, `known` makes what tells unknown
things for networks that were measured. The port are these modules and `fetch`, each by its own name: the child needs
next to nothing of them, and is waited for.

Where models lie and which one runs is `edged.store`'s.
"""

__all__ = ["adoption", "catalogue", "detectors", "examination", "fetch", "install", "known", "sent_onnx"]
