"""Labelled audio: what is spoken in it, what a detector finds of that, and settings that are fitted to it.

    labels -> corpus        a folder of audio, each file with its labels, in any form that people keep them in
    conditions              the same clips clean, with noise added, and as a telephone carries them
    service                 probabilities and segments of this service's models, through its own detector
    frames, boundaries      what is counted: frames of 10 ms against the labels, edges against the labels' edges
    judging, intervals      figures, and how far to trust them: bootstrap over files
    posteriors, fitting     each model scored once for each file, and settings fitted by cross-validation over files

A frame of 10 ms is speech when its middle lies in a labelled span; a probability on another step is taken at the
frame's middle, as sums of models are made (`app.vad.models.fusion`). All frames of all files count alike.

`fsmn-vad tune` and `python -m benchmarks.accuracy` are made of it.
"""
