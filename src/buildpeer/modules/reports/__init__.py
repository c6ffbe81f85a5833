"""What happens on a site, as people report it: daily logs, the bitácora de obra, and progress reports to investors.

Tables: daily_logs, daily_log_entries, daily_log_edits, daily_log_conflicts, bitacoras, bitacora_parties,
bitacora_notes, bitacora_signatures, baselines, progress_entries, progress_reports, report_readings. Announces:
daily_log.changed, daily_log.completed, daily_log.reopened, daily_log.distributed, bitacora.note_issued,
bitacora.note_signed, progress_report.published.

A daily log is a project's day. Phones write it offline: what they send may come late, twice and in any order; it is
merged field by field, and no value that anybody wrote is lost. A bitácora is the opposite: numbered notes that nobody
ever changes, each chained to the one before it, signed by its parties, and sealed in the audit trail with its hash.

A progress report is composed by a manager and published: its page then stays as it is, is shown to the investors of its
project, and is corrected only by a new edition.
"""
