"""The store in PostgreSQL: connections, schema, SQL, reader and writer."""
