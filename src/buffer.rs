//! Bytes in transit: where they wait, and how much memory that costs.
//!
//! A handler reads into one scratch buffer that all its connections share. What cannot go on
//! at once waits in one of these: a [`Buffer`] holds the beginning of a message that is not
//! complete, an [`Outbox`] the replies that a client has yet to read, a [`Shelf`] the replies
//! that came before their turn, a [`RequestLog`] the requests that a server has yet to answer.
//! All of them draw their memory from the handler's [`BufferPool`], which counts it, and a
//! connection with nothing in flight holds none.

pub mod alloc;
pub mod outbox;
pub mod request_log;
pub mod shelf;

pub use alloc::{Buffer, BufferPool, MemoryGauge};
pub use outbox::{Flushed, Outbox, SharedBlock};
pub use request_log::RequestLog;
pub use shelf::{Shelf, ShelfRange};
