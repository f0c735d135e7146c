//! sys: to be opened.
