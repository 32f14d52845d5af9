//! Calls to a running service.

use std::path::Path;

use anyhow::Context;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use super::job::read_text;
use crate::api::TENANT_KEY;

/// A connection to a running service.
pub(super) async fn connect(address: &str) -> anyhow::Result<Channel> {
    Channel::from_shared(address.to_owned())?
        .connect()
        .await
        .with_context(|| format!("cannot reach {address}"))
}

/// A call for a tenant, with the token of a file.
pub(super) fn request<T>(
    message: T,
    tenant: &str,
    token_file: Option<&Path>,
) -> anyhow::Result<tonic::Request<T>> {
    let mut request = tonic::Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert(TENANT_KEY, tenant.parse()?);
    if let Some(path) = token_file {
        let token: MetadataValue<_> = format!("Bearer {}", read_text(path)?.trim()).parse()?;
        metadata.insert("authorization", token);
    }
    Ok(request)
}

/// What the service says of a call that failed.
pub(super) fn told(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}
