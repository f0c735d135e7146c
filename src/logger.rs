//! logger: to be opened.
