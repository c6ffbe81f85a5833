"""The embedded stack of `make up`: Postgres, ministack and Valkey on loopback, and our own processes."""
