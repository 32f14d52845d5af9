//! Threads beside those that answer: bulk jobs run inside a pool of their own, sized by the caller; what can wait runs on threads that
//! give way.

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

/// How much threads that can wait give way, as `nice` counts: while all cores are busy each gets some thirtieth of what another one gets.
const NICENESS: i32 = 15;

const MAX_BACKGROUND_THREADS: usize = 4;

/// Threads for tasks that can wait: they give way to all others where cores are short. They are started with the first task. Tasks that
/// still run when it is dropped end where they wait next.
#[derive(Default)]
pub struct Background(Option<tokio::runtime::Runtime>);

impl Background {
    /// Runs a task, and what it spawns in its turn.
    pub fn spawn<T: Send + 'static>(
        &mut self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> std::io::Result<tokio::task::JoinHandle<T>> {
        let runtime = match &self.0 {
            Some(runtime) => runtime,
            None => self.0.insert(background_threads()?),
        };
        Ok(runtime.spawn(task))
    }
}

fn background_threads() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(available_threads().min(MAX_BACKGROUND_THREADS))
        .thread_name("background")
        .on_thread_start(give_way)
        .enable_all()
        .build()
}

impl Drop for Background {
    fn drop(&mut self) {
        // A runtime may not be waited for by a task of another.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn give_way() {
    // Elsewhere a thread has no priority of its own.
    #[cfg(target_os = "linux")]
    if let Err(cause) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%cause, "a background thread has the priority of all others");
    }
}
