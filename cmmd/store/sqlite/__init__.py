"""The store in SQLite: schema, SQL, the reading and the writing thread."""
