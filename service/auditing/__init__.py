"""The account of who was sent which samples: written as they are sent, read, searched, and made again."""
