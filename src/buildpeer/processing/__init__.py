"""File work: bytes in, facts out. No database, no web framework, no AWS.

`scanners` looks for malware, `identify` hashes and names the type, `derive` (with `exif`) makes pictures and
reads what a photo says of itself, `children` runs such readers in processes that may crash.
"""
