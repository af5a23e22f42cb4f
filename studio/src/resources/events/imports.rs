//! Imports that write, and how far they are.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use uuid::Uuid;
use watertight_terms::TenantId;

/// Imports that somebody waits for, by member.
type Watched = HashMap<(TenantId, Uuid), Vec<Weak<Running>>>;

/// The imports of this process that write, by whose they are. What an import wrote is seen by nobody before it
/// is kept, so how far it is cannot come from the database.
#[derive(Debug, Clone, Default)]
pub struct Imports {
    running: Arc<Mutex<Watched>>,
}

/// An import that writes; dropped when it has ended, however it did.
#[derive(Debug)]
pub(crate) struct Running {
    noun: &'static str,
    done: AtomicUsize,
    total: usize,
}

impl Running {
    /// So many more rows are written.
    pub(crate) fn count(&self, written: usize) {
        self.done.fetch_add(written, Ordering::Relaxed);
    }
}

impl Imports {
    /// An import of `total` rows begins to write.
    pub(crate) fn begin(
        &self,
        tenant: TenantId,
        member: Uuid,
        noun: &'static str,
        total: usize,
    ) -> Arc<Running> {
        let running = Arc::new(Running {
            noun,
            done: AtomicUsize::new(0),
            total,
        });
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, imports| imports.iter().any(|import| import.strong_count() > 0));
        let own = all.entry((tenant, member)).or_default();
        own.push(Arc::downgrade(&running));
        running
    }

    /// Those of a member that run: which rows, how many are written, and of how many.
    pub(super) fn of(&self, tenant: TenantId, member: Uuid) -> Vec<(&'static str, usize, usize)> {
        let all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.get(&(tenant, member)).into_iter().flatten();
        own.filter_map(Weak::upgrade)
            .map(|import| {
                let done = import.done.load(Ordering::Relaxed);
                (import.noun, done, import.total)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_told_to_whose_it_is_and_until_it_ends() {
        let imports = Imports::default();
        let id = Uuid::from_u128;
        let running = imports.begin(TenantId(id(1)), id(2), "booking", 50);
        running.count(20);
        let told = |studio, member| imports.of(TenantId(id(studio)), id(member));
        assert_eq!(told(1, 2), [("booking", 20, 50)]);
        assert_eq!((told(1, 3), told(2, 2)), (Vec::new(), Vec::new()));
        drop(running);
        assert_eq!(told(1, 2), []);
        let _other = imports.begin(TenantId(id(2)), id(2), "artist", 1);
        let kept = imports.running.lock().unwrap().len();
        assert_eq!(kept, 1, "what has ended is forgotten");
    }
}
