//! What every platform promises, asked of the one that was built.
