//! One call of a sink: with the events of one incident one after the other, or with a digest of many.

use std::sync::Arc;

use crate::stages::publish::evidence::{EvidenceFiles, InlineEvidence, with_content};
use crate::stages::publish::sink::{Delivery, Sink, SinkError};
use crate::store::Pending;

/// What became of the events of one call or of one incident.
pub(super) struct Outcome {
    pub(super) subjects: Vec<String>,
    /// How many events the call held.
    pub(super) count: usize,
    pub(super) delivered: Vec<Delivery>,
    pub(super) failed: Option<(Vec<Delivery>, SinkError)>,
}

/// What a call needs, apart from the loop.
pub(super) struct Call {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) evidence: Option<Arc<dyn EvidenceFiles>>,
    pub(super) inline: InlineEvidence,
    pub(super) name: String,
    pub(super) dry_run: bool,
    /// Whether all go in one call, as a digest; one after the other otherwise.
    pub(super) together: bool,
}

impl Call {
    /// Hands the events over until one fails.
    pub(super) async fn make(self, subjects: Vec<String>, mut deliveries: Vec<Delivery>) -> Outcome {
        if self.inline.bytes > 0 {
            self.add_content(&mut deliveries).await;
        }
        let mut outcome = Outcome {
            subjects,
            count: deliveries.len(),
            delivered: Vec::new(),
            failed: None,
        };
        if self.together {
            match self.hand_over(&deliveries).await {
                Ok(()) => outcome.delivered = deliveries,
                Err(error) => outcome.failed = Some((deliveries, error)),
            }
            return outcome;
        }
        for delivery in deliveries {
            match self.hand_over(std::slice::from_ref(&delivery)).await {
                Ok(()) => outcome.delivered.push(delivery),
                Err(error) => {
                    // Later events of the incident must not overtake this one; they come again from the outbox.
                    outcome.failed = Some((vec![delivery], error));
                    break;
                }
            }
        }
        outcome
    }

    async fn hand_over(&self, deliveries: &[Delivery]) -> Result<(), SinkError> {
        if self.dry_run {
            for delivery in deliveries {
                tracing::info!(
                    sink = self.name,
                    id = delivery.id,
                    kind = delivery.kind,
                    "dry run: not sent"
                );
            }
            return Ok(());
        }
        self.sink.deliver(deliveries).await
    }

    async fn add_content(&self, deliveries: &mut [Delivery]) {
        let Some(files) = &self.evidence else {
            return;
        };
        for delivery in deliveries {
            if let Some(body) = with_content(&delivery.body, files.as_ref(), self.inline).await {
                delivery.body = body.into();
            }
        }
    }
}

pub(super) fn delivery_of(pending: Pending) -> Delivery {
    Delivery {
        sequence: pending.seq,
        id: pending.event_id.to_string(),
        kind: pending.kind,
        subject: pending.subject,
        time: pending.recorded_at,
        body: pending.body.into(),
        attempts: pending.attempts,
    }
}
