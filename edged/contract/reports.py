"""What a training and a profile report: typed models, written by the device and read by both command lines."""
