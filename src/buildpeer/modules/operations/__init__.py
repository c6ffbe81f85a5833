"""What the people who run BuildPeer look after: messages that nobody could work on.

Table: dead_letters, which is also the record of who did what about one. Announces nothing. A letter belongs to no
tenant: operators see all of them, and nobody else any; it goes when the tenant that it names is erased.
"""
