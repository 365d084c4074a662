"""Deeper than the last layer: fine-tune MobileNetV2 with TensorFlow, on a workstation.

Only `keras_network`, `keras_training` and `child` import TensorFlow, and only a child process imports these.
"""
