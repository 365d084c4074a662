"""The lab: measure, fit, rank and fine-tune. Run by a person, or as a child process; the daemon never imports it.

* `selection`: fits the choice among several networks to measured photos, and reports what it reaches
* `profiling`: where a model's time goes, layer by layer, in batches, on threads; models side by side
* `finetune`: retrains more than the last layer; the only room that imports TensorFlow
* `sources`: ranks installed networks as what a training had better start from
* `together`: one head for many devices, a child process of `edgectl learn`
* `trainer`: the trainer process of trainings that rank their candidates first
* `chart`, `energy`, `photos`: SVG charts, what the machine takes for one image, and labeled photos out of folders and
  tables, for all of these

What runs on the device every day is elsewhere: `edged.selection` applies what was fitted here, `edged.learning` trains
last layers.
"""
