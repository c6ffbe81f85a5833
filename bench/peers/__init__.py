"""The others that `bench.field` measures, and the phone that all senders run on."""
