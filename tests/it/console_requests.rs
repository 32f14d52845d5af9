//! What holds for the console's requests, whatever sends them.

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, StatusCode};

use crate::console::{doubtful, with_principals};
use crate::support::*;

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
