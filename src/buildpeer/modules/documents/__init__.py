"""Files that people work with: filed, found, looked at, downloaded, shared; and photos.

Tables: documents, folders, placements, share_links, albums, photo_pairs. Announces: document.added, document.renewed,
document.withdrawn, document.returned, document.erased, documents.changed. Jobs: documents.archive. Each version of a
document is a row of its own, under the id of its upload; `series_id` is what they have in common, and one of them
counts. A document begins when an upload is ready, or links known content, in the same transaction; it is withdrawn when
a scanner finds something in it after all, and nobody gets to see it any more, unless that was a false alarm. Its bytes
go when no document links them any more; uploads see to that. A page's picture and tiles are made when somebody first
asks for them: the order goes to derive's queue, and S3 says what is there. Every download is a signed URL for one
version, an attachment, good for five minutes, and audited.

Drawings. Tables: drawing_areas, drawing_sets, drawings, drawing_revisions (published, all of them), drawing_filings and
drawing_sheets (not published yet), drawing_pins. Announces: drawing.published. A sheet is a page of a document.
"""
