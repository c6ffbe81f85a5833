"""Files that people work with: listed, looked at, downloaded.

Table: documents. Announces: document.added, document.renewed, document.withdrawn, document.returned, document.erased. A
document begins when an upload is ready, or links known content, in the same transaction; it is withdrawn when a scanner
finds something in it after all, and nobody gets to see it any more, unless that was a false alarm. Its bytes go when no
document links them any more; uploads see to that. A page's picture and tiles are made when somebody first asks for
them: the order goes to derive's queue, and S3 says what is there. Every download is a signed URL for one version, an
attachment, good for five minutes, and audited.
"""
