"""Writes the .onnx files beside it: small classifiers with random weights, by PyTorch's own two exporters.

    pip install torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
    python tests/pytorch/export.py

They are networks of this file, in the manner of MobileNetV2, MobileNetV3 and a vision transformer, and under edged's
own licence. Tests read the files, so that none of them needs PyTorch.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn
from torch.nn import functional

HERE = Path(__file__).resolve().parent
SIZE, CLASSES = 32, 4


class Inverted(nn.Module):
    """An inverted residual: wider, depthwise, narrower again."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.added, wide = stride == 1 and before == after, 3 * before
        self.layers = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, after, height, width)."""
        return x + self.layers(x) if self.added else self.layers(x)


class MobileNetV2(nn.Module):
    """Ends in a Linear on pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
            Inverted(8, 12, 2), Inverted(12, 12, 1),
            nn.Conv2d(12, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6(),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(24, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes)."""
        return self.classifier(torch.flatten(functional.adaptive_avg_pool2d(self.features(x), 1), 1))


class MobileNetV3(nn.Module):
    """Ends in two convolutions on pooled features, a view of as many rows as there are images, and logarithms."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish(),
            nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(),
        )  # fmt: skip
        self.excitation = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.Hardsigmoid()
        )
        self.classifier = nn.Sequential(nn.Conv2d(16, 20, 1), nn.Hardswish(), nn.Conv2d(20, CLASSES, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logarithms of scores (batch, classes)."""
        x = self.features(x)
        x = functional.adaptive_avg_pool2d(x * self.excitation(x), 1)
        return functional.log_softmax(self.classifier(x).view(x.size(0), -1), 1)


class Transformer(nn.Module):
    """Patches, one layer of attention, a Linear on what the class token became."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.places = nn.Parameter(torch.randn(1, 17, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True, dropout=0)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes)."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.layer(x))[:, 0])


class Noise(CalibrationDataReader):
    """Inputs by which ranges are measured."""

    def __init__(self, name: str) -> None:
        self._batches = iter([{name: one[None].numpy()} for one in noise(16)])

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input."""
        return next(self._batches, None)


def noise(count: int) -> torch.Tensor:
    """Return inputs (count, 3, SIZE, SIZE): blurred, of the range of normalised pixels."""
    coarse = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return functional.interpolate(1.5 * coarse, SIZE, mode="bilinear")


def networks() -> Iterator[tuple[str, nn.Module]]:
    """Yield networks, their batch normalisation run in."""
    for make in (MobileNetV2, MobileNetV3, Transformer):
        torch.manual_seed(3)
        network = make().train()
        with torch.no_grad():
            for _ in range(20):
                network(noise(16))
            for name, values in network.named_parameters():
                if name.startswith(("classifier", "head")):
                    values.mul_(6)  # so that its answers lie apart
        yield make.__name__.lower(), network.eval()


def export_new(network: nn.Module, file: Path, *, free: bool = True, beside: bool = False) -> None:
    """Export by the newer exporter; `free`: for any number of images, `beside`: with the weights in another file."""
    shapes = {"x": {0: torch.export.Dim("batch")}} if free else None
    images = noise(2 if free else 1)
    torch.onnx.export(network, (images,), file, dynamo=True, dynamic_shapes=shapes, external_data=beside, verbose=False)
    model = onnx.load(file, load_external_data=False)
    for node in model.graph.node:  # where each was called from, in files of this machine
        kept = [one for one in node.metadata_props if one.key != "pkg.torch.onnx.stack_trace"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    file.write_bytes(model.SerializeToString())


def quantize(network: nn.Module, file: Path, *, per_channel: bool) -> None:
    """Export by the newer exporter, and let ONNX Runtime quantize it."""
    with TemporaryDirectory() as folder:
        plain, ready = Path(folder) / "plain.onnx", Path(folder) / "ready.onnx"
        export_new(network, plain)
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        quantize_static(str(ready), str(file), Noise("x"), quant_format=QuantFormat.QDQ, per_channel=per_channel)


def main() -> None:
    """Write the files."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for name, network in networks():
        if name == "transformer":
            export_new(network, HERE / f"{name}-dynamo.onnx", free=False)
            continue
        second = name == "mobilenetv2"
        torch.onnx.export(
            network,
            (noise(1),),
            HERE / f"{name}-torchscript.onnx",
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            dynamic_axes=None if second else {"input": {0: "batch"}},
        )
        if second:
            export_new(network, HERE / f"{name}-dynamo.onnx", beside=True)
        quantize(network, HERE / f"{name}-qdq.onnx", per_channel=second)
    for file in sorted(HERE.glob("*.onnx*")):
        print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
