//! FROST shares that were opened lately, so that a session need not open, parse and check the same share again.

use std::sync::{Arc, Mutex, PoisonError};

use crate::context::KeyRef;
use crate::failure::Failure;
use crate::frost::key::{Share, open_share};
use crate::vault::Vault;

/// Keys of one node that sign in turns are few.
const KEPT: usize = 16;

/// Opened shares by the blob they came from, the one used last at the end. Each wipes its secret when it is dropped.
#[derive(Default)]
pub struct OpenedShares(Mutex<Vec<Opened>>);

struct Opened {
    key: KeyRef,
    node: u16,
    sealed: Vec<u8>,
    share: Arc<Share>,
}

impl OpenedShares {
    /// What [`open_share`] gives for the same arguments and the one vault that this memory is for.
    ///
    /// # Errors
    /// Those of [`open_share`].
    pub fn open(&self, vault: &Vault, key: KeyRef, node: u16, sealed: &[u8]) -> Result<Arc<Share>, Failure> {
        if let Some(share) = self.known(key, node, sealed) {
            return Ok(share);
        }
        let share = Arc::new(open_share(vault, key, node, sealed)?);
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() == KEPT {
            list.remove(0);
        }
        list.push(Opened {
            key,
            node,
            sealed: sealed.to_vec(),
            share: Arc::clone(&share),
        });
        Ok(share)
    }

    fn known(&self, key: KeyRef, node: u16, sealed: &[u8]) -> Option<Arc<Share>> {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = list
            .iter()
            .position(|opened| opened.key == key && opened.node == node && opened.sealed == sealed)?;
        let opened = list.remove(at);
        let share = Arc::clone(&opened.share);
        list.push(opened);
        Some(share)
    }
}
