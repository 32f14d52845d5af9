//! A steward at the console: the queue's page, search as one types, a decision and the task after it. One call after the other, as one
//! person makes them.

use std::sync::Mutex;

use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response};
use tonic::Status;
use tonic::transport::Channel;
use veridem_proto::v1;
use veridem_proto::v1::attribute::Value;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;

/// Somebody who is signed in.
pub struct Steward {
    client: Client,
    address: String,
    cookie: String,
    csrf_token: String,
    /// The page with the task that is decided next.
    task: Mutex<String>,
}

fn failed(cause: impl std::fmt::Display) -> Status {
    Status::unavailable(cause.to_string())
}

/// What stands in a page between two texts.
fn between<'a>(page: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

fn field<'a>(page: &'a str, name: &str) -> Result<&'a str, Status> {
    let found = between(page, &format!("name=\"{name}\" value=\""), "\"");
    found.ok_or_else(|| failed(format!("the page has no {name}")))
}

async fn text_of(sent: Result<Response, reqwest::Error>) -> Result<String, Status> {
    let answer = sent.and_then(Response::error_for_status).map_err(failed)?;
    answer.text().await.map_err(failed)
}

impl Steward {
    /// Signs in with the link that the service printed.
    pub async fn sign_in(link: &str) -> anyhow::Result<Self> {
        let (address, secret) = link
            .split_once("/console/sign-in?link=")
            .ok_or_else(|| anyhow::anyhow!("no link to the console"))?;
        // The client asks for one, also where nothing is encrypted; another one that is there already serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(reqwest::redirect::Policy::none());
        let mut steward = Self {
            client: client.build()?,
            address: address.to_owned(),
            cookie: String::new(),
            csrf_token: String::new(),
            task: Mutex::default(),
        };
        let form = format!("link={secret}");
        let answer = steward.post("/console/sign-in", form).send().await?;
        let cookie = answer.headers().get(SET_COOKIE);
        let cookie = cookie.ok_or_else(|| anyhow::anyhow!("not signed in"))?;
        let cookie = cookie.to_str()?.split(';').next().unwrap_or_default();
        steward.cookie = cookie.to_owned();
        let page = steward.queue("").await?;
        steward.csrf_token = field(&page, "csrf_token")?.to_owned();
        Ok(steward)
    }

    /// Opens the queue to decide its first task.
    pub async fn begin(&self) -> Result<(), Status> {
        let page = self.queue("").await?;
        *self.task.lock().map_err(failed)? = page;
        Ok(())
    }

    fn post(&self, path: &str, form: String) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.address));
        let request = request.header(COOKIE, &self.cookie);
        let request = request.header("x-csrf-token", &self.csrf_token);
        let request = request.header("hx-request", "true");
        let form_type = "application/x-www-form-urlencoded";
        request.header(CONTENT_TYPE, form_type).body(form)
    }

    /// The queue's page with its first task; `query` narrows it down.
    pub async fn queue(&self, query: &str) -> Result<String, Status> {
        let address = format!("{}/console/queue{query}", self.address);
        let request = self.client.get(address);
        text_of(request.header(COOKIE, &self.cookie).send().await).await
    }

    /// What is shown of a search.
    pub async fn search(&self, query: &str) -> Result<(), Status> {
        let form = serde_html_form::to_string([("query", query)]).map_err(failed)?;
        text_of(self.post("/console/search", form).send().await).await?;
        Ok(())
    }

    /// Keeps the two of the task apart that is shown, and takes the next one that is shown for it.
    pub async fn decide(&self) -> Result<(), Status> {
        let (path, form) = {
            let page = self.task.lock().map_err(failed)?;
            let form = between(&page, "form class=\"decision\"", "</form>");
            let form = form.ok_or_else(|| failed("no task is left"))?;
            let path = between(form, "action=\"", "\"").unwrap_or_default();
            let mut fields = vec![("decision", "different"), ("next", "")];
            fields.push(("idempotency_key", field(form, "idempotency_key")?));
            let versions = form.split("name=\"version\" value=\"").skip(1);
            let versions = versions.filter_map(|rest| rest.split('"').next());
            fields.extend(versions.map(|version| ("version", version)));
            let form = serde_html_form::to_string(fields).map_err(failed)?;
            (path.to_owned(), form)
        };
        let next = text_of(self.post(&path, form).send().await).await?;
        *self.task.lock().map_err(failed)? = next;
        Ok(())
    }
}

/// Review tasks that wait.
pub async fn open_tasks(channel: &Channel) -> anyhow::Result<u64> {
    let mut operations = OperationsServiceClient::new(channel.clone());
    let answer = operations
        .get_statistics(v1::GetStatisticsRequest {})
        .await?;
    Ok(answer.into_inner().open_review_tasks)
}

/// What somebody types who looks for the people of some questions: names and beginnings of names, misspelt ones, e-mail addresses, numbers.
pub fn typed(questions: &[Vec<v1::Attribute>]) -> Vec<String> {
    let mut typed = Vec::new();
    for (index, question) in questions.iter().step_by(7).enumerate() {
        for attribute in question {
            let text = match (&attribute.value, index % 4) {
                (Some(Value::Name(name)), 0) => format!("{} {}", name.given, name.family),
                (Some(Value::Name(name)), 1) => {
                    let begun: String = name.family.chars().take(3).collect();
                    format!("{} {begun}", name.given)
                }
                (Some(Value::Name(name)), 2) => {
                    let mut letters: Vec<char> = name.family.chars().collect();
                    if letters.len() > 4 {
                        letters.swap(2, 3);
                    }
                    letters.into_iter().collect()
                }
                (Some(Value::Name(name)), _) => name.family.chars().take(4).collect(),
                (Some(Value::Email(address)), 0) => address.clone(),
                (Some(Value::Email(address)), 1) => address.chars().take(7).collect(),
                (Some(Value::Email(address)), 2) => address.replacen('a', "e", 1),
                (Some(Value::Phone(phone)), 0 | 1) => phone.clone(),
                (Some(Value::Identifier(identifier)), _) => identifier.value.clone(),
                _ => continue,
            };
            if text.trim().len() >= 2 {
                typed.push(text);
            }
        }
    }
    typed
}
