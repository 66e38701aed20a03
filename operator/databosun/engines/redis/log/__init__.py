"""The shipped log: the stream of commands that a replica is sent, cut into files in the bucket."""
