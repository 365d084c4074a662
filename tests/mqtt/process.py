"""Publishes numbered results and waits to be killed: `process.py URL STATE_DIR FIRST LAST`."""

import math
import sys
import time

from edged.mqtt import open_link, retry
from edged.settings import Settings

retry.FIRST_LOCAL_S = retry.HANDSHAKE_S = math.inf  # as `Patient` of the tests beside this
url, state_dir, first, last = sys.argv[1:]
settings = Settings.model_validate({"device": {"id": "d1"}, "mqtt": {"url": url}, "storage": {"state_dir": state_dir}})
link = open_link(settings, on_command=lambda command: None)
link.start()
for seq in range(int(first), int(last)):
    link.publish("result/main", str(seq).encode())
while True:
    print(link.connected, link.backlog, flush=True)
    time.sleep(0.05)
