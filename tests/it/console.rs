//! The console: in a real browser, and what holds for its requests whatever sends them.

use std::path::Path;

use fantoccini::Locator;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use veridem::config::{Config, Principal, Role};
use veridem::publish::{SinkKind, SinkSettings};
use veridem_proto::v1;

use crate::browser::Browser;
use crate::consumer::{Answer, Consumer, SECRET};
use crate::support::*;

const FAMILIES: [&str; 12] = [
    "O'Hara \"&amp;",
    "Lindqvist",
    "Abernathy",
    "Castellano",
    "Dombrowski",
    "Eichelberger",
    "Fitzsimmons",
    "Guglielmi",
    "Hrabowski",
    "Ivanovski",
    "Jankowiak",
    "Kowalczyk",
];

/// Pairs of records that somebody has to look at, so many, with names that a page must not take for markup.
async fn doubtful(running: &Running, pairs: usize) {
    for (pair, family) in FAMILIES[..pairs].iter().enumerate() {
        for (source, given) in [("pos", "<b>Ann</b>"), ("shop", "<b>Bea</b>")] {
            let told = vec![name(given, family), email(&format!("box{pair}@gmx.at"))];
            let key = format!("{source}/{pair}");
            submit(running, update(&format!("{source}-{pair}"), &key, told))
                .await
                .expect("accepted");
        }
    }
    let open = open_tasks(running).await;
    assert!(open >= pairs, "{open} of {pairs}");
}

async fn open_tasks(running: &Running) -> usize {
    let asked = v1::ListReviewTasksRequest {
        page_size: 1_000,
        ..v1::ListReviewTasksRequest::default()
    };
    let listed = running.stewardship().list_review_tasks(asked).await;
    listed.expect("lists").into_inner().review_tasks.len()
}

/// Signs in with the link that the service printed.
async fn sign_in(browser: &Browser, running: &Running) {
    let link = running.service.console_address().expect("a link");
    browser.client.goto(&link).await.expect("the link opens");
    browser.look("sign-in").await;
    let button = browser
        .client
        .find(Locator::Css("button[type=submit]"))
        .await;
    button.expect("a button").click().await.expect("pressed");
    browser
        .until("location.pathname === '/console/queue'")
        .await;
}

async fn goto(browser: &Browser, running: &Running, path: &str) {
    let address = format!("http://{}{path}", running.service.http_address);
    browser.client.goto(&address).await.expect("it opens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steward_clears_ten_tasks_by_keyboard_and_takes_one_back() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start(directory.path()).await;
    doubtful(&running, 12).await;
    let before = open_tasks(&running).await;
    sign_in(&browser, &running).await;
    browser
        .until("document.querySelector('form.decision .outcome')")
        .await;
    browser.look("queue").await;
    // Values are text, whatever is in them.
    assert_eq!(
        browser
            .value_of("document.querySelectorAll('#task b, #task img').length")
            .await,
        json!(0)
    );
    let text = browser.text().await;
    assert!(text.contains("<b>Ann</b> O'Hara"), "{text}");

    browser.press('?').await;
    browser.until("document.querySelector('dialog').open").await;
    browser.look("keys").await;
    browser.press('\u{e00c}').await;
    browser
        .until("!document.querySelector('dialog').open")
        .await;

    // From the list: j and k go up and down.
    let task = "document.getElementById('task').dataset.task";
    let first = browser.value_of(task).await;
    browser.press('j').await;
    browser.until(&format!("{task} !== {first}")).await;
    browser.press('k').await;
    browser.until(&format!("{task} === {first}")).await;

    // At the task: m merges, k keeps apart, and the next one is there.
    for decision in 0..10 {
        browser.press('\u{e007}').await;
        browser.until("document.activeElement.id === 'task'").await;
        let open = browser.value_of(task).await;
        browser
            .press(if decision % 2 == 0 { 'm' } else { 'k' })
            .await;
        browser
            .until(&format!(
                "{task} !== {open} && document.querySelector('#notice .notice')"
            ))
            .await;
        browser
            .until(&format!(
                "!document.querySelector('[data-task=' + CSS.escape({open}) + ']')"
            ))
            .await;
    }
    assert!(open_tasks(&running).await <= before - 10);
    browser.look("decided").await;

    let after = open_tasks(&running).await;
    browser.press('u').await;
    browser
        .until("location.pathname.startsWith('/console/tasks/')")
        .await;
    browser
        .until("document.querySelector('form.decision')")
        .await;
    assert_eq!(open_tasks(&running).await, after + 1);

    goto(&browser, &running, "/console/decisions").await;
    browser.look("decisions").await;
    assert!(browser.text().await.contains("undone"));
    goto(&browser, &running, "/console/audit").await;
    browser.look("audit").await;
    assert!(browser.text().await.contains("DecideReviewTask"));
    goto(&browser, &running, "/console/sources").await;
    browser.look("sources").await;
    browser.close().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_found_while_one_types_and_nothing_of_them_stands_in_an_address() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start(directory.path()).await;
    let told = vec![name("Wilhelmina", "Oberholzer"), email("wilma@gmx.at")];
    submit(&running, update("a", "pos/1", told))
        .await
        .expect("accepted");
    sign_in(&browser, &running).await;
    browser.look("queue-empty").await;
    goto(&browser, &running, "/console/search").await;
    for letter in "oberholzer".chars() {
        browser.press(letter).await;
    }
    browser
        .until("document.querySelector('#results a.id')")
        .await;
    browser.look("search").await;
    assert_eq!(
        browser
            .value_of("location.pathname + location.search")
            .await,
        json!("/console/search")
    );
    let asked = "performance.getEntriesByType('resource').filter((one) => one.name.includes('oberholzer')).length";
    assert_eq!(browser.value_of(asked).await, json!(0));
    let link = browser.client.find(Locator::Css("#results a.id")).await;
    link.expect("an identity").click().await.expect("pressed");
    browser
        .until("location.pathname.startsWith('/console/identities/')")
        .await;
    browser.look("identity").await;
    assert!(browser.text().await.contains("wilma@gmx.at"));
    browser.close().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_sent_again_from_its_page() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let directory = tempfile::tempdir().expect("a folder");
    let consumer = Consumer::start(|_| Answer::Status(422)).await;
    let kind = SinkKind::Webhook {
        url: consumer.url.clone(),
        secret: Some(SECRET.to_owned()),
        authorization_file: None,
    };
    let sink = SinkSettings {
        max_attempts: 1,
        ..SinkSettings::new("erp", kind)
    };
    let running = Running::start_with(Config {
        sinks: vec![sink],
        ..config(directory.path())
    })
    .await;
    submit(&running, update("a", "pos/1", vec![name("Ann", "Lee")]))
        .await
        .expect("accepted");
    sign_in(&browser, &running).await;
    goto(&browser, &running, "/console/sinks").await;
    let link = "document.querySelector('a[href$=\"/dead-letters\"]')";
    let deadline = veridem::clock::instant() + std::time::Duration::from_secs(30);
    while browser.value_of(&format!("{link} === null")).await == json!(true) {
        assert!(veridem::clock::instant() < deadline, "no dead letter");
        browser.client.refresh().await.expect("again");
    }
    browser.look("sinks").await;
    goto(&browser, &running, "/console/sinks/erp/dead-letters").await;
    browser.look("dead-letters").await;
    assert!(browser.text().await.contains("the consumer answered 422"));
    consumer.now(|_| Answer::Ok);
    let button = browser.client.find(Locator::Css("td form button")).await;
    button.expect("a button").click().await.expect("pressed");
    browser
        .until("!document.querySelector('td form button')")
        .await;
    let deadline = veridem::clock::instant() + std::time::Duration::from_secs(30);
    while consumer.received.lock().is_empty() {
        assert!(veridem::clock::instant() < deadline, "it never arrives");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    browser.close().await;
    running.stop().await;
}

const TOKENS: [(Role, &str); 2] = [
    (Role::Viewer, "the-token-of-a-viewer"),
    (Role::Steward, "the-token-of-a-steward"),
];

fn config_with_principals(directory: &Path) -> Config {
    let principal = |(role, token): (Role, &str)| Principal {
        name: role.as_str().to_owned(),
        token: token.to_owned(),
        tenants: vec![tenant()],
        role,
    };
    Config {
        principals: TOKENS.map(principal).to_vec(),
        ..config(directory)
    }
}

/// Someone without a browser.
struct Visitor {
    client: Client,
    address: String,
    cookie: String,
}

impl Visitor {
    fn new(running: &Running) -> Self {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none());
        Self {
            client: client.build().expect("a client"),
            address: format!("http://{}", running.service.http_address),
            cookie: String::new(),
        }
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.address));
        request
            .header(COOKIE, &self.cookie)
            .send()
            .await
            .expect("an answer")
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], form: &str) -> Response {
        let mut request = self.client.post(format!("{}{path}", self.address));
        request = request.header(COOKIE, &self.cookie);
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
            .body(form.to_owned())
            .send()
            .await
            .expect("an answer")
    }

    async fn sign_in(&mut self, form: &str) -> StatusCode {
        let answer = self.post("/console/sign-in", &[], form).await;
        if let Some(cookie) = answer.headers().get(SET_COOKIE) {
            let cookie = cookie.to_str().expect("text");
            for part in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
                assert!(cookie.contains(part), "{part}");
            }
            let pair = cookie.split(';').next().expect("a pair");
            self.cookie = pair.to_owned();
        }
        answer.status()
    }

    /// What its pages send along.
    async fn csrf_token(&self) -> String {
        let page = self
            .get("/console/search")
            .await
            .text()
            .await
            .expect("text");
        let (_, rest) = page
            .split_once("name=\"csrf_token\" value=\"")
            .expect("a token");
        rest.split('"').next().expect("its end").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_unasked_and_nothing_is_done_for_other_sites() {
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start(directory.path()).await;
    doubtful(&running, 1).await;
    let mut visitor = Visitor::new(&running);
    for path in ["/console/queue", "/console/audit", "/console/search"] {
        let answer = visitor.get(path).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path}");
        assert_eq!(answer.headers()[LOCATION], "/console/sign-in");
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .expect("text");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
    assert_eq!(visitor.sign_in("link=guessed").await, StatusCode::FORBIDDEN);
    let address = running.service.console_address().expect("a link");
    let (_, link) = address.split_once("link=").expect("a secret");
    // Looking at the link does not use it up, signing in does.
    for _ in 0..2 {
        let page = visitor.get(&format!("/console/sign-in?link={link}")).await;
        assert!(page.text().await.expect("text").contains(link));
    }
    assert_eq!(
        visitor.sign_in(&format!("link={link}")).await,
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        visitor.sign_in(&format!("link={link}")).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(visitor.get("/console/queue").await.status(), StatusCode::OK);

    let token = visitor.csrf_token().await;
    let search = |headers: Vec<(&'static str, String)>| {
        let visitor = &visitor;
        async move {
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let answer = visitor.post("/console/search", &headers, "query=ann").await;
            answer.status()
        }
    };
    assert_eq!(search(vec![]).await, StatusCode::FORBIDDEN);
    assert_eq!(
        search(vec![("x-csrf-token", "guessed".to_owned())]).await,
        StatusCode::FORBIDDEN
    );
    let from_elsewhere = vec![
        ("x-csrf-token", token.clone()),
        ("sec-fetch-site", "cross-site".to_owned()),
    ];
    assert_eq!(search(from_elsewhere).await, StatusCode::FORBIDDEN);
    assert_eq!(
        search(vec![("x-csrf-token", token.clone())]).await,
        StatusCode::OK
    );

    let form = format!("csrf_token={token}");
    let signed_out = visitor.post("/console/sign-out", &[], &form).await;
    assert_eq!(signed_out.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        visitor.get("/console/queue").await.status(),
        StatusCode::SEE_OTHER
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_values_masked_and_decides_nothing() {
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start_with(config_with_principals(directory.path())).await;
    assert_eq!(running.service.console_address(), None);
    let mut steward = Visitor::new(&running);
    let mut viewer = Visitor::new(&running);
    assert_eq!(
        viewer.sign_in("token=guessed&tenant=default").await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        viewer
            .sign_in("token=the-token-of-a-viewer&tenant=other")
            .await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        viewer
            .sign_in("token=the-token-of-a-viewer&tenant=default")
            .await,
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        steward
            .sign_in("token=the-token-of-a-steward&tenant=default")
            .await,
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        viewer.get("/console/audit").await.status(),
        StatusCode::FORBIDDEN
    );
    let token = viewer.csrf_token().await;
    let decided = viewer
        .post("/console/undo", &[("x-csrf-token", &token)], "")
        .await;
    assert_eq!(
        decided.status(),
        StatusCode::OK,
        "there is nothing to take back"
    );
    let undone = viewer
        .post("/console/decisions/1/undo", &[("x-csrf-token", &token)], "")
        .await;
    assert_eq!(undone.status(), StatusCode::FORBIDDEN);
    running.stop().await;
}
