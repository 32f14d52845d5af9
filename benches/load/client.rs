//! Unary gRPC calls straight over HTTP/2, with nothing between: on two cores what the client takes is not the server's.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use prost::Message;
use tonic::Status;

/// One connection. Clones share it.
#[derive(Clone)]
pub struct Client {
    requests: SendRequest<Bytes>,
    address: SocketAddr,
}

fn failed(cause: impl std::fmt::Display) -> Status {
    Status::unavailable(cause.to_string())
}

impl Client {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = tokio::net::TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 24)
            .handshake(socket)
            .await?;
        tokio::spawn(connection);
        Ok(Self { requests, address })
    }

    /// Calls a method of the resolution service.
    pub async fn call<A: Message + Default>(
        self,
        method: &'static str,
        question: impl Message,
    ) -> Result<A, Status> {
        let length = question.encoded_len();
        let mut message = BytesMut::with_capacity(length + 5);
        message.put_u8(0);
        message.put_u32(u32::try_from(length).map_err(failed)?);
        question.encode(&mut message).map_err(failed)?;
        let request = http::Request::post(format!(
            "http://{}/veridem.v1.ResolutionService/{method}",
            self.address
        ))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(failed)?;
        let mut requests = self.requests.ready().await.map_err(failed)?;
        let (answer, mut body) = requests.send_request(request, false).map_err(failed)?;
        body.send_data(message.freeze(), true).map_err(failed)?;
        let answer = answer.await.map_err(failed)?;
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return Err(status);
        }
        let mut body = answer.into_body();
        let mut message = BytesMut::new();
        while let Some(part) = body.data().await {
            let part = part.map_err(failed)?;
            body.flow_control()
                .release_capacity(part.len())
                .map_err(failed)?;
            message.extend_from_slice(&part);
        }
        let trailers = body.trailers().await.map_err(failed)?.unwrap_or_default();
        match Status::from_header_map(&trailers) {
            Some(status) if status.code() == tonic::Code::Ok => {
                A::decode(message.get(5..).unwrap_or_default()).map_err(failed)
            }
            Some(status) => Err(status),
            None => Err(failed("an answer without a status")),
        }
    }
}
