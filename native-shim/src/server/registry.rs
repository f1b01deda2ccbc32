//! The connections of a thread, looked over twice a second, so that none of them needs a timer of
//! its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::Scheme;
use tidegate_core::message::bounds::Bounds;

use super::activity::{Activity, Signal};
use super::files;
use super::ticks::Ticks;
use crate::node::Node;
use crate::seats::Seat;

/// The connections of one thread.
#[derive(Debug)]
pub(super) struct Registry {
    ticks: Ticks,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
    node: Arc<Node>,
}

/// A connection's place in the registry, which its tunnel shares; left when dropped.
#[derive(Debug)]
pub(super) struct Registered {
    registry: Arc<Registry>,
    number: u64,
    pub(super) activity: Arc<Activity>,
    /// Kept by what goes on when the connection has ended.
    pub(super) seat: Arc<Seat>,
}

impl Registry {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self {
            ticks: Ticks::new(),
            next: AtomicU64::new(0),
            open: Mutex::default(),
            node,
        }
    }

    /// Gives a connection its place, if there is one: among all, for which there are so many files,
    /// and among those of its address.
    pub(super) fn enter(
        self: &Arc<Self>,
        peer: IpAddr,
        scheme: Scheme,
        files: u64,
    ) -> Option<Registered> {
        let seat = Arc::new(self.take_seat(peer, files)?);
        self.node
            .metrics
            .connections
            .fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(Activity::new(
            Arc::clone(&self.node),
            peer,
            scheme,
            self.ticks.clone(),
        ));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open().insert(number, Arc::clone(&activity));
        Some(Registered {
            registry: Arc::clone(self),
            number,
            activity,
            seat,
        })
    }

    /// Takes a seat as the policy says, and no more than there are files for. Behind a trusted
    /// proxy there is everybody: its address is not bounded.
    fn take_seat(&self, peer: IpAddr, files: u64) -> Option<Seat> {
        let engine = self.node.engine();
        let policy = engine.policy();
        let bounds = &policy.server.bounds;
        let possible = files::connections_max(files, policy);
        let of_address =
            (!policy.client.trusts(peer)).then_some((peer, bounds.connections_per_address_max));
        self.node
            .seats
            .take(bounds.connections_max.min(possible), of_address)
    }

    /// Moves the coarse clock.
    pub(super) fn tick(&self) -> u32 {
        self.ticks.pass()
    }

    /// Tells every connection what it must be told by now.
    pub(super) fn look_over(&self, bounds: &Bounds) {
        for activity in self.open().values() {
            if let Some(signal) = activity.overdue(bounds) {
                activity.tell(signal);
            }
        }
    }

    pub(super) fn tell_all(&self, signal: Signal) {
        for activity in self.open().values() {
            activity.tell(signal);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open().is_empty()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.open().remove(&self.number);
        self.registry
            .node
            .metrics
            .connections
            .fetch_sub(1, Ordering::Relaxed);
    }
}
