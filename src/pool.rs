//! pool: to be opened.
