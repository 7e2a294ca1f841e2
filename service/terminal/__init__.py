"""What a command shows on a terminal: how far it is, and samples."""
