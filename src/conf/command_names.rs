//! The few things the configuration asks of the command table, in one place.

/// What a client must be allowed to do before it may run a command; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Read keys.
    Read,
    /// Read and write keys.
    Write,
    /// Everything.
    Admin,
}
