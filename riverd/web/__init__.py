"""HTTP in a process of its own: what the engine says of itself goes out, commands come in."""
