//! gRPC calls straight over HTTP/2, with nothing between: on two cores what the client takes is not the server's.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use prost::Message;
use tonic::Status;

/// Whether a message is compressed, and its length.
const FRAME_HEADER_BYTES: usize = 5;

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
        let (mut questions, mut answers) = self.open(method).await?;
        questions.send(framed(&question)?, true)?;
        let answer = answers.next().await?;
        while answers.next::<A>().await?.is_some() {}
        answer.ok_or_else(|| failed("no answer"))
    }

    /// Begins a call of a method to which messages go, and from which they come, one after the other.
    pub async fn open(self, method: &'static str) -> Result<(Questions, Answers), Status> {
        let request = http::Request::post(format!(
            "http://{}/veridem.v1.ResolutionService/{method}",
            self.address
        ))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(failed)?;
        let mut requests = self.requests.ready().await.map_err(failed)?;
        let (begun, questions) = requests.send_request(request, false).map_err(failed)?;
        let answers = Answers {
            begun: Some(begun),
            body: None,
            read: BytesMut::new(),
        };
        Ok((Questions(questions), answers))
    }
}

/// A message as it goes over the line.
pub fn framed(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(length + FRAME_HEADER_BYTES);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).map_err(failed)?);
    message.encode(&mut framed).map_err(failed)?;
    Ok(framed.freeze())
}

/// The messages to a method.
pub struct Questions(SendStream<Bytes>);

impl Questions {
    /// Sends a message, as soon as the other side has room for it.
    pub fn send(&mut self, message: Bytes, is_last: bool) -> Result<(), Status> {
        self.0.send_data(message, is_last).map_err(failed)
    }
}

/// The messages from a method.
pub struct Answers {
    begun: Option<ResponseFuture>,
    body: Option<RecvStream>,
    read: BytesMut,
}

impl Answers {
    /// The next message; none once all have come and the call has succeeded.
    pub async fn next<A: Message + Default>(&mut self) -> Result<Option<A>, Status> {
        if let Some(begun) = self.begun.take() {
            let begun = begun.await.map_err(failed)?;
            if let Some(status) = Status::from_header_map(begun.headers()) {
                return Err(status);
            }
            self.body = Some(begun.into_body());
        }
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        loop {
            if let Some(mut header) = self.read.get(..FRAME_HEADER_BYTES) {
                header.advance(1);
                let end = FRAME_HEADER_BYTES + header.get_u32() as usize;
                if self.read.len() >= end {
                    let message = self.read.split_to(end).split_off(FRAME_HEADER_BYTES);
                    return A::decode(message).map(Some).map_err(failed);
                }
            }
            let Some(part) = body.data().await else { break };
            let part = part.map_err(failed)?;
            body.flow_control()
                .release_capacity(part.len())
                .map_err(failed)?;
            self.read.extend_from_slice(&part);
        }
        let trailers = body.trailers().await.map_err(failed)?.unwrap_or_default();
        self.body = None;
        match Status::from_header_map(&trailers) {
            Some(status) if status.code() == tonic::Code::Ok => Ok(None),
            Some(status) => Err(status),
            None => Err(failed("an answer without a status")),
        }
    }
}
