//! Passing on what waits, over one stream, with a bounded number of signals on their way.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use veridem_proto::v1;
use veridem_proto::v1::resolution_service_client::ResolutionServiceClient;
use veridem_proto::v1::submit_signals_response::Outcome;

use super::RelaySettings;
use super::backlog::{Backlog, Waiting};
use crate::api::TENANT_KEY;
use crate::retry::delays;

/// Signals on their way.
const WINDOW: usize = 512;
/// Answers after which the queue is told.
const SETTLED_AT_ONCE: usize = 256;
/// After this it is told in any case.
const SETTLE_INTERVAL: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Passes on until `stop`.
pub(super) async fn run(settings: RelaySettings, backlog: Backlog, stop: CancellationToken) {
    let connected = metrics::gauge!("veridem_relay_connected");
    let failures = metrics::counter!("veridem_relay_failures_total");
    let mut waits = delays(FIRST_DELAY, LONGEST_DELAY);
    loop {
        let mut link = Link {
            backlog: &backlog,
            sent: VecDeque::new(),
            last_sent: None,
            removed: Vec::new(),
            refused: Vec::new(),
            passed_on: 0,
        };
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = link.run(&settings, &connected) => ended,
        };
        connected.set(0.0);
        let settled = link.settle().await;
        if stop.is_cancelled() {
            return;
        }
        if link.passed_on > 0 {
            waits = delays(FIRST_DELAY, LONGEST_DELAY);
        }
        if let Err(cause) = ended.and(settled) {
            failures.increment(1);
            let waiting = backlog.waiting();
            tracing::warn!(
                cause = format!("{cause:#}"),
                waiting,
                "signals cannot be passed on; it is tried again"
            );
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(waits.next().unwrap_or(LONGEST_DELAY)) => {}
        }
    }
}

struct Link<'a> {
    backlog: &'a Backlog,
    sent: VecDeque<Waiting>,
    last_sent: Option<u64>,
    removed: Vec<u64>,
    refused: Vec<(u64, v1::Signal)>,
    passed_on: u64,
}

impl Link<'_> {
    async fn run(
        &mut self,
        settings: &RelaySettings,
        connected: &metrics::Gauge,
    ) -> anyhow::Result<()> {
        let channel = Channel::from_shared(settings.upstream.clone())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_while_idle(true)
            .connect()
            .await?;
        let (messages, outgoing) = mpsc::channel(WINDOW);
        let mut request = tonic::Request::new(ReceiverStream::new(outgoing));
        let metadata = request.metadata_mut();
        metadata.insert(TENANT_KEY, settings.tenant.parse()?);
        if let Some(token) = &settings.token {
            let token: MetadataValue<_> = format!("Bearer {token}").parse()?;
            metadata.insert("authorization", token);
        }
        let mut client = ResolutionServiceClient::new(channel);
        let mut answers = client
            .submit_signals(request)
            .await
            .map_err(told)?
            .into_inner();
        connected.set(1.0);
        let mut ticks = tokio::time::interval(SETTLE_INTERVAL);
        loop {
            let has_more = self.send(&messages).await?;
            tokio::select! {
                answer = answers.next() => {
                    let answer = answer.ok_or_else(|| anyhow::anyhow!("the service ended the stream"))?;
                    self.take(answer.map_err(told)?)?;
                    if self.removed.len() + self.refused.len() >= SETTLED_AT_ONCE {
                        self.settle().await?;
                    }
                }
                () = self.backlog.changed(), if !has_more => {}
                _ = ticks.tick() => self.settle().await?,
            }
        }
    }

    /// Sends what may be on its way; whether more waits than that.
    async fn send(
        &mut self,
        messages: &mpsc::Sender<v1::SubmitSignalsRequest>,
    ) -> anyhow::Result<bool> {
        let room = WINDOW - self.sent.len();
        // Not for every single answer.
        if room < WINDOW / 4 {
            return Ok(true);
        }
        let waiting = self.backlog.after(self.last_sent, room).await?;
        let has_more = waiting.len() == room;
        for waiting in waiting {
            let request = v1::SubmitSignalsRequest {
                signal: Some(waiting.signal.clone()),
            };
            // As many are on their way as fit in.
            messages.send(request).await?;
            self.last_sent = Some(waiting.number);
            self.sent.push_back(waiting);
        }
        Ok(has_more)
    }

    /// Takes the answer to the oldest signal on its way.
    fn take(&mut self, answer: v1::SubmitSignalsResponse) -> anyhow::Result<()> {
        let Some(waiting) = self.sent.pop_front() else {
            anyhow::bail!("the service answered more than it was asked");
        };
        match answer.outcome {
            Some(Outcome::Ack(_)) => self.removed.push(waiting.number),
            Some(Outcome::Refusal(refusal)) => match Code::from(refusal.code) {
                Code::ResourceExhausted | Code::Unavailable | Code::Cancelled | Code::Internal => {
                    anyhow::bail!("the service takes nothing now: {}", refusal.message);
                }
                // The service has it, and its stewards decide.
                _ if refusal.reason == "QUARANTINED" => self.removed.push(waiting.number),
                code => {
                    tracing::warn!(
                        ?code,
                        reason = refusal.reason,
                        source = waiting.signal.source,
                        "the service refuses a signal; it is kept aside"
                    );
                    self.refused.push((waiting.number, waiting.signal));
                }
            },
            None => anyhow::bail!("the service answered with nothing"),
        }
        self.passed_on += 1;
        Ok(())
    }

    /// Tells the queue what is done.
    async fn settle(&mut self) -> anyhow::Result<()> {
        if self.removed.is_empty() && self.refused.is_empty() {
            return Ok(());
        }
        let (removed, refused) = (
            std::mem::take(&mut self.removed),
            std::mem::take(&mut self.refused),
        );
        Ok(self.backlog.settle(removed, refused).await?)
    }
}

fn told(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{:?}: {}", status.code(), status.message())
}
