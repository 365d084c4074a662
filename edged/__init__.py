"""edged: classify camera frames at the edge, publish them over MQTT, retrain the last layer on the device."""

__version__ = "0.1.0"
