"""The database: tables, connections, one module of functions per aggregate."""
