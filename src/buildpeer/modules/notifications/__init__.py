"""Who is told what: the live stream of events.

Tables: event_log (written by the relay), event_log_head, mails (left by any transaction, sent by the relay).
Everybody hears of the files they may see, in the order in which things were committed, from any position on.
"""
