//! A real browser: headless Chromium, driven over WebDriver.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

use crate::support::free_address;

/// Finds what pages make hard for people.
const AXE: &str = include_str!("../vendor/axe.min.js");
/// How long a page may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with nothing in it.
/// The window as tests work in it.
const WIDTH: u32 = 1_280;
const HEIGHT: u32 = 800;

pub struct Browser {
    driver: Child,
    pub client: Client,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// None where there is none.
    pub async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// One whose user likes pages dark.
    pub async fn start_dark() -> Option<Self> {
        Self::start_with(&["--force-dark-mode"]).await
    }

    async fn start_with(more: &[&str]) -> Option<Self> {
        let address = free_address();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", address.port()));
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(driver) = quiet.spawn() else {
            // Not through the test's own output, which is shown for failures only.
            let _ = writeln!(
                std::io::stderr(),
                "NOT RUN: chromedriver is not installed (Debian's packages chromium and chromium-driver)"
            );
            return None;
        };
        let profile = tempfile::tempdir().expect("a folder");
        let mut options = json!({ "args": [
            "--headless=new",
            // Root, as in containers, has no sandbox.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            format!("--window-size={WIDTH},{HEIGHT}"),
            format!("--user-data-dir={}", profile.path().display()),
        ] });
        if let Some(args) = options["args"].as_array_mut() {
            args.extend(more.iter().map(|one| json!(one)));
        }
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let url = format!("http://{address}");
        let deadline = veridem::clock::instant() + PATIENCE;
        let client = loop {
            let mut builder =
                ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
            builder.capabilities(capabilities.clone());
            match builder.connect(&url).await {
                Ok(client) => break client,
                Err(_) if veridem::clock::instant() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(cause) => panic!("chromedriver opens no browser: {cause}"),
            }
        };
        Some(Self {
            driver,
            client,
            _profile: profile,
        })
    }

    pub async fn press(&self, key: char) {
        let press = KeyActions::new("keys".to_owned())
            .then(KeyAction::Down { value: key })
            .then(KeyAction::Up { value: key });
        self.client.perform_actions(press).await.expect("a key");
    }

    /// What a script returns.
    pub async fn value_of(&self, expression: &str) -> Value {
        let script = format!("return {expression};");
        self.client
            .execute(&script, Vec::new())
            .await
            .expect("the script runs")
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        let deadline = veridem::clock::instant() + PATIENCE;
        while self.value_of(&format!("Boolean({expression})")).await != Value::Bool(true) {
            let is_late = veridem::clock::instant() > deadline;
            assert!(!is_late, "never true: {expression}\n{}", self.text().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What can be read on the page.
    pub async fn text(&self) -> String {
        let body = self
            .client
            .find(Locator::Css("body"))
            .await
            .expect("a page");
        body.text().await.expect("its text")
    }

    /// Writes what is seen to `target/screens`, and fails where axe finds that somebody could not use it.
    pub async fn look(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screens");
        std::fs::create_dir_all(&folder).expect("a folder");
        let picture = self.client.screenshot().await.expect("a picture");
        std::fs::write(folder.join(format!("{name}.png")), picture).expect("written");
        self.client
            .execute(AXE, Vec::new())
            .await
            .expect("axe is there");
        let script = "const done = arguments[arguments.length - 1];
            axe.run().then((found) => done(found.violations.map((one) => [one.id, one.help, one.nodes.map((node) => node.html)])),
                (cause) => done([String(cause)]));";
        let found = self.client.execute_async(script, Vec::new()).await;
        assert_eq!(found.expect("axe answers"), json!([]), "{name}");
        // A tablet, and a page of 1,280 at 200 %: nothing but tables goes beyond the edge, and those scroll by themselves.
        for (how, width) in [("tablet", 820), ("zoomed", 640)] {
            self.resize(width).await;
            let picture = self.client.screenshot().await.expect("a picture");
            let file = folder.join(format!("{name}-{how}.png"));
            std::fs::write(file, picture).expect("written");
            let beyond =
                "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            let beyond = self.value_of(beyond).await;
            assert_eq!(beyond, json!(0), "{name}, {how}: pixels beyond the edge");
        }
        self.resize(WIDTH).await;
    }

    async fn resize(&self, width: u32) {
        let resized = self.client.set_window_size(width, HEIGHT).await;
        resized.expect("another size");
    }

    pub async fn close(mut self) {
        self.client.clone().close().await.expect("it closes");
        self.driver.kill().expect("it runs");
        self.driver.wait().expect("it ends");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Where a test has failed. The driver takes its browser along.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
