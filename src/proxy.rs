//! proxy: to be opened.
