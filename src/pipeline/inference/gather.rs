//! Gathers the inputs of all sources into batches.

use std::time::Duration;

use super::Pending;
use crate::clock::Clock;
use crate::flow::source::Duty;
use crate::pipeline::exit::Exit;
use crate::pipeline::link::{LinkReceiver, LinkSender, Received};
use crate::stages::batch::Batcher;

/// Gathers inputs into batches until the last source has ended.
pub(super) fn gather(
    mut batcher: Batcher<Pending>,
    inputs: &LinkReceiver<Pending>,
    batches: &LinkSender<Vec<Pending>>,
    clock: &dyn Clock,
    mut count: impl FnMut(),
) -> Exit {
    const IDLE: Duration = Duration::from_secs(1);
    let mut is_open = true;
    while is_open || batcher.count() > 0 {
        let mut patience = if is_open {
            batcher.patience(clock.monotonic()).unwrap_or(IDLE)
        } else {
            Duration::ZERO
        };
        // Everything that has come is taken in before the next turn is given, so that turns are fair.
        loop {
            match inputs.receive_within(patience) {
                Received::Item(pending) => {
                    count();
                    let meta = &pending.prepared.frame.meta;
                    let (source, is_urgent) = (meta.source.clone(), meta.duty == Duty::Alarm);
                    batcher.add(source, is_urgent, pending, clock.monotonic());
                    patience = Duration::ZERO;
                }
                Received::Nothing => break,
                Received::Closed => {
                    is_open = false;
                    break;
                }
            }
        }
        let batch = if is_open {
            batcher.due(clock.monotonic())
        } else {
            batcher.close()
        };
        if let Some(batch) = batch
            && batches.send(batch).is_err()
        {
            return Exit::DownstreamClosed;
        }
    }
    Exit::Drained
}
