"""What making bundles costs."""
