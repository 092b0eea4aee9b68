"""Records in: sources, typed decoding, time-ordered merge, the label joiner."""
