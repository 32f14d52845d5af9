//! `PrivacyService`.

use tonic::{Request, Response, Status};
use veridem_proto::v1;
use veridem_proto::v1::privacy_service_server::PrivacyService;

use super::resolution::identity_id;
use super::{Api, Right, convert, status};
use crate::resolver::{AuditSubject, EngineError, Moment, answer};
use crate::store::StoredErasure;

/// How often an identity that changes all the time is looked at anew.
const MAX_ATTEMPTS: usize = 5;

#[tonic::async_trait]
impl PrivacyService for Api {
    async fn export_person(
        &self,
        request: Request<v1::ExportPersonRequest>,
    ) -> Result<Response<v1::ExportPersonResponse>, Status> {
        let caller = self.caller(&request, Right::Administer)?;
        let id = identity_id(request.into_inner().identity_id)?;
        let subjects = vec![AuditSubject::Identity(id)];
        self.audit(&caller, "ExportPerson", subjects).await?;
        tracing::info!(
            principal = caller.principal,
            tenant = caller.tenant.as_str(),
            identity_id = %id,
            "person exported"
        );
        let response = self.ask("ExportPerson", move |engine| {
            let mut response = v1::ExportPersonResponse::default();
            for identity in engine
                .get_identity(&caller.tenant, &id, Moment::Now)?
                .living
            {
                response.identities.push(convert::identity(&identity));
                for (key, stated) in engine.records_of(&caller.tenant, &identity)? {
                    response.records.push(v1::ExportedRecord {
                        record: Some(convert::record_key_message(&key)),
                        attributes: stated
                            .fold
                            .attributes()
                            .iter()
                            .map(|stated| convert::attribute_message(&stated.attribute))
                            .collect(),
                        latest_event_time_ms: stated.fold.latest_event_time_ms(),
                    });
                }
                response.events.extend(
                    engine
                        .events_of(&caller.tenant, &identity, usize::MAX)?
                        .iter()
                        .map(convert::event),
                );
            }
            Ok(response)
        });
        Ok(Response::new(response.await?))
    }

    async fn erase_person(
        &self,
        request: Request<v1::ErasePersonRequest>,
    ) -> Result<Response<v1::ErasePersonResponse>, Status> {
        let caller = self.caller(&request, Right::Administer)?;
        let id = identity_id(request.into_inner().identity_id)?;
        for _ in 0..MAX_ATTEMPTS {
            let (tenant, principal) = (caller.tenant.clone(), caller.principal.clone());
            let found = self.ask("ErasePerson", move |engine| {
                Ok(match engine.erasure(&tenant, &id)? {
                    Some(done) => {
                        // The call that erased it may still wait for its flush.
                        engine.store().flush()?;
                        Err(done)
                    }
                    None => Ok(engine.find_person(&tenant, &id, &principal)?),
                })
            });
            let erasure = match found.await? {
                Ok(erasure) => erasure,
                Err(done) => return Ok(Response::new(response_of(done))),
            };
            let pending = self.ingest.try_erase(caller.tenant.clone(), erasure);
            let done = match answer(pending.map_err(status::of)?).await {
                Err(EngineError::Stale) => continue,
                done => done.map_err(status::of)?,
            };
            let counted = self.intake.quarantine().recount(&caller.tenant).await;
            counted.map_err(status::of)?;
            tracing::info!(
                principal = caller.principal,
                tenant = caller.tenant.as_str(),
                identity_id = %id,
                source_records = done.records.len(),
                "person erased"
            );
            return Ok(Response::new(response_of(done)));
        }
        Err(status::of(EngineError::Stale))
    }
}

fn response_of(done: StoredErasure) -> v1::ErasePersonResponse {
    v1::ErasePersonResponse {
        source_records: u32::try_from(done.records.len()).unwrap_or(u32::MAX),
        erased_at_ms: done.erased_at_ms,
        sequence: done.sequence,
        principal: done.principal,
    }
}
