//! A DocuSign that answers at once, from memory: what is measured is our side of a call.

use exeunt::capability::{HttpError, Method, Outgoing, Response, Transport};

/// The account of the benchmark.
pub(crate) const ACCOUNT: &str = "4f2b6d1c-8a3e-4c5b-9d7f-0a1b2c3d4e5f";
/// The connector's own user.
pub(crate) const CALLER: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
/// The leaver's user.
pub(crate) const LEAVER: &str = "16fd2706-8baf-433b-82eb-8c7fada847da";
/// The leaver's address.
pub(crate) const EMAIL: &str = "ann.english@acme.example";

/// Answers token requests, userinfo, lists, closures and reads of one user.
#[derive(Debug)]
pub(crate) struct Stub;

impl Transport for Stub {
    fn answer(&self, request: &Outgoing<'_>) -> Result<Response, HttpError> {
        Ok(answer(request.method == Method::Delete, request.url.path()))
    }
}

/// The answer for a path.
pub(crate) fn answer(is_closure: bool, path: &str) -> Response {
    let headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        (
            "x-docusign-tracetoken".to_owned(),
            "0e4a9f4f-7b2a-4c39-9a43-0d9a1c2b3e4f".to_owned(),
        ),
    ];
    Response {
        status: 200,
        headers,
        body: body(is_closure, path).into_bytes(),
    }
}

fn body(is_closure: bool, path: &str) -> String {
    if is_closure {
        return format!(r#"{{"users":[{{"userId":"{LEAVER}","userStatus":"closed","uri":"/users/{LEAVER}"}}]}}"#);
    }
    match path {
        "/oauth/token" => {
            r#"{"access_token":"stub-access-token-stub-access-token","token_type":"Bearer","expires_in":3600}"#
                .to_owned()
        }
        "/oauth/userinfo" => format!(
            r#"{{"sub":"{CALLER}","name":"API","email":"api@acme.example","accounts":[{{"account_id":"{ACCOUNT}","is_default":true,"account_name":"Acme","base_uri":"https://demo.docusign.net"}}]}}"#
        ),
        _ if path.ends_with("/users") => format!(
            r#"{{"users":[{}],"resultSetSize":"1","totalSetSize":"1","startPosition":"0","endPosition":"0"}}"#,
            user("Active")
        ),
        _ => user("Closed"),
    }
}

fn user(status: &str) -> String {
    format!(
        r#"{{"userName":"Ann English","userId":"{LEAVER}","userType":"CompanyUser","isAdmin":"False","userStatus":"{status}","uri":"/users/{LEAVER}","email":"{EMAIL}","createdDateTime":"2024-05-01T10:00:00.0000000Z","permissionProfileId":"1234","permissionProfileName":"DocuSign Viewer"}}"#
    )
}
