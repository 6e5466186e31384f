//! A guest's description, taken over into the host's words.

use super::bindings::exports::exeunt::connector::descriptor as guest;
use crate::capability::{
    BodyTemplate, Descriptor, EndpointDeclaration, KeyDeclaration, KeyExchange, KeyKind, Method, PathTemplate,
    Placement, Reach, Verb,
};
use crate::text::printable;

/// Problems that are told to the author at once; nobody mends more in one go.
const MAX_PROBLEMS: usize = 20;
/// Characters of one of them. Longer than any of our own sentences with a quoted name of sensible length.
const MAX_PROBLEM_CHARS: usize = 400;

/// The host's form of a guest's description.
///
/// # Errors
///
/// Everything that is wrong with it, in words for the connector's author.
pub(super) fn descriptor(said: guest::Descriptor) -> Result<Descriptor, Vec<String>> {
    let mut problems = Vec::new();
    let settings_schema = Descriptor::parse_schema(&said.settings_schema).unwrap_or_else(|problem| {
        problems.push(problem);
        serde_json::Value::Null
    });
    let reach = said
        .reach
        .into_iter()
        .filter_map(|line| reach(line).map_err(|problem| problems.push(problem)).ok())
        .collect();
    let mut descriptor = Descriptor {
        name: said.name,
        version: said.version,
        settings_schema,
        endpoints: said.endpoints.into_iter().map(endpoint).collect(),
        keys: said.keys.into_iter().map(key).collect(),
        reach,
        trace_header: said.trace_header,
    };
    problems.extend(descriptor.problems());
    if problems.is_empty() {
        descriptor.declare_exchanges();
        Ok(descriptor)
    } else {
        Err(bounded(problems))
    }
}

/// A description of four megabytes can be wrong in a hundred thousand places, each quoted.
fn bounded(problems: Vec<String>) -> Vec<String> {
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    let mut shown: Vec<String> = problems
        .into_iter()
        .take(MAX_PROBLEMS)
        .map(|problem| printable(&problem.chars().take(MAX_PROBLEM_CHARS).collect::<String>()))
        .collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown
}

fn endpoint(said: guest::Endpoint) -> EndpointDeclaration {
    let guest::Endpoint {
        name,
        purpose,
        default_base_url,
    } = said;
    EndpointDeclaration {
        name,
        purpose,
        default_base_url,
    }
}

fn reach(said: guest::Reach) -> Result<Reach, String> {
    let verb = match said.verb {
        guest::Verb::Mint => Verb::Mint,
        guest::Verb::Find => Verb::Find,
        guest::Verb::Read => Verb::Read,
        guest::Verb::Close => Verb::Close,
        guest::Verb::Page => Verb::Page,
    };
    let method = match said.method {
        guest::Method::Get => Method::Get,
        guest::Method::Head => Method::Head,
        guest::Method::Post => Method::Post,
        guest::Method::Put => Method::Put,
        guest::Method::Patch => Method::Patch,
        guest::Method::Delete => Method::Delete,
    };
    let path = PathTemplate::parse(&said.path)?;
    let body = said.body.as_deref().map(BodyTemplate::parse).transpose()?;
    Ok(Reach {
        verb,
        endpoint: said.endpoint,
        method,
        path,
        query: said.query,
        body,
        optional: said.optional,
    })
}

fn key(said: guest::Key) -> KeyDeclaration {
    let exchange = |said: guest::Exchange| KeyExchange {
        endpoint: said.endpoint,
        path: said.path,
    };
    let kind = match said.kind {
        guest::KeyKind::SigningKey(key) => KeyKind::SigningKey {
            exchange: exchange(key.exchange),
            issuer: key.issuer,
            subject: key.subject,
        },
        guest::KeyKind::ClientSecret(key) => KeyKind::ClientSecret {
            exchange: exchange(key.exchange),
            client_id: key.client_id,
        },
        guest::KeyKind::ApiKey(placement) => KeyKind::ApiKey {
            placement: match placement {
                guest::Placement::Bearer => Placement::Bearer,
                guest::Placement::Basic => Placement::Basic,
                guest::Placement::Header(name) => Placement::Header(name),
            },
        },
    };
    KeyDeclaration {
        name: said.name,
        purpose: said.purpose,
        kind,
        usable_at: said.usable_at,
    }
}
