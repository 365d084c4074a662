"""`edgectl console`: a web page for the fleet, served on the workstation; it speaks to devices through the broker.

* `station`: listens to the fleet, and keeps what it says: the board of `edgectl top`, an hour of telemetry (`history`),
  what was commanded (`command_log`)
* `feed`: the fleet's rows and what has changed in them; `pictures`: frames, fetched only while somebody looks
* `guard`: who may ask this server for anything; `web`: the one file with Starlette and uvicorn
* `assets`: the pages: plain ES modules and style sheets, and uPlot with its licence
"""
