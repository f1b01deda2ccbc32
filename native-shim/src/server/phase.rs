//! The life of a server.

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    Running,
    /// It accepts nothing new and finishes what is under way.
    Draining,
    /// It ends at once.
    Stopped,
}
