"""Who is told what: the live stream of events, inboxes, mails that gather notices, and webhooks.

Tables: event_log (written by the relay), event_log_head, mails (left by any transaction, sent by the relay);
notice_head, bursts, notices, notice_preferences; webhook_endpoints, webhook_messages, webhook_deliveries,
webhook_attempts. Announces: notice.added, to its reader. Which events are told, as what, to whom, is a table in
`rules.py`.
Everybody hears of the files they may see, in the order in which things were committed, from any position on.
"""
