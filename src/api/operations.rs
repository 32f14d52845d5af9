//! `OperationsService`.

use std::io::{BufWriter, Write};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use veridem_proto::v1;
use veridem_proto::v1::operations_service_server::OperationsService;

use super::{Api, status};
use crate::publish::SinkKind;
use crate::store::write_backup;

const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that wait for a slow reader; then the backup waits.
const CHUNKS_AHEAD: usize = 8;

/// Hands on what is written, chunk by chunk.
struct Chunks(mpsc::Sender<Result<v1::BackupResponse, Status>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES)];
        let response = v1::BackupResponse {
            chunk: chunk.to_vec(),
        };
        self.0
            .blocking_send(Ok(response))
            .map_err(|_| std::io::Error::other("the caller has gone"))?;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tonic::async_trait]
impl OperationsService for Api {
    async fn get_statistics(
        &self,
        request: Request<v1::GetStatisticsRequest>,
    ) -> Result<Response<v1::GetStatisticsResponse>, Status> {
        let caller = self.caller(&request)?;
        let counters = self
            .ask("GetStatistics", move |engine| {
                Ok(engine.store().counters(&caller.tenant)?)
            })
            .await?;
        let [events_created, events_updated, events_merged, events_split] = counters.events;
        Ok(Response::new(v1::GetStatisticsResponse {
            signals: counters.signals,
            source_records: counters.source_records,
            identities: counters.identities,
            open_review_tasks: counters.open_review_tasks,
            overrides: counters.overrides,
            last_sequence: counters.last_sequence,
            events_created,
            events_updated,
            events_merged,
            events_split,
        }))
    }

    type BackupStream = ReceiverStream<Result<v1::BackupResponse, Status>>;

    async fn backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let caller = self.caller(&request)?;
        tracing::info!(
            principal = caller.principal,
            tenant = caller.tenant.as_str(),
            "backup taken"
        );
        let (chunks, outgoing) = mpsc::channel(CHUNKS_AHEAD);
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || {
            let output = BufWriter::with_capacity(CHUNK_BYTES, Chunks(chunks.clone()));
            let written = write_backup(engine.store().as_ref(), Some(&caller.tenant), output);
            if let Err(cause) = written {
                // Nobody listens where the caller has gone.
                let _ = chunks.blocking_send(Err(status::of(cause.into())));
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn list_sinks(
        &self,
        request: Request<v1::ListSinksRequest>,
    ) -> Result<Response<v1::ListSinksResponse>, Status> {
        let caller = self.caller(&request)?;
        let tenant = caller.tenant.clone();
        let last = self
            .ask("ListSinks", move |engine| {
                Ok(engine.store().counters(&tenant)?.last_sequence)
            })
            .await?;
        let own = self
            .sinks
            .iter()
            .filter(|sink| sink.settings.tenant == caller.tenant);
        let sinks = own.map(|sink| {
            let state = sink.state();
            v1::Sink {
                name: sink.settings.name.clone(),
                kind: match sink.settings.kind {
                    SinkKind::Webhook { .. } => "webhook",
                    SinkKind::File { .. } => "file",
                }
                .to_owned(),
                acknowledged_sequence: state.acknowledged_sequence,
                lag: last.saturating_sub(state.acknowledged_sequence),
                failed_attempts: state.failed_attempts,
                last_error: state.last_error,
            }
        });
        Ok(Response::new(v1::ListSinksResponse {
            sinks: sinks.collect(),
        }))
    }
}
