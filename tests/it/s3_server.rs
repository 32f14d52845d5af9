//! moto, a server that speaks S3's protocol over HTTP and keeps its buckets in memory. S3 itself cannot be had here.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio_stream::StreamExt as _;
use veridem::objects::{ObjectsPlace, use_ring};

use crate::support::free_address;

const BUCKET: &str = "retail";

/// A place for a server, which may come up later.
pub struct S3Server {
    child: Option<Child>,
    port: u16,
}

impl S3Server {
    /// None where no server is installed.
    pub fn reserve() -> Option<Self> {
        let mut version = Command::new("moto_server");
        let version = version.arg("--help").stdout(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            // Not through the test's own output, which is shown for failures only.
            let _ = writeln!(
                std::io::stderr(),
                "NOT RUN: moto_server is not installed (pip install 'moto[server]')"
            );
            return None;
        }
        Some(Self {
            child: None,
            port: free_address().port(),
        })
    }

    /// Starts it, with an empty bucket.
    pub async fn start(&mut self) {
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &self.port.to_string()]);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(quiet.spawn().expect("it runs"));
        let bucket = format!("http://127.0.0.1:{}/{BUCKET}", self.port);
        use_ring();
        let client = reqwest::Client::new();
        for _ in 0..600 {
            let made = client.put(&bucket).send().await;
            if made.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not come up in 30 s");
    }

    /// A prefix in the bucket.
    pub fn place(&self, prefix: &str) -> ObjectsPlace {
        let options = [
            ("endpoint", format!("http://127.0.0.1:{}", self.port)),
            ("allow_http", "true".to_owned()),
            ("region", "eu-central-1".to_owned()),
            ("access_key_id", "anybody".to_owned()),
            ("secret_access_key", "may come".to_owned()),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), value));
        ObjectsPlace {
            url: format!("s3://{BUCKET}/{prefix}"),
            options: options.into(),
        }
    }

    fn bucket(&self) -> Arc<dyn ObjectStore> {
        let place = self.place("");
        let url = place.url.parse().expect("a URL");
        let (store, _) = object_store::parse_url_opts(&url, place.options).expect("a bucket");
        store.into()
    }

    pub async fn put(&self, name: &str, text: &str) {
        let put = self
            .bucket()
            .put(&Path::from(name), text.to_owned().into())
            .await;
        put.expect("put");
    }

    /// None where there is no such object.
    pub async fn get(&self, name: &str) -> Option<Vec<u8>> {
        let found = self.bucket().get(&Path::from(name)).await.ok()?;
        Some(found.bytes().await.expect("reads").to_vec())
    }

    /// The names of all objects below a prefix, in their order.
    pub async fn list(&self, prefix: &str) -> Vec<String> {
        let bucket = self.bucket();
        let listed = bucket.list(Some(&Path::from(prefix)));
        let names = listed.map(|object| object.expect("lists").location.to_string());
        let mut names: Vec<String> = names.collect().await;
        names.sort();
        names
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
