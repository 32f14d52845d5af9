//! The services of this process, called as whoever is signed in: the console can do nothing that they do not let its user do.

use tonic::Request;
use tonic::service::Routes;
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;
use veridem_proto::v1::resolution_service_client::ResolutionServiceClient;
use veridem_proto::v1::stewardship_service_client::StewardshipServiceClient;

use super::error::Refused;
use super::session::secret;
use crate::api::Caller;

/// Pages ask for less than what an answer may have.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A decision without a word on it, made once.
fn once() -> Result<v1::StewardCall, Refused> {
    Ok(v1::StewardCall {
        idempotency_key: secret()?,
        ..v1::StewardCall::default()
    })
}

/// Calls as somebody.
pub(super) struct Calls {
    routes: Routes,
    caller: Caller,
}

impl Calls {
    pub(super) fn new(routes: Routes, caller: Caller) -> Self {
        Self { routes, caller }
    }

    /// Who calls.
    pub(super) fn principal(&self) -> &str {
        &self.caller.principal
    }

    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.caller.clone());
        request
    }

    pub(super) fn resolution(&self) -> ResolutionServiceClient<Routes> {
        ResolutionServiceClient::new(self.routes.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub(super) fn stewardship(&self) -> StewardshipServiceClient<Routes> {
        StewardshipServiceClient::new(self.routes.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The reasons that may be given for a decision.
    pub(super) async fn reasons(&self) -> Result<Vec<String>, Refused> {
        let asked = self.request(v1::GetStewardshipSettingsRequest {});
        let settings = self.stewardship().get_stewardship_settings(asked).await?;
        Ok(settings.into_inner().reasons)
    }

    /// Takes an override back.
    pub(super) async fn undo(&self, override_number: u64) -> Result<(), Refused> {
        let asked = v1::UndoOverrideRequest {
            override_number,
            call: Some(once()?),
        };
        self.stewardship()
            .undo_override(self.request(asked))
            .await?;
        Ok(())
    }

    pub(super) fn operations(&self) -> OperationsServiceClient<Routes> {
        OperationsServiceClient::new(self.routes.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}
