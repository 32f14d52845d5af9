//! What service and relay listen with: gRPC, and pages over HTTP.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::{Connected, TcpIncoming};

/// What a client may send on a stream before it has been taken.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same for all streams of a connection. h2 closes a connection on which the unused parts of waiting frames of less than 256
/// bytes add up to more than half of this: some 29 full streams of signals of 80 bytes, or 7 of the smallest signals.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// A listener, and where it listens: port 0 is taken from the system. `setting` is where the address was written.
pub(crate) async fn listen(
    address: SocketAddr,
    setting: &str,
) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {setting} {address}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves gRPC until `stop`, and what runs then.
pub(crate) async fn serve_grpc(routes: Routes, listener: TcpListener, stop: CancellationToken) {
    // Small answers must not wait for the client's delayed acknowledgement (40 ms a call).
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming.map(|connection| connection.map(WholeAnswers));
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_routes(routes);
    if let Err(cause) = server
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
    {
        tracing::error!(%cause, "the gRPC server failed");
    }
}

/// Serves pages, the metrics that `render` writes, and health until `stop`, and what runs then.
pub(crate) async fn serve_http(
    pages: Router,
    render: impl Fn() -> String + Clone + Send + Sync + 'static,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let ready = stop.clone();
    let router = pages
        .route("/metrics", get(move || std::future::ready(render())))
        .route("/health/live", get(|| std::future::ready("live\n")))
        .route(
            "/health/ready",
            get(move || {
                std::future::ready(if ready.is_cancelled() {
                    (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
                } else {
                    (StatusCode::OK, "ready\n")
                })
            }),
        );
    if let Err(cause) = axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
    {
        tracing::error!(%cause, "the HTTP server failed");
    }
}

/// Waits for tasks that were asked to stop; what still runs at the deadline of each is ended.
pub(crate) async fn end(tasks: impl IntoIterator<Item = JoinHandle<()>>, deadline: Duration) {
    for mut task in tasks {
        if tokio::time::timeout(deadline, &mut task).await.is_err() {
            tracing::warn!("calls still ran at the shutdown deadline and were ended");
            task.abort();
        }
    }
}

/// A connection that does not say that it can write from several places at once. Where one can, h2 sends a message of more than 255
/// bytes from where it lies, and the trailers of a call after it by themselves: two system calls for each short answer.
struct WholeAnswers(TcpStream);

impl AsyncRead for WholeAnswers {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for WholeAnswers {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Connected for WholeAnswers {
    type ConnectInfo = <TcpStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.0.connect_info()
    }
}
