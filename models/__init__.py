"""What predicts and learns: feature encoding, kernels, LogisticRegression."""
