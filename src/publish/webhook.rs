//! HTTP delivery, signed after the Standard Webhooks specification: `webhook-id`, `webhook-timestamp`, `webhook-signature`. One
//! event goes out as a structured CloudEvent, several as a CloudEvents batch. An event that is mapped to requests goes out as those.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, RETRY_AFTER, SET_COOKIE,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use ring::hmac;
use tokio::sync::Mutex;

use super::{Content, Failure, MappedRequest, NOT_IN_TIME, Outgoing};
use crate::clock;

/// A consumer that wants to be left alone for longer is tried after this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

pub(super) struct Webhook {
    client: reqwest::Client,
    url: String,
    secret: Option<String>,
    authorization_file: Option<PathBuf>,
    csrf: Mutex<Option<CsrfToken>>,
}

/// A token against cross-site request forgery, with the session in which it holds.
#[derive(Clone, PartialEq)]
struct CsrfToken {
    token: HeaderValue,
    cookies: HeaderValue,
}

const CSRF_TOKEN: &str = "x-csrf-token";

fn is_required(headers: &HeaderMap) -> bool {
    headers
        .get(CSRF_TOKEN)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"required"))
}

/// The signature header of a message: HMAC-SHA256 over `id.timestamp.body`, base64, after `v1,`.
pub fn sign(secret: &str, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut signing = hmac::Context::with_key(&key);
    signing.update(format!("{id}.{timestamp_seconds}.").as_bytes());
    signing.update(body);
    format!("v1,{}", STANDARD.encode(signing.sign()))
}

impl Webhook {
    pub(super) fn new(
        url: &str,
        secret: Option<String>,
        authorization_file: Option<PathBuf>,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        crate::objects::use_ring();
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            url: url.to_owned(),
            secret,
            authorization_file,
            csrf: Mutex::default(),
        })
    }

    /// Delivers; any answer but a 2xx is a failure.
    pub(super) async fn deliver(&self, events: Vec<Outgoing>) -> Result<(), Failure> {
        if !events
            .iter()
            .any(|event| matches!(event.content, Content::Requests(_)))
        {
            return self.deliver_cloud_events(&events).await;
        }
        for event in &events {
            match &event.content {
                Content::CloudEvent(_) => {
                    self.deliver_cloud_events(std::slice::from_ref(event))
                        .await?
                }
                // In their order: a later one may build upon an earlier one.
                Content::Requests(requests) => {
                    for request in requests {
                        self.send(request).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends a request of the consumer's own API.
    async fn send(&self, mapped: &MappedRequest) -> Result<(), Failure> {
        let mut csrf = match &mapped.csrf_token_path {
            Some(path) => Some(self.csrf_token(path, None).await?),
            None => None,
        };
        let mut response = self.answer_to(self.request(mapped, csrf.as_ref())?).await?;
        // The token has a session's life.
        if let (Some(path), Some(old)) = (&mapped.csrf_token_path, csrf.take())
            && response.status() == StatusCode::FORBIDDEN
            && is_required(response.headers())
        {
            let new = self.csrf_token(path, Some(&old)).await?;
            response = self.answer_to(self.request(mapped, Some(&new))?).await?;
        }
        match response.status() {
            status if mapped.also_done.contains(&status.as_u16()) => Ok(()),
            // Here it is about one record, not about the address.
            status @ (StatusCode::NOT_FOUND | StatusCode::GONE) => {
                Err(Failure::Rejected(answered(status)))
            }
            status => judge(status, response.headers()),
        }
    }

    fn request(
        &self,
        mapped: &MappedRequest,
        csrf: Option<&CsrfToken>,
    ) -> Result<RequestBuilder, Failure> {
        let rejected = |cause: &dyn std::fmt::Display| Failure::Rejected(cause.to_string());
        let method =
            Method::from_bytes(mapped.method.as_bytes()).map_err(|cause| rejected(&cause))?;
        let mut request = self.client.request(method, self.below(&mapped.path)?);
        for (name, value) in &mapped.headers {
            let value = HeaderValue::try_from(value)
                .map_err(|_| rejected(&format_args!("the header {name} has no valid value")))?;
            request = request.header(name, value);
        }
        if let Some(body) = &mapped.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        if let Some(csrf) = csrf {
            request = request
                .header(CSRF_TOKEN, &csrf.token)
                .header(COOKIE, &csrf.cookies);
        }
        Ok(request)
    }

    /// The address of a path below the sink's URL.
    fn below(&self, path: &str) -> Result<reqwest::Url, Failure> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        reqwest::Url::parse(&url).map_err(|cause| Failure::Rejected(cause.to_string()))
    }

    /// The token of the session, a new one in the place of one that is no longer taken.
    async fn csrf_token(
        &self,
        path: &str,
        refused: Option<&CsrfToken>,
    ) -> Result<CsrfToken, Failure> {
        let mut known = self.csrf.lock().await;
        if let Some(token) = known.as_ref().filter(|known| refused != Some(*known)) {
            return Ok(token.clone());
        }
        let request = self
            .client
            .get(self.below(path)?)
            .header(CSRF_TOKEN, "Fetch");
        let response = self.answer_to(request).await?;
        let token = response.headers().get(CSRF_TOKEN).cloned().ok_or_else(|| {
            let status = response.status().as_u16();
            Failure::unavailable(format_args!(
                "the consumer gave no {CSRF_TOKEN} (it answered {status})"
            ))
        })?;
        let cookies = response.headers().get_all(SET_COOKIE).iter();
        let pairs = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        let cookies = HeaderValue::try_from(pairs.collect::<Vec<_>>().join("; "));
        let mut cookies = cookies.map_err(Failure::unavailable)?;
        cookies.set_sensitive(true);
        let new = CsrfToken { token, cookies };
        *known = Some(new.clone());
        Ok(new)
    }

    async fn answer_to(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let request = match &self.authorization_file {
            None => request,
            Some(path) => {
                let told = |cause: &dyn std::fmt::Display| {
                    Failure::unavailable(format_args!(
                        "authorization_file {}: {cause}",
                        path.display()
                    ))
                };
                let text = tokio::fs::read_to_string(path)
                    .await
                    .map_err(|cause| told(&cause))?;
                let value = HeaderValue::try_from(text.trim());
                let mut value = value.map_err(|_| told(&"holds no valid header value"))?;
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
        };
        let response = request.send().await;
        response.map_err(|cause| {
            if cause.is_timeout() {
                return Failure::unavailable(NOT_IN_TIME);
            }
            // Which part failed stands in the causes behind it.
            let cause = anyhow::Error::new(cause.without_url());
            Failure::unavailable(format_args!("{cause:#}"))
        })
    }

    async fn deliver_cloud_events(&self, events: &[Outgoing]) -> Result<(), Failure> {
        let first_id = events.first().map_or("", |outgoing| outgoing.id.as_str());
        // The same events come under the same id when they are sent again.
        let (id, content_type, body) = match events {
            [one] => (
                first_id.to_owned(),
                "application/cloudevents+json",
                one.cloud_event()?.clone(),
            ),
            several => {
                let bodies: Vec<&Bytes> = several
                    .iter()
                    .map(Outgoing::cloud_event)
                    .collect::<Result<_, _>>()?;
                let bytes: usize = bodies.iter().map(|body| body.len() + 1).sum();
                let mut batch = Vec::with_capacity(bytes + 1);
                for body in bodies {
                    batch.push(if batch.is_empty() { b'[' } else { b',' });
                    batch.extend_from_slice(body);
                }
                batch.push(b']');
                (
                    format!("{first_id}+{}", several.len() - 1),
                    "application/cloudevents-batch+json",
                    batch.into(),
                )
            }
        };
        let timestamp_seconds = clock::now_ms() / 1_000;
        let mut request = self
            .client
            .post(&self.url)
            .header("content-type", content_type)
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp_seconds);
        if let Some(secret) = &self.secret {
            request = request.header(
                "webhook-signature",
                sign(secret, &id, timestamp_seconds, &body),
            );
        }
        let response = self.answer_to(request.body(body)).await?;
        judge(response.status(), response.headers())
    }
}

fn answered(status: StatusCode) -> String {
    format!("the consumer answered {}", status.as_u16())
}

/// What an answer means. Only answers that are about what was sent are held against it: one that says that the address, the
/// credentials or the consumer itself is not in order would meet every event.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    let cause = answered(status);
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::BAD_REQUEST
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::CONFLICT
        | StatusCode::LENGTH_REQUIRED
        | StatusCode::PRECONDITION_FAILED
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Err(Failure::Rejected(cause)),
        _ => Err(Failure::Unavailable {
            cause,
            retry_after: retry_after(headers),
        }),
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let wait = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            let now = UNIX_EPOCH + Duration::from_millis(clock::now_ms().try_into().ok()?);
            at.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, retry_after: Option<&str>) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().expect("a header"));
        }
        judge(StatusCode::from_u16(status).expect("a status"), &headers)
    }

    #[test]
    fn only_what_is_about_the_event_is_held_against_it() {
        assert!(judged(204, None).is_ok());
        for status in [400, 409, 413, 422] {
            let rejected = matches!(judged(status, None), Err(Failure::Rejected(_)));
            assert!(rejected, "{status}");
        }
        for status in [301, 401, 403, 404, 408, 429, 500, 503] {
            let unavailable = matches!(judged(status, None), Err(Failure::Unavailable { .. }));
            assert!(unavailable, "{status}");
        }
    }

    #[test]
    fn the_wait_that_a_consumer_asks_for_is_read_in_both_forms() {
        let wait = |text| match judged(429, Some(text)) {
            Err(Failure::Unavailable { retry_after, .. }) => retry_after,
            _ => panic!("429 is no success"),
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(wait(past), Some(Duration::ZERO));
        assert_eq!(wait("999999999"), Some(LONGEST_RETRY_AFTER));
        assert_eq!(wait("soon"), None);
    }
}
