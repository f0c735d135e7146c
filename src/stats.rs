//! stats: to be opened.
