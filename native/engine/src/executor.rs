//! The bounded pool of threads on which all sessions of a process run.
//!
//! Sessions are futures: one that waits for messages holds no thread, so more sessions than threads cannot deadlock.

use std::sync::OnceLock;

use futures::executor::ThreadPool;

use crate::failure::Failure;

static POOL: OnceLock<ThreadPool> = OnceLock::new();

/// The pool; the first call fixes its size (`threads`, or the number of cores).
///
/// # Errors
/// `internal` when the system refuses threads.
pub fn pool(threads: Option<usize>) -> Result<ThreadPool, Failure> {
    if let Some(pool) = POOL.get() {
        return Ok(pool.clone());
    }
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let pool = ThreadPool::builder()
        .pool_size(threads.unwrap_or(cores).clamp(1, 256))
        .name_prefix("cairn-engine-")
        .create()
        .map_err(|error| Failure::internal(format!("could not start the engine's threads: {error}")))?;
    Ok(POOL.get_or_init(|| pool).clone())
}
