//! Opens a source, supervises it, and yields decoded frames and encoded packets.
