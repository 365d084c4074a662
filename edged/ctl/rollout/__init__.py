"""A model to many devices, some first: it goes on only while those that have it are no worse than they were.

* `verdict`: numbers in, verdict out; `plan`: who is first, and which wave comes next. Both are pure
* `record`: the state of a roll-out, in a file that is written before each step
* `observation`: what devices say of themselves while they are watched, which `watching` does; `accuracy`: how well a
  model names their own images, which each device judges before it answers there
* `step`: let a model answer, or take it back, on one device; `conductor`: the whole, from whatever step on; `telling`:
  what people read of it
"""
