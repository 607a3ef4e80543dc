"""Accuracy on labelled audio, of this service and of its peers: `python -m benchmarks.accuracy FOLDER`.

app.accuracy            labels, conditions, what is counted, intervals; this service's answers
peers                   other detectors, each by its own package in a process
judging, run            every condition, every model, every peer
report, curves          tables, JSON, ROC and DET curves
"""
