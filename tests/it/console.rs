//! The console in a real browser.

use std::path::Path;

use fantoccini::Locator;
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
pub async fn doubtful(running: &Running, pairs: usize) {
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
pub const SHOWN: &str = "document.querySelectorAll('#task .preview > *').length >= 2";

async fn open_tasks(running: &Running) -> usize {
    let asked = v1::ListReviewTasksRequest {
        page_size: 1_000,
        ..v1::ListReviewTasksRequest::default()
    };
    let listed = running.stewardship().list_review_tasks(asked).await;
    listed.expect("lists").into_inner().review_tasks.len()
}

/// Signs in with the link that the service printed.
pub async fn sign_in(browser: &Browser, running: &Running) {
    let link = running.service.console_address().expect("a link");
    browser.client.goto(&link).await.expect("the link opens");
    browser.look("sign-in").await;
    press_button(browser, "button[type=submit]").await;
    browser
        .until("location.pathname === '/console/queue'")
        .await;
}

pub async fn goto(browser: &Browser, running: &Running, path: &str) {
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

pub async fn press_button(browser: &Browser, css: &str) {
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
        .until("document.querySelector('#together .become section')")
        .await;
    browser.look("merge").await;
    press_button(&browser, "input[value=household]").await;
    browser
        .until("document.querySelectorAll('#together .become section').length === 2")
        .await;
    browser.look("household").await;
    press_button(&browser, "#together button").await;
    browser
        .until("document.querySelector('main').textContent.includes('Lives together with')")
        .await;
    browser.look("identity-household").await;
    goto(&browser, &running, "/console/search").await;
    for letter in "wilhelmina".chars() {
        browser.press(letter).await;
    }
    browser
        .until("document.querySelectorAll('#results a.id').length === 2")
        .await;
    choose(&browser, "identity", &[0, 1]).await;
    browser
        .until("document.querySelectorAll('#together .become section').length === 1")
        .await;
    press_button(&browser, "#together button").await;
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
    press_button(&browser, "td form button").await;
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
pub async fn with_principals(directory: &Path, pairs: usize) -> Running {
    let open = Running::start(directory).await;
    doubtful(&open, pairs).await;
    open.stop().await;
    Running::start_with(principals(directory)).await
}

/// A configuration with somebody of each role that works at the console.
pub fn principals(directory: &Path) -> Config {
    let principal = |(name, role, token): (&str, Role, &str)| Principal {
        name: name.to_owned(),
        token: token.to_owned(),
        tenants: vec![tenant()],
        role,
    };
    Config {
        principals: TOKENS.map(principal).to_vec(),
        ..config(directory)
    }
}

pub async fn sign_in_with(browser: &Browser, running: &Running, token: &str) {
    goto(browser, running, "/console/queue").await;
    browser
        .until("location.pathname === '/console/sign-in'")
        .await;
    let field = browser.client.find(Locator::Css("input[name=token]")).await;
    let field = field.expect("a field");
    field.send_keys(token).await.expect("typed");
    press_button(browser, "button[type=submit]").await;
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
