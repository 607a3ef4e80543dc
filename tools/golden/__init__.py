"""How the golden files of the tests are made: by the reference packages themselves, in an environment of their own.

`cases` says what is asked of each package, `recordings` where the audio comes from, `compare` how two makings differ.
The `reference_*` scripts run inside that environment, where this project is not installed, and are given everything on
their command line.
"""
