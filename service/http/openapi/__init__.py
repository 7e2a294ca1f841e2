"""The routes as an OpenAPI 3.1 document, made from what parses requests, and a page of it."""
