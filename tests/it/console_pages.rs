//! Pages of the console beyond queue and search, in a real browser.

use fantoccini::Locator;
use serde_json::json;
use veridem::config::{Config, StewardshipSettings};

use crate::browser::Browser;
use crate::console::{
    SHOWN, goto, press_button, principals, sign_in, sign_in_with, with_principals,
};
use crate::models::strict_rules;
use crate::support::*;

async fn type_into(browser: &Browser, css: &str, text: &str) {
    let field = browser.client.wait().for_element(Locator::Css(css)).await;
    let field = field.expect("a field");
    field.send_keys(text).await.expect("typed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_shows_what_lost_how_it_was_and_what_holds_it_together() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start(directory.path()).await;
    let told = |number| {
        vec![
            name("Wilhelmina", "Oberholzer"),
            email("wilma@gmx.at"),
            phone(number),
        ]
    };
    let mut id = String::new();
    for (signal, key, number) in [
        ("a", "pos/1", "212 736 5001"),
        ("b", "loyalty/2", "212 736 5001"),
        ("c", "cdp/3", "212 736 5099"),
    ] {
        let ack = submit(&running, update(signal, key, told(number))).await;
        id = ack.expect("accepted").identity_id;
    }
    sign_in(&browser, &running).await;
    goto(&browser, &running, &format!("/console/identities/{id}")).await;
    browser
        .until("document.querySelector('.graph circle')")
        .await;
    let text = browser.text().await;
    assert!(
        text.contains("212 736 5001") && text.contains("212 736 5099"),
        "{text}"
    );
    assert_eq!(
        browser
            .value_of("document.querySelectorAll('tr.loses').length")
            .await,
        json!(1),
        "one phone number lost"
    );
    browser.look("identity-whole").await;
    // Back to its first event: one record.
    let slider = browser.client.find(Locator::Css("input[name=step]")).await;
    let slider = slider.expect("a slider");
    for _ in 0..5 {
        slider.send_keys("\u{e012}").await.expect("moved");
    }
    browser
        .until("document.querySelector('#golden').textContent.includes('Created')")
        .await;
    assert!(browser.text().await.contains("version 1 · 1 record"));
    browser.look("identity-as-of").await;

    // The other number survives because somebody says so, and no longer once that is taken back.
    let golden = "(document.getElementById('golden')?.textContent ?? '')";
    press_button(&browser, "tr.loses button[value=pin]").await;
    browser
        .until("document.querySelector('#said .become section')")
        .await;
    browser.look("identity-pin-preview").await;
    press_button(&browser, "#said button.primary").await;
    browser
        .until(&format!(
            "{golden}.includes('212 736 5099') && {golden}.includes('pinned by a steward')"
        ))
        .await;
    browser.look("identity-pinned").await;
    browser.press('u').await;
    browser
        .until(&format!("{golden}.includes('212 736 5001')"))
        .await;

    // Nobody uses that number: the other one is all that is left.
    press_button(&browser, "tr:has(+ tr.loses) button[value=junk]").await;
    browser
        .until("document.querySelector('#said .become section')")
        .await;
    press_button(&browser, "#said button.primary").await;
    browser
        .until(&format!("{golden}.includes('212 736 5099')"))
        .await;
    assert!(browser.text().await.contains("junk"));
    browser.look("identity-junk").await;
    browser.close().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_dark_for_whoever_likes_that() {
    let Some(browser) = Browser::start_dark().await else {
        return;
    };
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start(directory.path()).await;
    crate::console::doubtful(&running, 3).await;
    sign_in(&browser, &running).await;
    let is_dark = "matchMedia('(prefers-color-scheme: dark)').matches";
    assert_eq!(browser.value_of(is_dark).await, json!(true));
    browser.until(SHOWN).await;
    browser.look("queue-dark").await;
    browser.press('\u{e007}').await;
    browser.until("document.activeElement.id === 'task'").await;
    browser.press('m').await;
    for page in [
        "decisions",
        "quality",
        "model",
        "search",
        "sources",
        "jobs",
        "audit",
    ] {
        goto(&browser, &running, &format!("/console/{page}")).await;
        browser.look(&format!("{page}-dark")).await;
    }
    browser.close().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_judges_the_model_and_another_one_is_put_in_force() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start(directory.path()).await;
    crate::console::doubtful(&running, 6).await;
    sign_in(&browser, &running).await;
    goto(&browser, &running, "/console/quality").await;
    browser.look("quality-empty").await;

    // A sample is drawn, and judged by keyboard without a word on what was decided.
    press_button(&browser, ".sampling button").await;
    press_button(&browser, "a[href='/console/quality/review']").await;
    browser
        .until("document.querySelector('#task[data-blind] form.decision')")
        .await;
    browser.look("blind-review").await;
    assert!(!browser.text().await.to_lowercase().contains("probability"));
    browser.press('\u{e007}').await;
    let place = "document.querySelector('#task input[name=place]')?.value ?? 'none'";
    for _ in 0..200 {
        let at = browser.value_of(place).await;
        if at == json!("none") {
            break;
        }
        browser
            .until("document.activeElement.id === 'task' && !document.querySelector('.htmx-added')")
            .await;
        browser.press('d').await;
        browser.until(&format!("({place}) !== {at}")).await;
    }
    assert!(browser.text().await.contains("No pair is left for you"));
    goto(&browser, &running, "/console/quality").await;
    assert!(
        browser
            .text()
            .await
            .contains("Between two identities, doubtful")
    );
    browser.look("quality-sample").await;
    goto(&browser, &running, "/console/queue").await;
    browser
        .until("document.querySelector('.around .graph circle')")
        .await;
    browser.look("queue-neighbours").await;
    let task = "document.getElementById('task').dataset.task";
    for decision in ["m", "k", "m"] {
        browser.press('\u{e007}').await;
        browser.until("document.activeElement.id === 'task'").await;
        browser.until(SHOWN).await;
        let open = browser.value_of(task).await;
        browser.press(decision.chars().next().expect("a key")).await;
        browser.until(&format!("{task} !== {open}")).await;
    }
    goto(&browser, &running, "/console/quality").await;
    let text = browser.text().await;
    assert!(
        text.contains("3 pairs decided by stewards: 2 the same person, 1 different persons"),
        "{text}"
    );
    browser.look("quality").await;
    type_into(&browser, "input[name=threshold]", "0.1").await;
    browser
        .until("document.querySelectorAll('#thresholds tbody tr').length === 1 && document.querySelector('#thresholds th[scope=row]').textContent === '0.1'")
        .await;

    let rules = directory.path().join("rules.toml");
    std::fs::write(&rules, strict_rules()).expect("written");
    goto(&browser, &running, "/console/model").await;
    browser.look("model").await;
    type_into(&browser, "input[name=rules]", rules.to_str().expect("text")).await;
    press_button(&browser, "button[hx-post='/console/model/preview']").await;
    browser
        .until("document.querySelector('#preview .counts')")
        .await;
    browser.look("model-preview").await;
    press_button(&browser, "button[hx-post='/console/model/activate']").await;
    browser.client.accept_alert().await.expect("confirmed");
    browser
        .until("document.querySelector('#status .state')?.textContent === 'in force'")
        .await;
    goto(&browser, &running, "/console/model").await;
    browser
        .until("document.querySelector('article').textContent.includes('matches from 0.99')")
        .await;
    goto(&browser, &running, "/console/jobs").await;
    let text = browser.text().await;
    for job in ["model change", "model preview", "sample to judge"] {
        assert!(text.contains(job), "{text}");
    }
    browser
        .until("[...document.querySelectorAll('td .state')].every((state) => state.textContent === 'done')")
        .await;
    browser.look("jobs").await;
    browser.close().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_says_why_before_values_are_shown_and_a_lead_agrees_to_what_is_large() {
    let (Some(vera), Some(ann), Some(bob)) = (
        Browser::start().await,
        Browser::start().await,
        Browser::start().await,
    ) else {
        return;
    };
    let directory = tempfile::tempdir().expect("a folder");
    let open = with_principals(directory.path(), 1).await;
    open.stop().await;
    let running = Running::start_with(Config {
        stewardship: StewardshipSettings {
            four_eyes_above: Some(1),
            ..StewardshipSettings::default()
        },
        ..principals(directory.path())
    })
    .await;
    sign_in_with(&vera, &running, "the-token-of-a-viewer").await;
    press_button(&vera, ".comparison thead a.id").await;
    vera.until("document.querySelector('form.reveal')").await;
    assert!(!vera.text().await.contains("box0@gmx.at"));
    vera.look("identity-masked").await;
    type_into(&vera, "form.reveal input[name=note]", "the customer called").await;
    press_button(&vera, "form.reveal button").await;
    vera.until("!document.querySelector('form.reveal')").await;
    assert!(vera.text().await.contains("box0@gmx.at"));
    goto(&vera, &running, "/console/quality/labels.csv").await;
    assert!(vera.text().await.contains("a viewer sees no record ids"));

    sign_in_with(&ann, &running, "the-token-of-a-steward").await;
    ann.until("document.querySelector('form.decision .outcome')")
        .await;
    let chosen = ann.client.find(Locator::Css(
        "select[name=reason] option[value='documents seen']",
    ));
    let chosen = chosen.await.expect("a reason");
    chosen.click().await.expect("chosen");
    ann.look("queue-four-eyes").await;
    press_button(&ann, "button[value=same]").await;
    ann.until("document.querySelector('#notice .notice')").await;
    assert!(
        ann.text()
            .await
            .contains("It counts once somebody else agrees")
    );
    assert!(ann.text().await.contains("Nothing waits for you"));

    sign_in_with(&bob, &running, "the-token-of-a-lead").await;
    goto(&bob, &running, "/console/decisions?awaiting=true").await;
    assert!(bob.text().await.contains("documents seen"));
    bob.look("decisions-awaiting").await;
    press_button(&bob, "td button.primary").await;
    bob.until("document.querySelector('#said .become section')")
        .await;
    bob.look("decision-approval").await;
    press_button(&bob, "#said button.primary").await;
    bob.until("document.querySelector('.hint')").await;
    goto(&bob, &running, "/console/decisions").await;
    let text = bob.text().await;
    assert!(
        text.contains("agreed by bob") && text.contains("in force"),
        "{text}"
    );
    goto(&bob, &running, "/console/audit").await;
    let text = bob.text().await;
    for told in ["RevealIdentity", "the customer called", "ApproveOverride"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    for browser in [vera, ann, bob] {
        browser.close().await;
    }
    running.stop().await;
}
