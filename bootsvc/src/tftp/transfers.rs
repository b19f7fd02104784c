//! Which transfers are open, to bound them and to notice ghosts.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netboot::loader::ServedFile;

/// One client's share. A booting machine needs one; ghosts and its probes add a few.
const TRANSFERS_PER_CLIENT_MAX: usize = 16;

/// The open transfers of all servers.
#[derive(Debug)]
pub struct Transfers {
    max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_client: HashMap<IpAddr, Vec<ServedFile>>,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    transfers: Arc<Transfers>,
    client: IpAddr,
    file: ServedFile,
    /// An earlier transfer of the same file to the same client is still open.
    pub ghost_before: bool,
}

impl Transfers {
    /// At most so many at once.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // A panic elsewhere leaves plain values behind, all of them still good.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more transfer; none if all are taken, or all of this client's.
    pub fn enter(self: &Arc<Self>, client: IpAddr, file: ServedFile) -> Option<Place> {
        let mut open = self.open();
        if open.total >= self.max {
            return None;
        }
        let of_client = open.by_client.entry(client).or_default();
        if of_client.len() >= TRANSFERS_PER_CLIENT_MAX {
            return None;
        }
        let ghost_before = of_client.contains(&file);
        of_client.push(file);
        open.total += 1;
        Some(Place { transfers: self.clone(), client, file, ghost_before })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.transfers.open();
        open.total = open.total.saturating_sub(1);
        if let Some(of_client) = open.by_client.get_mut(&self.client) {
            if let Some(at) = of_client.iter().position(|file| *file == self.file) {
                of_client.swap_remove(at);
            }
            if of_client.is_empty() {
                open.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let transfers = Arc::new(Transfers::new(TRANSFERS_PER_CLIENT_MAX + 1));
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let file = ServedFile::IpxeX64;
        let first = transfers.enter(a, file).unwrap();
        assert!(!first.ghost_before);
        assert!(!transfers.enter(a, ServedFile::SnponlyX64).unwrap().ghost_before, "another file");
        assert!(!transfers.enter(b, file).unwrap().ghost_before, "another client");
        let rest: Vec<Place> =
            (1..TRANSFERS_PER_CLIENT_MAX).map(|_| transfers.enter(a, file).unwrap()).collect();
        assert!(rest.iter().all(|place| place.ghost_before));
        assert!(transfers.enter(a, file).is_none(), "this client has its share");
        let other = transfers.enter(b, file).unwrap();
        assert!(transfers.enter(b, file).is_none(), "all are taken");
        drop((first, rest, other));
        assert!(!transfers.enter(a, file).unwrap().ghost_before);
        assert!(transfers.open().by_client.is_empty() && transfers.open().total == 0);
    }
}
