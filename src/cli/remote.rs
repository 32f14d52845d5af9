//! Calls to a running service.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;
use veridem_proto::v1::stewardship_service_client::StewardshipServiceClient;

use super::job::read_text;
use crate::api::TENANT_KEY;

/// Which service, as whom.
#[derive(clap::Args)]
pub(super) struct RemoteArguments {
    /// The gRPC address of the service.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    address: String,
    /// The tenant.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// A file that holds the bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl RemoteArguments {
    /// A call with tenant and token.
    pub(super) fn request<T>(&self, message: T) -> anyhow::Result<tonic::Request<T>> {
        request(message, &self.tenant, self.token_file.as_deref())
    }

    /// The operations of the service.
    pub(super) async fn operations(&self) -> anyhow::Result<OperationsServiceClient<Channel>> {
        Ok(OperationsServiceClient::new(connect(&self.address).await?))
    }

    /// What stewards do with the service.
    pub(super) async fn stewardship(&self) -> anyhow::Result<StewardshipServiceClient<Channel>> {
        Ok(StewardshipServiceClient::new(connect(&self.address).await?))
    }
}

/// Runs a command's calls on this thread.
pub(super) fn block_on<T>(calls: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(calls)
}

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
