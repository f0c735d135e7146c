//! buffer: to be opened.
