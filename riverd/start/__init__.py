"""What a stranger needs first: import a sample, guess a config, write it with the reasons."""
