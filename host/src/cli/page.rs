//! One page of a list, as all lists of the API give them.

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::{Client, read};
use crate::journal::MAX_PAGE;
use crate::text::printable;

/// Which page, and how it is shown.
#[derive(Debug, Args)]
pub(super) struct PageArgs {
    /// At most so many, up to 500.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// The page after this one, as the page before it says.
    #[arg(long)]
    cursor: Option<String>,
    /// Print the server's JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl PageArgs {
    /// Asks for the page of what fits these filters, of which those without a value are left out.
    pub(super) async fn get(
        &self,
        client: &Client,
        list: &str,
        filters: &[(&str, Option<&str>)],
    ) -> anyhow::Result<Value> {
        let limit = self.limit.map(|limit| limit.to_string());
        let page = [("limit", limit.as_deref()), ("cursor", self.cursor.as_deref())];
        let query: Vec<(&str, &str)> = filters
            .iter()
            .chain(&page)
            .filter_map(|(key, value)| Some((*key, (*value)?)))
            .collect();
        client.get(&["v1", list], &query).await
    }
}

/// The ids of all that fits in a list, to its end. `take` says a page's, and where the next one begins.
///
/// For what changes each of them: listed before the first is changed, so that none comes a second time.
pub(super) async fn all_ids<P: DeserializeOwned>(
    client: &Client,
    list: &str,
    filters: &[(&str, Option<&str>)],
    take: impl Fn(P) -> (Vec<String>, Option<String>),
) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    let mut page = PageArgs {
        limit: Some(MAX_PAGE),
        cursor: None,
        json: false,
    };
    loop {
        let (ids, next) = take(read(page.get(client, list, filters).await?)?);
        all.extend(ids);
        if next.is_none() {
            return Ok(all);
        }
        page.cursor = next;
    }
}

/// What stands under a page that is not the last one.
pub(super) fn more(next: Option<&str>) -> String {
    next.map(|next| format!("\nmore with --cursor {}\n", printable(next)))
        .unwrap_or_default()
}
