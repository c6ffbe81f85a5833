"""Files that people work with: listed, looked at, downloaded.

Table: documents. Announces: document.added. A document begins when an upload is ready, in the same transaction.
Every download is a signed URL for one version, an attachment, good for five minutes, and audited.
"""
