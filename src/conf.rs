//! conf: to be opened.
