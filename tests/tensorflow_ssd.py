"""From a frozen SSD of TensorFlow's object detection API to its .tflite file, and what TensorFlow finds in pictures.

    python tests/tensorflow_ssd.py FROZEN.pb PICTURES.npy FOLDER

The pictures are RGB, (number, 300, 300, 3) uint8. FOLDER gets `ssd.tflite`, made by TensorFlow's own converter with
the operator at its end that the API's exporter puts there, and `found.npz`: boxes and scores by the frozen graph.
It runs in a process of its own, since TensorFlow and edged may need different versions of the same libraries.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
SIDE = 300
END = "TFLite_Detection_PostProcess"


def main(frozen: Path, pictures: Path, folder: Path) -> None:
    """Write both files."""
    graph = v1.GraphDef()
    graph.ParseFromString(frozen.read_bytes())
    found = []
    with v1.Session(graph=tf.Graph()) as session:
        tf.import_graph_def(graph, name="")
        for picture in np.load(pictures):
            given = {"image_tensor:0": picture[np.newaxis]}
            boxes, scores = session.run(["detection_boxes:0", "detection_scores:0"], given)
            found.append((boxes[0], scores[0]))
        corners = session.run("Concatenate/concat:0", given)
    np.savez(
        folder / "found.npz", boxes=np.stack([one[0] for one in found]), scores=np.stack([one[1] for one in found])
    )
    (folder / "ssd.pb").write_bytes(cut(graph, corners).SerializeToString())
    converter = v1.lite.TFLiteConverter.from_frozen_graph(
        str(folder / "ssd.pb"), ["image"], [END, *(f"{END}:{number}" for number in (1, 2, 3))],
        input_shapes={"image": [1, SIDE, SIDE, 3]},
    )  # fmt: skip
    converter.allow_custom_ops = True
    (folder / "ssd.tflite").write_bytes(converter.convert())


def cut(graph: v1.GraphDef, corners: np.ndarray) -> v1.GraphDef:
    """Return the part from normalised pixels to boxes and scores of each anchor, and the operator behind them."""
    top, left, bottom, right = corners.T
    anchors = np.stack([(top + bottom) / 2, (left + right) / 2, bottom - top, right - left], 1).astype(np.float32)
    ends = ["Postprocessor/raw_box_encodings", "Postprocessor/convert_scores"]
    with v1.Session(graph=tf.Graph()) as session:
        image = v1.placeholder(tf.float32, (1, SIDE, SIDE, 3), name="image")
        boxes, scores = tf.import_graph_def(
            v1.graph_util.extract_sub_graph(graph, ends),
            input_map={"Preprocessor/sub:0": image},
            return_elements=[f"{end}:0" for end in ends],
            name="net",
        )
        tf.reshape(boxes, (1, len(anchors), 4), name="boxes")
        tf.reshape(scores, (1, len(anchors), -1), name="scores")
        v1.constant(anchors, name="anchors")
        kept = v1.graph_util.extract_sub_graph(session.graph.as_graph_def(), ["boxes", "scores", "anchors"])
    end = kept.node.add(op=END, name=END, input=["boxes", "scores", "anchors"])
    for name, number in (
        ("max_detections", 10), ("max_classes_per_detection", 1), ("num_classes", int(scores.shape[2]) - 1),
    ):  # fmt: skip
        end.attr[name].i = number
    for name, value in (
        ("nms_score_threshold", 1e-8), ("nms_iou_threshold", 0.6),
        ("y_scale", 10), ("x_scale", 10), ("h_scale", 5), ("w_scale", 5),
    ):  # fmt: skip
        end.attr[name].f = value
    end.attr["use_regular_nms"].b = False
    end.attr["_output_types"].list.type.extend([tf.float32.as_datatype_enum] * 4)
    end.attr["_output_quantized"].b = True
    end.attr["_support_output_type_float_in_quantized_op"].b = True
    return kept


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
