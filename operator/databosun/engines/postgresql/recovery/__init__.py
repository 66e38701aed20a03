"""From artefacts to a database again: unpack, combine, recover in a server of its own, promote."""
