//! What commands ask of the machine: cores, CPU time, signals.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::pipeline::stop::Stop;

/// Returns how many cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Returns how many sessions are meant: 0 stands for one per core.
pub(crate) fn sessions(wanted: usize) -> usize {
    if wanted == 0 { cores() } else { wanted }
}

/// Returns the CPU time that this process has used, in user and kernel.
pub(crate) fn cpu_used() -> Duration {
    let micros = |usage: nix::sys::resource::Usage| {
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    };
    let used = getrusage(UsageWho::RUSAGE_SELF).map_or(0, micros);
    Duration::from_micros(u64::try_from(used).unwrap_or(0))
}

/// Requests a stop at the first interrupt or termination; the second ends the process at once.
pub(crate) fn stop_on_signals(stop: &Stop) -> std::io::Result<()> {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    let is_second = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal arms the flag that makes the second one fatal.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_second))?;
        signal_hook::flag::register(signal, Arc::clone(&is_second))?;
    }
    let mut crew = crate::pipeline::runner::Crew::new(crate::pipeline::stats::Board::default(), Stop::new());
    let stop = stop.clone();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    crew.spawn("signals", move |_, _| {
        if signals.forever().next().is_some() {
            tracing::info!("draining; a second signal quits at once");
            stop.request();
        }
        crate::pipeline::exit::Exit::Drained
    })
}
