//! Page tokens: the place to go on from, opaque to the caller; the server keeps nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tonic::Status;

use super::status;

/// A token of a place.
pub(super) fn token(place: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// The place of a token; `None` for the first page.
pub(super) fn place(token: &str) -> Result<Option<Vec<u8>>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    URL_SAFE_NO_PAD
        .decode(token)
        .map(Some)
        .map_err(|_| invalid_token())
}

/// The number that a token holds.
pub(super) fn number(token: &str) -> Result<Option<u64>, Status> {
    let Some(place) = place(token)? else {
        return Ok(None);
    };
    place
        .try_into()
        .map(|bytes| Some(u64::from_be_bytes(bytes)))
        .map_err(|_| invalid_token())
}

pub(super) fn invalid_token() -> Status {
    status::invalid(
        "page_token",
        "is not one that this service gave; ask for the first page without it",
    )
}

/// The size of a page: `standard` where 0 is asked for.
pub(super) fn size(asked: u32, standard: usize, largest: usize) -> Result<usize, Status> {
    match asked as usize {
        0 => Ok(standard),
        asked if asked <= largest => Ok(asked),
        _ => Err(status::invalid(
            "page_size",
            &format!("must be 0 to {largest}"),
        )),
    }
}
