"""What people can do with daily logs and bitácoras: one verb, one function."""
