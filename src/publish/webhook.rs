//! HTTP delivery, signed after the Standard Webhooks specification: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::DeliveryError;
use crate::clock;

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

    /// Delivers one event; any answer but a 2xx is a failure.
    pub(super) async fn deliver(&self, event: &Value) -> Result<(), DeliveryError> {
        let body = event.to_string();
        let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
        let timestamp_seconds = clock::now_ms() / 1_000;
        let mut request = self
            .client
            .post(&self.url)
            .header("content-type", "application/cloudevents+json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp_seconds);
        if let Some(secret) = &self.secret {
            request = request.header(
                "webhook-signature",
                sign(secret, id, timestamp_seconds, body.as_bytes()),
            );
        }
        let response = request
            .body(body)
            .send()
            .await
            .map_err(|cause| DeliveryError(cause.without_url().to_string()))?;
        if !response.status().is_success() {
            return Err(DeliveryError(format!(
                "the consumer answered {}",
                response.status().as_u16()
            )));
        }
        Ok(())
    }
}
