"""Whole collections: many files from a folder or object storage to rows of segments, in shards that are done once.

A listing is cut into shards, always the same ones; a worker turns a shard into one output file and then marks it done.
Whatever is killed in between is done again from the shard's start and overwrites what it left, so nothing doubles.
"""
