//! Queues of numbered slots, first in, first out; a slot leaves from any place in constant time.

/// The queues. Every slot is in one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// Slots without an entry.
    Free,
    /// Entries that have yet to prove their worth.
    Small,
    /// Entries that have.
    Main,
}

/// The number of a slot.
pub(super) type Id = usize;

/// So many numbers stand for the queues' own ends.
const QUEUES: usize = 3;

/// A link of a ring. A queue is a ring that is closed by its own end, so there are no special
/// cases.
#[derive(Debug, Clone, Copy)]
struct Link {
    before: Id,
    behind: Id,
}

/// The links of all slots.
#[derive(Debug)]
pub(super) struct Queues(Vec<Link>);

impl Queues {
    pub(super) fn new() -> Self {
        Self(
            (0..QUEUES)
                .map(|end| Link {
                    before: end,
                    behind: end,
                })
                .collect(),
        )
    }

    /// Makes room for so many further slots, no more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.0.reserve_exact(more);
    }

    /// Makes a slot at the back of a queue.
    pub(super) fn add(&mut self, queue: Queue) -> Id {
        let link = self.0.len();
        self.0.push(Link {
            before: link,
            behind: link,
        });
        self.push(queue, link - QUEUES);
        link - QUEUES
    }

    /// Returns the slot whose turn it is.
    pub(super) fn front(&self, queue: Queue) -> Option<Id> {
        self.0[queue as usize].behind.checked_sub(QUEUES)
    }

    /// Moves a slot to the back of a queue.
    pub(super) fn shift(&mut self, queue: Queue, id: Id) {
        let Link { before, behind } = self.0[id + QUEUES];
        self.0[before].behind = behind;
        self.0[behind].before = before;
        self.push(queue, id);
    }

    fn push(&mut self, queue: Queue, id: Id) {
        let (end, link) = (queue as usize, id + QUEUES);
        let last = self.0[end].before;
        self.0[link] = Link {
            before: last,
            behind: end,
        };
        self.0[last].behind = link;
        self.0[end].before = link;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(queues: &mut Queues, queue: Queue) -> Vec<Id> {
        let mut all = vec![];
        while let Some(id) = queues.front(queue) {
            queues.shift(Queue::Free, id);
            all.push(id);
        }
        all
    }

    #[test]
    fn slots_leave_in_order_and_from_any_place() {
        let mut queues = Queues::new();
        let ids: Vec<Id> = (0..5).map(|_| queues.add(Queue::Small)).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4]);
        for id in [2, 0, 4] {
            queues.shift(Queue::Main, id);
        }
        queues.shift(Queue::Main, 2);
        assert_eq!(drained(&mut queues, Queue::Small), [1, 3]);
        assert_eq!(drained(&mut queues, Queue::Main), [0, 4, 2]);
        assert_eq!(queues.front(Queue::Main), None);
        assert_eq!(queues.front(Queue::Free), Some(1));
    }
}
