"""The routes that the `openai` package asks: bodies as it sends them, answers and errors as it reads them."""
