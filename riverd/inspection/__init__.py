"""What is wrong, and with what: config, data, stored state, machine."""
