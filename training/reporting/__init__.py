"""What a run says of itself: the line of statistics and where it goes, and pictures of samples and of the lines."""
