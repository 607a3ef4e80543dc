"""Trouble that users of recognisers and of ffmpeg have reported in public, rebuilt: every case makes its own file,
sends it to a server as they did, and asserts what they should have had.

A module is a theme. Most ask the tiny model that hears loudness (`asking`); those whose matter is what a detector takes
for speech ask Silero, which comes with the tests, and FSMN-VAD where the reference data is at hand. What is decoded
sample by sample, and each decoder's own limits, are the matter of `tests/audio`.
"""
