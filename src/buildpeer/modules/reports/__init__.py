"""What happens on a site, as people report it: daily logs, and the bitácora de obra.

Tables: daily_logs, daily_log_entries, daily_log_edits, daily_log_conflicts, bitacoras, bitacora_parties,
bitacora_notes, bitacora_signatures. Announces: daily_log.changed, daily_log.completed, daily_log.reopened,
daily_log.distributed, bitacora.note_issued, bitacora.note_signed.

A daily log is a project's day. Phones write it offline: what they send may come late, twice and in any order; it is
merged field by field, and no value that anybody wrote is lost. A bitácora is the opposite: numbered notes that nobody
ever changes, each chained to the one before it, signed by its parties, and sealed in the audit trail with its hash.
"""
