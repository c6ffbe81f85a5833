"""Who did what and when, so that nobody can say later that it was otherwise.

Tables: audit.entries (written by triggers and `audit.record()`), audit.pending, audit.batches, audit.heads. Read by
owners and managers. A sealer closes each tenant's entries into Merkle batches, chained by hashes, and lays the newest
seal in a second place; `docs/guides/audit.md` says how the hashes are made. Announces nothing.
"""
