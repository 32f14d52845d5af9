//! `PrivacyService`.

use tonic::{Request, Response, Status};
use veridem_proto::v1;
use veridem_proto::v1::privacy_service_server::PrivacyService;

use super::resolution::identity_id;
use super::{Api, convert};
use crate::resolver::Moment;

#[tonic::async_trait]
impl PrivacyService for Api {
    async fn export_person(
        &self,
        request: Request<v1::ExportPersonRequest>,
    ) -> Result<Response<v1::ExportPersonResponse>, Status> {
        let caller = self.caller(&request)?;
        let id = identity_id(request.into_inner().identity_id)?;
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
}
