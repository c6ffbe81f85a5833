"""File work: bytes in, facts out. No database, no web framework, no AWS.

`scanners` looks for malware, `identify` hashes and names the type, `derive` makes pictures and reads what a
file says of itself. It does so in a child process (`children`) that may crash: `reader` hands the file to
`pictures`, `heif`, `pdf` or `dxf`, and `exif` reads what cameras wrote. `joining` makes one part of its chunks.
"""
