"""From an RDB to a database again: laid out, loaded into a server of its own, counted, made a master."""
