//! Faults on demand: which request, how often, and what goes wrong.

use serde::{Deserialize, Serialize};

use crate::call::{Call, Origin};

/// Faults that may be armed at a time: each request is held against all of them.
pub(crate) const MAX_FAULTS: usize = 1000;

/// Largest inflated body of a bomb: it is compressed when the fault strikes, and a gigabyte takes seconds.
const MAX_BOMB: u64 = 1 << 30;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// The request waits this long, then goes on. Several add up, and go together with one fault of another kind.
    Latency {
        /// Milliseconds.
        ms: u64,
    },
    /// The connection closes without an answer.
    Drop,
    /// An eSignature error with this status, for 500, 503, 408 and the like.
    Status {
        /// HTTP status.
        status: u16,
        /// `UNSPECIFIED_ERROR` where none is given.
        #[serde(default = "unspecified")]
        error_code: String,
        /// English text.
        #[serde(default)]
        message: String,
    },
    /// A page instead of JSON.
    Html {
        /// HTTP status.
        status: u16,
    },
    /// No body and no content type.
    Empty {
        /// HTTP status.
        status: u16,
    },
    /// The first half of the true answer, with an honest length.
    CutJson,
    /// The true answer's length, half of the answer, then the connection closes.
    ShortBody,
    /// The true answer in pieces.
    Drip {
        /// Bytes a piece, at least 1.
        bytes: usize,
        /// Milliseconds between pieces.
        every_ms: u64,
    },
    /// JSON that goes on and on.
    Huge {
        /// Length; none: it never ends.
        #[serde(default)]
        bytes: Option<u64>,
    },
    /// A redirect.
    Redirect {
        /// HTTP status, 3xx.
        status: u16,
        /// Where to.
        location: String,
    },
    /// Body and headers repeat what the client sent in secret: the Authorization header, the token in it, the
    /// assertion; and the access token where one was minted.
    Echo {
        /// HTTP status.
        status: u16,
        /// How each secret is written; all of them where the list is empty.
        #[serde(default)]
        encodings: Vec<Encoding>,
    },
    /// A gzip body that inflates to this many bytes.
    GzipBomb {
        /// Inflated length.
        bytes: u64,
    },
    /// What a broken limit answers, headers included.
    RateLimit {
        /// Which limit.
        which: LimitKind,
    },
    /// Any answer.
    Answer {
        /// HTTP status.
        status: u16,
        /// Names and values.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// Text of the body.
        #[serde(default)]
        body: String,
    },
}

fn unspecified() -> String {
    "UNSPECIFIED_ERROR".to_owned()
}

/// How an echoed secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    Plain,
    /// Base64 with padding.
    Base64,
    /// Every byte but letters and digits as %XX.
    Url,
}

/// One of an account's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Calls a clock hour.
    Hourly,
    /// Calls in 30 seconds.
    Burst,
}

/// A fault and the requests it is for. By default: any origin, method and path, once, from the next request on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only requests at this origin.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// Only requests with this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Only requests whose path (no query) fits; `*` is any run of characters.
    #[serde(default)]
    pub path: Option<String>,
    /// Only requests whose path, query or body contains this.
    #[serde(default)]
    pub contains: Option<String>,
    /// Fitting requests that pass before the first one that fails.
    #[serde(default)]
    pub skip: u64,
    /// Fitting requests that fail; none: all of them.
    #[serde(default = "once")]
    pub times: Option<u64>,
    /// Whether the request takes effect. Where it is not said, it does for faults that damage the true answer
    /// (`cut_json`, `short_body`, `drip`, `latency`), and does not for those that replace it.
    #[serde(default)]
    pub effect: Option<bool>,
    /// What goes wrong.
    pub kind: FaultKind,
}

#[allow(clippy::unnecessary_wraps, reason = "serde wants a default of the field's type")]
fn once() -> Option<u64> {
    Some(1)
}

impl Fault {
    /// This fault for the next request, whatever it is.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self {
            origin: None,
            method: None,
            path: None,
            contains: None,
            skip: 0,
            times: once(),
            effect: None,
            kind,
        }
    }

    /// The same for one origin.
    #[must_use]
    pub fn on(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The same for one method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// The same for paths that fit; `*` is any run of characters.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// The same for requests whose path, query or body contains `text`.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.contains = Some(text.to_owned());
        self
    }

    /// The same, after `skip` fitting requests went well.
    #[must_use]
    pub fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// The same for this many fitting requests.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// The same for all fitting requests.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.times = None;
        self
    }

    /// The same, where the request takes effect.
    #[must_use]
    pub fn after_effect(mut self) -> Self {
        self.effect = Some(true);
        self
    }

    /// The same, where the request has no effect.
    #[must_use]
    pub fn before_effect(mut self) -> Self {
        self.effect = Some(false);
        self
    }

    /// Whether the request reaches DocuSign at all.
    pub(crate) fn takes_effect(&self) -> bool {
        self.effect.unwrap_or(matches!(
            self.kind,
            FaultKind::Latency { .. } | FaultKind::CutJson | FaultKind::ShortBody | FaultKind::Drip { .. }
        ))
    }

    /// The fault's kind, as JSON names it.
    pub(crate) fn name(&self) -> String {
        match serde_json::to_value(&self.kind) {
            Ok(serde_json::Value::String(name)) => name,
            Ok(serde_json::Value::Object(kind)) => kind.into_iter().next().map(|(name, _)| name).unwrap_or_default(),
            _ => String::new(),
        }
    }

    fn fits(&self, call: &Call) -> bool {
        self.origin.is_none_or(|origin| origin == call.origin)
            && self
                .method
                .as_deref()
                .is_none_or(|method| method.eq_ignore_ascii_case(call.method.as_str()))
            && self.path.as_deref().is_none_or(|pattern| glob(pattern, &call.path))
            && self.contains.as_deref().is_none_or(|text| contains(call, text))
    }

    /// What is wrong with these values, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.origin == Some(Origin::Control) {
            return Some("faults meet the origins account and esign, never control".to_owned());
        }
        let status = match &self.kind {
            FaultKind::Status { status, .. }
            | FaultKind::Html { status }
            | FaultKind::Empty { status }
            | FaultKind::Redirect { status, .. }
            | FaultKind::Echo { status, .. }
            | FaultKind::Answer { status, .. } => *status,
            FaultKind::GzipBomb { bytes } if *bytes > MAX_BOMB => {
                return Some(format!("gzip_bomb.bytes must be {MAX_BOMB} or less"));
            }
            FaultKind::Drip { bytes: 0, .. } => return Some("drip.bytes must be at least 1".to_owned()),
            _ => 200,
        };
        let is_known = (200..600).contains(&status);
        (!is_known).then(|| format!("{status} is no HTTP status between 200 and 599"))
    }
}

/// An armed fault.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Armed {
    pub(crate) id: u64,
    /// Fitting requests so far.
    pub(crate) seen: u64,
    /// Requests that failed so far.
    pub(crate) hits: u64,
    #[serde(flatten)]
    pub(crate) fault: Fault,
}

/// Every armed fault, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) armed: Vec<Armed>,
    next: u64,
}

impl Faults {
    pub(crate) fn arm(&mut self, fault: Fault) -> u64 {
        self.next += 1;
        self.armed.push(Armed {
            id: self.next,
            seen: 0,
            hits: 0,
            fault,
        });
        self.next
    }

    /// The faults of this request: any number of latencies, and at most one of another kind. A second one of another
    /// kind is not used up: it waits for its turn.
    pub(crate) fn take(&mut self, call: &Call) -> Vec<Fault> {
        let mut taken = Vec::new();
        let mut is_spoiled = false;
        for armed in &mut self.armed {
            let is_latency = matches!(armed.fault.kind, FaultKind::Latency { .. });
            let is_spent = armed.fault.times.is_some_and(|times| armed.hits >= times);
            if is_spent || (is_spoiled && !is_latency) || !armed.fault.fits(call) {
                continue;
            }
            armed.seen += 1;
            if armed.seen > armed.fault.skip {
                armed.hits += 1;
                is_spoiled |= !is_latency;
                taken.push(armed.fault.clone());
            }
        }
        taken
    }
}

fn contains(call: &Call, text: &str) -> bool {
    let needle = text.as_bytes();
    call.path.contains(text)
        || call.query.as_deref().is_some_and(|query| query.contains(text))
        || needle.is_empty()
        || call.body.windows(needle.len()).any(|window| window == needle)
}

/// Whether `text` fits `pattern`, where `*` is any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = pattern.contains('*').then(|| pieces.next_back()).flatten() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, text, fits) in [
            ("/oauth/token", "/oauth/token", true),
            ("/oauth/token", "/oauth/token2", false),
            ("/restapi/*/users", "/restapi/v2.1/accounts/1/users", true),
            ("/restapi/*/users", "/restapi/v2.1/accounts/1/users/2", false),
            ("/restapi/*/users*", "/restapi/v2.1/accounts/1/users/2", true),
            ("*", "", true),
            ("*a*b*", "xaxxb", true),
            ("*a*b*", "xbxa", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} on {text}");
        }
    }
}
