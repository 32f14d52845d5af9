//! `OperationsService`.

use tonic::{Request, Response, Status};
use veridem_proto::v1;
use veridem_proto::v1::operations_service_server::OperationsService;

use super::Api;
use crate::publish::SinkKind;

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
