"""Accuracy on labelled audio, of this service and of its peers: `python -m benchmarks.accuracy FOLDER`.

    labels -> corpus        a folder of audio, each file with its labels, in any of five forms
    conditions              the same clips clean, with noise added, and as a telephone carries them
    service, peers          probabilities and segments: the service's through its own detector, a peer's in a process
    frames, boundaries      what is counted: frames of 10 ms against the labels, edges against the labels' edges
    intervals               how far to trust it: bootstrap over files
    report, curves          tables, JSON, ROC and DET curves

A frame of 10 ms is speech when its middle lies in a labelled span; a probability on another step is taken at the
frame's middle, as sums of models are made (`app.vad.models.fusion`). All frames of all files count alike.
"""
