"""Pictures without a mark, found among what an account says was sent: features, their index, a comparison."""
