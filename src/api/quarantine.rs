//! The calls of `OperationsService` about what comes in: sources, and what is set aside.

use std::collections::BTreeSet;

use tonic::{Request, Response, Status};
use veridem_proto::v1;

use super::convert::{self, ack_message};
use super::{Api, Right, observe, page, status};
use crate::clock::Stopwatch;
use crate::resolver::{AuditSubject, EngineError};
use crate::store::QuarantineId;

impl Api {
    pub(super) async fn answer_list_sources(
        &self,
        request: Request<v1::ListSourcesRequest>,
    ) -> Result<Response<v1::ListSourcesResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let matcher = self.look_up("ListSources", |engine| engine.matcher_of(&caller.tenant))?;
        let sources = self.intake.registry().sources(&caller.tenant);
        let sources = sources.map(|source| v1::Source {
            name: source.name.clone(),
            owner: source.owner.clone(),
            brand: source.brand.clone().unwrap_or_default(),
            trust: matcher.pack.trust(&source.name),
            expected_signals_per_day: source.expected_per_day.unwrap_or_default(),
            max_silence_ms: source.max_silence.unwrap_or_default().as_millis() as u64,
            attributes: source.attributes.iter().cloned().collect(),
            schema_versions: source.schema_versions.iter().cloned().collect(),
            rules: source.rules.len() as u32,
            service_level: source.service_level,
            max_delay_ms: source.max_delay.as_millis() as u64,
        });
        Ok(Response::new(v1::ListSourcesResponse {
            sources: sources.collect(),
        }))
    }

    pub(super) async fn answer_list_quarantine(
        &self,
        request: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<v1::ListQuarantineResponse>, Status> {
        let caller = self.caller(&request, Right::Operate)?;
        let request = request.into_inner();
        let size = page::size(request.page_size, 100, 1_000)?;
        let after = match page::place(&request.page_token)? {
            None => None,
            Some(place) => {
                let id = place.try_into().map_err(|_| page::invalid_token())?;
                Some(QuarantineId(id))
            }
        };
        let response = self.ask("ListQuarantine", move |engine| {
            let entries = engine.store().quarantined(&caller.tenant, after, size)?;
            let last = entries.last().filter(|_| entries.len() == size);
            let next_page_token = last.map(|(id, _)| page::token(&id.0)).unwrap_or_default();
            let quarantined = entries
                .into_iter()
                .map(|(id, entry)| convert::quarantined(id, entry));
            Ok(v1::ListQuarantineResponse {
                quarantined: quarantined.collect(),
                next_page_token,
            })
        });
        Ok(Response::new(response.await?))
    }

    pub(super) async fn answer_resubmit_quarantined(
        &self,
        request: Request<v1::ResubmitQuarantinedRequest>,
    ) -> Result<Response<v1::ResubmitQuarantinedResponse>, Status> {
        let stopwatch = Stopwatch::start();
        let caller = self.caller(&request, Right::Operate)?;
        let request = request.into_inner();
        let result = async {
            let id = quarantine_id(&request.quarantine_id).map_err(status::of)?;
            let mended = match request.signal {
                None => None,
                mended => Some(convert::incoming(mended).map_err(status::of)?),
            };
            let subjects = vec![AuditSubject::Quarantined(id)];
            let audited = self.audit(&caller, "ResubmitQuarantined", subjects);
            audited.await?;
            let resubmitted = self.intake.resubmit(&caller.tenant, id, mended).await;
            let (signal_id, ack) = resubmitted.map_err(status::of)?;
            Ok(ack_message(signal_id, ack))
        };
        let result: Result<_, Status> = result.await;
        observe("ResubmitQuarantined", stopwatch, result.as_ref().err());
        tracing::info!(
            principal = caller.principal,
            is_accepted = result.is_ok(),
            "what was set aside is submitted again"
        );
        result.map(|ack| Response::new(v1::ResubmitQuarantinedResponse { ack: Some(ack) }))
    }

    pub(super) async fn answer_discard_quarantined(
        &self,
        request: Request<v1::DiscardQuarantinedRequest>,
    ) -> Result<Response<v1::DiscardQuarantinedResponse>, Status> {
        let stopwatch = Stopwatch::start();
        let caller = self.caller(&request, Right::Operate)?;
        let ids = request.into_inner().quarantine_ids;
        if !(1..=1_000).contains(&ids.len()) {
            return Err(status::invalid("quarantine_ids", "must be 1 to 1000"));
        }
        let result = async {
            let ids: Result<BTreeSet<_>, EngineError> =
                ids.iter().map(|id| quarantine_id(id)).collect();
            let ids = ids.map_err(status::of)?;
            let subjects = ids.iter().copied().map(AuditSubject::Quarantined).collect();
            let audited = self.audit(&caller, "DiscardQuarantined", subjects);
            audited.await?;
            let removed = self.intake.quarantine().remove(&caller.tenant, ids).await;
            removed.map_err(status::of)
        };
        let result: Result<_, Status> = result.await;
        observe("DiscardQuarantined", stopwatch, result.as_ref().err());
        let discarded = result?;
        tracing::warn!(
            principal = caller.principal,
            discarded,
            "what was set aside is discarded"
        );
        Ok(Response::new(v1::DiscardQuarantinedResponse { discarded }))
    }
}

fn quarantine_id(text: &str) -> Result<QuarantineId, EngineError> {
    text.parse()
        .map_err(|_| EngineError::invalid("quarantine_id", "must be 32 hexadecimal digits"))
}
