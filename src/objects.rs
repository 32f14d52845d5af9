//! Folders and object storage: one door for both.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use reqwest::Url;

/// A place where objects lie: a folder (`file:///var/spool/veridem`), or a prefix of a bucket (`s3://bucket/prefix`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectsPlace {
    /// Its address.
    pub url: String,
    /// What the provider needs besides: `region`, `endpoint`, `access_key_id`, `secret_access_key` and the like.
    pub options: BTreeMap<String, String>,
}

/// An open place.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// Of the libraries for TLS the process uses this one; a second call changes nothing.
pub fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl ObjectsPlace {
    /// Whether the address is one that this build can open.
    pub fn check(&self) -> Result<(), String> {
        self.open().map(drop).map_err(|cause| format!("{cause:#}"))
    }

    /// Opens the place; a folder is made where it is not there.
    pub fn open(&self) -> anyhow::Result<Objects> {
        use_ring();
        let url = Url::parse(&self.url)
            .context("is no URL; write file:///folder or s3://bucket/prefix")?;
        if let Ok(folder) = url.to_file_path() {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            // What was put survives power loss.
            let store = LocalFileSystem::new().with_fsync(true);
            return Ok(Objects {
                store: Arc::new(store),
                prefix: Path::from_absolute_path(&folder)?,
            });
        }
        #[cfg(not(feature = "s3"))]
        anyhow::ensure!(
            url.scheme() == "file",
            "this veridem is built without object storage; build with --features s3"
        );
        let (store, prefix) = object_store::parse_url_opts(&url, self.options.iter())?;
        Ok(Objects {
            store: store.into(),
            prefix,
        })
    }
}

/// An object as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name below the place.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, milliseconds since the Unix epoch.
    pub modified_at_ms: i64,
}

impl Objects {
    /// The objects right below the place, in the order of their names.
    pub async fn list(&self) -> anyhow::Result<Vec<Listed>> {
        let listed = self.store.list_with_delimiter(Some(&self.prefix)).await?;
        let mut objects: Vec<Listed> = listed
            .objects
            .into_iter()
            .filter_map(|object| {
                Some(Listed {
                    name: object.location.filename()?.to_owned(),
                    size: object.size,
                    modified_at_ms: object.last_modified.timestamp_millis(),
                })
            })
            .collect();
        objects.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(objects)
    }

    /// Puts an object whole or not at all.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        self.store.put(&self.path(name)?, bytes.into()).await?;
        Ok(())
    }

    /// The bytes of a small object.
    pub async fn get(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let found = self.store.get(&self.path(name)?).await?;
        Ok(found.bytes().await?.to_vec())
    }

    /// Copies an object into a file; tells what it was then.
    pub async fn download(&self, name: &str, file: &mut tokio::fs::File) -> anyhow::Result<Listed> {
        use tokio::io::AsyncWriteExt as _;
        use tokio_stream::StreamExt as _;
        let found = self.store.get(&self.path(name)?).await?;
        let modified_at_ms = found.meta.last_modified.timestamp_millis();
        let (mut chunks, mut size) = (found.into_stream(), 0);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            size += chunk.len() as u64;
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        let after = self
            .store
            .head(&self.path(name)?)
            .await?
            .last_modified
            .timestamp_millis();
        Ok(Listed {
            name: name.to_owned(),
            size,
            // One that changed while it was read is another one.
            modified_at_ms: if after == modified_at_ms { after } else { -1 },
        })
    }

    fn path(&self, name: &str) -> anyhow::Result<Path> {
        let text = format!("{}/{name}", self.prefix);
        Ok(Path::parse(text.trim_start_matches('/'))?)
    }
}
