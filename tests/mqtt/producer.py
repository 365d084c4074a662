"""Publishes numbered results without end and waits to be killed: `producer.py URL STATE_DIR FIRST LOG`.

LOG gets a line for each message, `made SEQ TIME`, before it is handed to the link, and one for each turn of the link's
thread that is over, `turn TIME`, with the time at which it began: a killed process tells how far it had come.
"""

import itertools
import math
import os
import sys
import time

from edged.mqtt import open_link, retry
from edged.mqtt.delivery import Delivery
from edged.settings import Settings

retry.FIRST_LOCAL_S = retry.HANDSHAKE_S = math.inf  # as `Patient` of the tests beside this
url, state_dir, first, log = sys.argv[1:]
told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
pump = Delivery.pump


def watched(self, *args):
    began = time.monotonic()
    pump(self, *args)
    os.write(told, f"turn {began}\n".encode())


Delivery.pump = watched
settings = Settings.model_validate({"device": {"id": "d1"}, "mqtt": {"url": url}, "storage": {"state_dir": state_dir}})
link = open_link(settings, on_command=lambda command: None)
link.start()
for seq in itertools.count(int(first)):
    os.write(told, f"made {seq} {time.monotonic()}\n".encode())
    link.publish("result/main", str(seq).encode())
    time.sleep(0.005)
