//! The calls of `StewardshipService` about records: what sources state of them, identities shown unmasked, what stewards have said of pairs.

use tonic::{Request, Response, Status};
use veridem_proto::v1;

use super::decisions::MAX_NOTE_BYTES;
use super::resolution::identity_id;
use super::{Api, Right, convert, page, status};
use crate::resolver::{AuditSubject, EngineError};

impl Api {
    pub(super) async fn answer_list_source_records(
        &self,
        request: Request<v1::ListSourceRecordsRequest>,
    ) -> Result<Response<v1::ListSourceRecordsResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let id = identity_id(request.into_inner().identity_id)?;
        let records = self.ask("ListSourceRecords", move |engine| {
            engine.source_records(&caller.tenant, &id)
        });
        let records = records.await?.into_iter();
        Ok(Response::new(v1::ListSourceRecordsResponse {
            records: records.map(convert::source_record).collect(),
        }))
    }

    pub(super) async fn answer_get_household(
        &self,
        request: Request<v1::GetHouseholdRequest>,
    ) -> Result<Response<v1::GetHouseholdResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let id = identity_id(request.into_inner().identity_id)?;
        let household = self.ask("GetHousehold", move |engine| {
            engine.household(&caller.tenant, &id)
        });
        let (override_number, identities) = household.await?;
        let identities = identities.iter();
        Ok(Response::new(v1::GetHouseholdResponse {
            override_number,
            identities: identities.map(|one| convert::identity(one)).collect(),
        }))
    }

    pub(super) async fn answer_reveal_identity(
        &self,
        request: Request<v1::RevealIdentityRequest>,
    ) -> Result<Response<v1::RevealIdentityResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let request = request.into_inner();
        let id = identity_id(request.identity_id)?;
        if request.note.trim().is_empty() || request.note.len() > MAX_NOTE_BYTES {
            return Err(status::invalid("note", "must have 1 to 1,024 bytes"));
        }
        let tenant = caller.tenant.clone();
        let identity = self.ask("RevealIdentity", move |engine| {
            let identity = engine.store().identity(&tenant, &id)?;
            identity.ok_or(EngineError::NotFound {
                what: "identity_id",
            })
        });
        let identity = identity.await?;
        let subjects = vec![AuditSubject::Identity(id)];
        self.audit_because(&caller, "RevealIdentity", subjects, request.note)
            .await?;
        Ok(Response::new(v1::RevealIdentityResponse {
            identity: Some(convert::identity(&identity)),
        }))
    }

    pub(super) async fn answer_list_labels(
        &self,
        request: Request<v1::ListLabelsRequest>,
    ) -> Result<Response<v1::ListLabelsResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let request = request.into_inner();
        let size = page::size(request.page_size, 100, 100)?;
        let after = page::number(&request.page_token)?.unwrap_or_default();
        let listed = self.ask("ListLabels", move |engine| {
            engine.decided_pairs(&caller.tenant, after, size)
        });
        let (pairs, last) = listed.await?;
        let next = last.map(|last| page::token(&last.to_be_bytes()));
        Ok(Response::new(v1::ListLabelsResponse {
            labels: pairs.into_iter().map(convert::label).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }
}
