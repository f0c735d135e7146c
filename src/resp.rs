//! resp: to be opened.
