//! Which stored responses are of no more use, without touching them: purges are remembered, and
//! looked at when a response would be used.
//!
//! Purges are numbered. A response carries the number of the last purge before it was asked for; it
//! is void if one of its labels (its URL, its host, each prefix of its path, its tags, its groups)
//! was purged later. So a purge takes the same time however many responses it reaches, reaches
//! every variant and every stale copy, and a response that was on its way when the purge came is
//! void when it arrives. Labels are remembered as hashes in tables of fixed size, each in several
//! slots: others may have been there too, and then a purge reaches responses that it does not mean.
//! Nothing else can go wrong: nothing is ever forgotten. Changes, of which clients make many, have
//! a table of their own, where one of a label's slots lies in a region of its host: however many
//! changes one host sees, the responses of other hosts stay. Which slots a label has depends on the
//! node's seed, so that nobody outside can choose labels that fall together.

mod expand;
pub(crate) mod label;
mod letters;
pub(crate) mod order;
pub(crate) mod table;
mod target;
pub(crate) mod url;

pub use label::{Label, Number};
pub use order::Order;
pub use table::Verdict;
pub use target::{Exact, NumberedPurge, Purge, Target};

#[cfg(test)]
mod tests;
