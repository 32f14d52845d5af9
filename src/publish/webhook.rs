//! HTTP delivery, signed after the Standard Webhooks specification: `webhook-id`, `webhook-timestamp`, `webhook-signature`. One
//! event goes out as a structured CloudEvent, several as a CloudEvents batch.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use sha2::Sha256;

use super::{Failure, Outgoing};
use crate::clock;

/// A consumer that wants to be left alone for longer is tried after this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

pub(super) struct Webhook {
    client: reqwest::Client,
    url: String,
    secret: Option<String>,
}

/// The signature header of a message: HMAC-SHA256 over `id.timestamp.body`, base64, after `v1,`.
pub fn sign(secret: &str, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp_seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

impl Webhook {
    pub(super) fn new(
        url: &str,
        secret: Option<String>,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            url: url.to_owned(),
            secret,
        })
    }

    /// Delivers in one request; any answer but a 2xx is a failure.
    pub(super) async fn deliver(&self, events: Vec<Outgoing>) -> Result<(), Failure> {
        let first_id = events.first().map_or("", |outgoing| outgoing.id.as_str());
        // The same events come under the same id when they are sent again.
        let (id, content_type, body) = match events.as_slice() {
            [one] => (
                first_id.to_owned(),
                "application/cloudevents+json",
                one.body.clone(),
            ),
            several => {
                let bodies: Vec<&str> = several.iter().map(|one| one.body.as_str()).collect();
                (
                    format!("{first_id}+{}", several.len() - 1),
                    "application/cloudevents-batch+json",
                    format!("[{}]", bodies.join(",")),
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
                sign(secret, &id, timestamp_seconds, body.as_bytes()),
            );
        }
        let response = request
            .body(body)
            .send()
            .await
            .map_err(|cause| Failure::unavailable(cause.without_url()))?;
        judge(response.status(), response.headers())
    }
}

/// What an answer means. Only answers that are about what was sent are held against it: one that says that the address, the
/// credentials or the consumer itself is not in order would meet every event.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    let cause = format!("the consumer answered {}", status.as_u16());
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

    fn answered(status: u16, retry_after: Option<&str>) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().expect("a header"));
        }
        judge(StatusCode::from_u16(status).expect("a status"), &headers)
    }

    #[test]
    fn only_what_is_about_the_event_is_held_against_it() {
        assert!(answered(204, None).is_ok());
        for status in [400, 409, 413, 422] {
            let rejected = matches!(answered(status, None), Err(Failure::Rejected(_)));
            assert!(rejected, "{status}");
        }
        for status in [301, 401, 403, 404, 408, 429, 500, 503] {
            let unavailable = matches!(answered(status, None), Err(Failure::Unavailable { .. }));
            assert!(unavailable, "{status}");
        }
    }

    #[test]
    fn the_wait_that_a_consumer_asks_for_is_read_in_both_forms() {
        let wait = |text| match answered(429, Some(text)) {
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
