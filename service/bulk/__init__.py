"""Jobs of any number of rows: shards in a folder, each made from nothing but the bundle, the seed and its rows."""
