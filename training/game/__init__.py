"""The game that generator and critic play: losses, penalties, what the critic sees, and what moves the weights."""
