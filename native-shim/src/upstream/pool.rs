//! Idle connections, by origin.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tidegate_core::route::{Origin, Timeouts};

use super::link::Link;
use crate::tls::TlsFiles;

/// Most idle connections of one origin in one thread.
const IDLE_MAX: usize = 256;

/// A thread's idle connections.
#[derive(Debug)]
pub(crate) struct Pool {
    /// By the origin's position in the policy.
    origins: Mutex<Vec<Option<Arc<Idle>>>>,
    pub(super) files: Arc<TlsFiles>,
}

/// The idle connections of one origin, the most recently used last.
#[derive(Debug)]
pub(super) struct Idle {
    origin: Arc<Origin>,
    links: Mutex<Vec<(Instant, Box<Link>)>>,
}

impl Pool {
    pub(super) fn new(files: Arc<TlsFiles>) -> Self {
        Self {
            origins: Mutex::default(),
            files,
        }
    }

    /// Finds the idle connections of an origin. Another policy may have put it at another position.
    pub(super) fn of(&self, origin: &Arc<Origin>) -> Arc<Idle> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(idle)) = origins.get(origin.index)
            && (Arc::ptr_eq(&idle.origin, origin) || idle.serves(origin))
        {
            return Arc::clone(idle);
        }
        let idle = origins
            .iter()
            .flatten()
            .find(|idle| idle.serves(origin))
            .map_or_else(
                || {
                    Arc::new(Idle {
                        origin: Arc::clone(origin),
                        links: Mutex::default(),
                    })
                },
                Arc::clone,
            );
        if origins.len() <= origin.index {
            origins.resize(origin.index + 1, None);
        }
        if let Some(place) = origins.get_mut(origin.index) {
            *place = Some(Arc::clone(&idle));
        }
        idle
    }

    pub(super) fn sweep(&self) {
        let origins = self
            .origins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for idle in origins.into_iter().flatten() {
            idle.sweep();
        }
    }
}

impl Idle {
    /// Returns whether a connection to one is a connection to the other.
    fn serves(&self, origin: &Origin) -> bool {
        self.origin.scheme == origin.scheme
            && self.origin.authority == origin.authority
            && self.origin.tls == origin.tls
            && self.origin.timeouts == origin.timeouts
    }

    /// Takes the connection that was used last and is still open.
    pub(super) fn take(&self, timeouts: &Timeouts) -> Option<Box<Link>> {
        loop {
            let (since, mut link) = self
                .links
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()?;
            if link.may_serve(since, timeouts) && link.is_ready() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection for the next request, if it can carry one.
    pub(super) fn put(&self, mut link: Box<Link>) {
        if !link.can_be_kept() {
            return;
        }
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() < IDLE_MAX {
            links.push((Instant::now(), link));
        }
    }

    fn sweep(&self) {
        let timeouts = &self.origin.timeouts;
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain_mut(|(since, link)| link.may_serve(*since, timeouts) && link.is_ready());
    }
}
