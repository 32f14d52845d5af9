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

/// Both previews of the task are there.
const SHOWN: &str = "document.querySelectorAll('#task .preview > *').length >= 2";

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
        browser.until(SHOWN).await;
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

/// Chooses the checkboxes at these places.
async fn choose(browser: &Browser, name: &str, places: &[usize]) {
    let boxes = format!("input[name={name}]");
    let found = browser.client.find_all(Locator::Css(&boxes)).await;
    let found = found.expect("boxes");
    for place in places {
        found[*place].click().await.expect("chosen");
    }
}

async fn press_button(browser: &Browser, css: &str) {
    let button = browser.client.wait().for_element(Locator::Css(css)).await;
    button.expect("a button").click().await.expect("pressed");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_split_off_and_merged_again_with_what_comes_of_it_shown_before() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start(directory.path()).await;
    let told = || vec![name("Wilhelmina", "Oberholzer"), email("wilma@gmx.at")];
    let mut ids = Vec::new();
    for (signal, key) in [("a", "pos/1"), ("b", "pos/2"), ("c", "shop/a/3")] {
        let ack = submit(&running, update(signal, key, told())).await;
        ids.push(ack.expect("accepted").identity_id);
    }
    let address = format!("/console/identities/{}", ids[2]);
    sign_in(&browser, &running).await;
    goto(&browser, &running, &address).await;
    choose(&browser, "record", &[2]).await;
    browser
        .until("document.querySelectorAll('#split .become section').length === 2")
        .await;
    browser.look("split").await;
    press_button(&browser, "#split button").await;
    browser
        .until("document.querySelectorAll('input[name=record]').length === 2")
        .await;

    // The split is taken back with a key, and made again.
    browser.press('u').await;
    browser
        .until("document.querySelectorAll('input[name=record]').length === 3")
        .await;
    choose(&browser, "record", &[2]).await;
    press_button(&browser, "#split button").await;
    browser
        .until("document.querySelectorAll('input[name=record]').length === 2")
        .await;

    goto(&browser, &running, "/console/search").await;
    for letter in "wilhelmina".chars() {
        browser.press(letter).await;
    }
    browser
        .until("document.querySelectorAll('#results a.id').length === 2")
        .await;
    choose(&browser, "identity", &[0, 1]).await;
    browser
        .until("document.querySelector('#merge .become section')")
        .await;
    browser.look("merge").await;
    press_button(&browser, "#merge button").await;
    browser
        .until("document.querySelectorAll('input[name=record]').length === 3")
        .await;
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

const TOKENS: [(&str, Role, &str); 3] = [
    ("vera", Role::Viewer, "the-token-of-a-viewer"),
    ("ann", Role::Steward, "the-token-of-a-steward"),
    ("bob", Role::Lead, "the-token-of-a-lead"),
];

/// A service with principals over what one without has taken in.
async fn with_principals(directory: &Path, pairs: usize) -> Running {
    let open = Running::start(directory).await;
    doubtful(&open, pairs).await;
    open.stop().await;
    let principal = |(name, role, token): (&str, Role, &str)| Principal {
        name: name.to_owned(),
        token: token.to_owned(),
        tenants: vec![tenant()],
        role,
    };
    Running::start_with(Config {
        principals: TOKENS.map(principal).to_vec(),
        ..config(directory)
    })
    .await
}

async fn sign_in_with(browser: &Browser, running: &Running, token: &str) {
    goto(browser, running, "/console/queue").await;
    browser
        .until("location.pathname === '/console/sign-in'")
        .await;
    let field = browser.client.find(Locator::Css("input[name=token]")).await;
    let field = field.expect("a field");
    field.send_keys(token).await.expect("typed");
    let button = browser
        .client
        .find(Locator::Css("button[type=submit]"))
        .await;
    button.expect("a button").click().await.expect("pressed");
    browser
        .until("location.pathname === '/console/queue'")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stewards_at_one_queue_never_work_at_the_same_task() {
    let (Some(ann), Some(bob)) = (Browser::start().await, Browser::start().await) else {
        return;
    };
    let directory = tempfile::tempdir().expect("a folder");
    let running = with_principals(directory.path(), 3).await;
    sign_in_with(&ann, &running, "the-token-of-a-steward").await;
    sign_in_with(&bob, &running, "the-token-of-a-lead").await;
    let task = "document.getElementById('task').dataset.task";
    let (of_ann, of_bob) = (ann.value_of(task).await, bob.value_of(task).await);
    assert_ne!(of_ann, of_bob);
    bob.look("queue-shared").await;
    assert!(
        bob.text().await.contains("ann"),
        "it is said who works at a task"
    );

    // Not even where its address is known.
    let address = format!("/console/tasks/{}", of_ann.as_str().expect("an id"));
    goto(&bob, &running, &address).await;
    bob.until("document.querySelector('p.claimed')").await;
    assert_eq!(
        bob.value_of("document.querySelectorAll('form.decision').length")
            .await,
        json!(0)
    );
    bob.look("task-of-another").await;

    // The task that bob left is free again: ann gets all three.
    for _ in 0..3 {
        ann.press('\u{e007}').await;
        ann.until(SHOWN).await;
        let open = ann.value_of(task).await;
        ann.press('m').await;
        ann.until(&format!("{task} !== {open}")).await;
    }
    assert!(ann.text().await.contains("Nothing waits for you"));
    goto(&bob, &running, "/console/queue").await;
    assert!(bob.text().await.contains("Nothing waits for you"));
    ann.close().await;
    bob.close().await;
    running.stop().await;
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
    let running = with_principals(directory.path(), 2).await;
    assert_eq!(running.service.console_address(), None);
    let (mut steward, mut viewer) = (Visitor::new(&running), Visitor::new(&running));
    for wrong in [
        "token=guessed&tenant=default",
        "token=the-token-of-a-viewer&tenant=other",
        "token=&tenant=",
        "link=",
    ] {
        assert_eq!(
            viewer.sign_in(wrong).await,
            StatusCode::FORBIDDEN,
            "{wrong}"
        );
    }
    for (visitor, token) in [
        (&mut viewer, "the-token-of-a-viewer"),
        (&mut steward, "the-token-of-a-steward"),
    ] {
        let signed_in = visitor
            .sign_in(&format!("token={token}&tenant=default"))
            .await;
        assert_eq!(signed_in, StatusCode::SEE_OTHER);
    }
    let page = async |visitor: &Visitor, path: &str| {
        let answer = visitor.get(path).await;
        answer.text().await.expect("text")
    };
    let seen = page(&viewer, "/console/queue").await;
    assert!(seen.contains("&lt;•••") && !seen.contains("Lindqvist") && !seen.contains("gmx"));
    assert!(!seen.contains("<form class=\"decision\""));
    let seen = page(&steward, "/console/queue").await;
    assert!(seen.contains("Lindqvist") && seen.contains("<form class=\"decision\""));
    // The list is narrowed down.
    for (query, is_there) in [
        ("reason=uncertain", true),
        ("reason=conflict", false),
        ("source=pos&reason=", true),
        ("source=erp", false),
        ("from=0.2&to=0.3", true),
        ("from=0.5", false),
        ("to=0.1", false),
    ] {
        let seen = page(&steward, &format!("/console/queue?{query}")).await;
        assert_eq!(seen.contains("Lindqvist"), is_there, "{query}");
    }
    assert_eq!(
        steward.get("/console/queue?from=much").await.status(),
        StatusCode::BAD_REQUEST
    );

    assert_eq!(
        viewer.get("/console/audit").await.status(),
        StatusCode::FORBIDDEN
    );
    let token = viewer.csrf_token().await;
    let undone = viewer
        .post("/console/decisions/1/undo", &[("x-csrf-token", &token)], "")
        .await;
    assert_eq!(undone.status(), StatusCode::FORBIDDEN);
    running.stop().await;
}
