//! Style, scripts and the mark, in the binary. Each has an address of its own for each content, so that browsers keep them.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::report::CHARTS_STYLE;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const ASSETS: [Asset; 5] = [
    Asset {
        name: "charts.css",
        content_type: "text/css; charset=utf-8",
        bytes: CHARTS_STYLE.as_bytes(),
    },
    Asset {
        name: "console.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("assets/console.css"),
    },
    Asset {
        name: "console.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("assets/console.js"),
    },
    Asset {
        name: "htmx.min.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("assets/vendor/htmx.min.js"),
    },
    Asset {
        name: "mark.svg",
        content_type: "image/svg+xml",
        bytes: include_bytes!("assets/mark.svg"),
    },
];

/// The first digits of the hash of each, in the order of [`ASSETS`].
static VERSIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let version = |asset: &Asset| hex::encode(&Sha256::digest(asset.bytes)[..6]);
    ASSETS.iter().map(version).collect()
});

/// The address of an asset.
pub(super) fn address(name: &str) -> String {
    let known = ASSETS.iter().zip(VERSIONS.iter());
    let version = known
        .into_iter()
        .find(|(asset, _)| asset.name == name)
        .map_or("", |(_, version)| version);
    format!("/console/assets/{version}/{name}")
}

pub(super) async fn serve(Path((_, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_what_they_published() {
        let published = include_str!("assets/vendor/SHA256SUMS");
        let listed: Vec<(&str, &str)> = published
            .lines()
            .filter_map(|line| line.split_once("  "))
            .collect();
        assert_eq!(listed.len(), 1);
        for (hash, name) in listed {
            let asset = ASSETS.iter().find(|asset| asset.name == name);
            let bytes = asset.expect("it is served").bytes;
            assert_eq!(hex::encode(Sha256::digest(bytes)), hash, "{name}");
        }
    }
}
