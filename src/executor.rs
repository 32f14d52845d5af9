//! The one door to data-parallel work: bulk jobs run inside a pool of their own, sized by the caller.

/// Runs `work` with `threads` threads for its parallel parts; 0 means one a core.
pub fn run<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("bulk-{index}"))
        .build()?;
    Ok(pool.install(work))
}

/// Threads that `run` uses where 0 is asked for.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
