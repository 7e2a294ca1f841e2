"""Was a file made here? Its mark, and its content beside that of the rows that the mark names, made again."""
