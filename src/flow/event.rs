//! An event is a message about an incident or a source that leaves the program.
