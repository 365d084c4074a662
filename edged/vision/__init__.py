"""Networks: reading and changing their graph, preparing their input, running them.

* `network`: one interpreter, ready to run; `preprocess`, `scores`, `quantization`: the arithmetic around it
* `graph`, `surgery`, `flatbuffer`: the .tflite file: where its classifier begins, and a new one in its place
* `onnx_graph`, `onnx_file`, `protobuf`: the same of an .onnx file; `onnx_conversion` makes one of a .tflite file;
  `onnx_adoption` takes those that PyTorch exports; `onnx_runtime` runs them, and alone knows that library
* `detector`: finds where something is; `detector_file`: which of its outputs is which
* `operators`: what stands in that file, as a list to draw
* `runtime_wheels`: which LiteRT can be loaded on this machine
* `familiarity`: how alike a frame is to what a network was taught

Which model runs is decided in `edged.store` and `edged.daemon`; training a new classifier is `edged.learning`'s.
"""

__all__ = [
    "detector",
    "detector_file",
    "familiarity",
    "flatbuffer",
    "graph",
    "native_log",
    "network",
    "onnx_adoption",
    "onnx_conversion",
    "onnx_file",
    "onnx_graph",
    "onnx_runtime",
    "operators",
    "preprocess",
    "quantization",
    "runtime_wheels",
    "scores",
    "surgery",
]
