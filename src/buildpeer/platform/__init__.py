"""The outside world behind small doors: database, storage, messaging, clock, settings."""
