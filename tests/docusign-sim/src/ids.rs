//! Randomness, from one place: identifiers and access tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of randomness in an access token. DocuSign's tokens are several hundred characters long, and clients that keep
/// them in small buffers or headers should notice here.
const TOKEN_BYTES: usize = 384;

/// A fresh GUID, lower case with hyphens, as DocuSign writes them.
pub(crate) fn guid() -> String {
    uuid::Uuid::new_v4().hyphenated().to_string()
}

/// A fresh access token. It looks like a JWT, as DocuSign's do, and means nothing.
pub(crate) fn access_token() -> String {
    let mut bytes = [0_u8; TOKEN_BYTES];
    for piece in bytes.chunks_mut(16) {
        piece.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    let (payload, signature) = bytes.split_at(TOKEN_BYTES / 3);
    format!(
        "eyJ0eXAiOiJNVCIsImFsZyI6IlJTMjU2In0.{}.{}",
        URL_SAFE_NO_PAD.encode(payload),
        URL_SAFE_NO_PAD.encode(signature)
    )
}

/// Whether `text` is a GUID as DocuSign writes them, in either case.
pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}
