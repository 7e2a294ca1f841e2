"""The commands of `latentserve` that need no training, one a file."""
