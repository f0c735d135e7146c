//! base: to be opened.
