//! One page of a list, as all lists of the API give them.

use clap::Args;
use serde_json::Value;

use super::client::Client;
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

/// What stands under a page that is not the last one.
pub(super) fn more(next: Option<&str>) -> String {
    next.map(|next| format!("\nmore with --cursor {}\n", printable(next)))
        .unwrap_or_default()
}
