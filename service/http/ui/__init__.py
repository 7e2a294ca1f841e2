"""The page that people look at, `/ui`: its files, and what it asks for beside `/v1`."""
