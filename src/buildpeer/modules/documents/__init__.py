"""Files that people work with: listed, looked at, downloaded.

Table: documents. Announces: document.added, document.renewed, document.withdrawn, document.erased. A document begins
when an upload is ready, or links known content, in the same transaction; it is withdrawn when a scanner finds something
in it after all, and nobody gets to see it any more. Its bytes go when no document links them any more; uploads see to
that. A page's picture and tiles are made when somebody first asks for them: the order goes to derive's queue, and S3
says what is there. Every download is a signed URL for one version, an attachment, good for five minutes, and audited.

Drawings. Tables: drawing_areas, drawing_sets, drawings, drawing_revisions (published, all of them), drawing_filings and
drawing_sheets (not published yet), drawing_pins. Announces: drawing.published. A sheet is a page of a document.
"""
