"""One module per wire format: bytes in, values out, and back. Nothing here does I/O."""
