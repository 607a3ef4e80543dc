"""Live streams: chunks in, events out, without sockets."""
