//! Speaks HTTP with the server, like anyone.

use std::path::{Path, PathBuf};

use bellwether_api::ErrorBody;
use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// How to find the server. On its own machine `--data` is enough: address and token are read from there.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "The server")]
pub(crate) struct Server {
    /// The server's data folder: address and token are read from it
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_DATA",
        default_value = "bellwether-data",
        value_name = "DIR"
    )]
    data: PathBuf,
    /// The server's address, e.g. `http://127.0.0.1:8080` [default: DATA/listening.json]
    #[arg(long = "server", id = "server", global = true, env = "BELLWETHER_SERVER", value_name = "URL")]
    url: Option<String>,
    /// File that holds the token [default: DATA/http.token]
    #[arg(long, global = true, env = "BELLWETHER_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Who does this, for the ledger; orders have a --who of their own, which counts before this
    #[arg(long, global = true, env = "BELLWETHER_OPERATOR", value_name = "NAME")]
    operator: Option<String>,
    /// Why it is done, for the ledger; orders have a --why of their own
    #[arg(long, global = true, value_name = "TEXT")]
    reason: Option<String>,
}

/// What a running server leaves in its data folder.
#[derive(Deserialize)]
struct Listening {
    http: String,
}

/// A server that can be asked.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
    /// Headers that say who does this and why.
    said: Vec<(&'static str, String)>,
}

impl Client {
    /// Reads address and token.
    ///
    /// # Errors
    ///
    /// [`Failure::File`] names what is missing and what to do.
    pub(crate) fn new(server: &Server) -> Result<Self, Failure> {
        let url = server.url.clone().map_or_else(|| address(&server.data), Ok)?;
        let token_file = server.token_file.clone().unwrap_or_else(|| server.data.join("http.token"));
        let token = std::fs::read_to_string(&token_file).map_err(|error| {
            Failure::file(
                &token_file,
                format!("{error}; name the server's token with --token-file or --data"),
            )
        })?;
        let token = token.trim().to_owned();
        let said = [("x-bellwether-who", &server.operator), ("x-bellwether-why", &server.reason)];
        let said = said
            .into_iter()
            .filter_map(|(name, text)| Some((name, percent_encoded(text.as_ref()?).to_string())));
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { http: reqwest::Client::new(), url, token, said: said.collect() })
    }

    /// Asks for one thing.
    ///
    /// # Errors
    ///
    /// [`Failure::Unreachable`], [`Failure::Refused`], [`Failure::Foreign`].
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends JSON.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Sends JSON by a method of one's own choice.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub(crate) async fn send_json<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.send(self.request(method, path).json(body)).await
    }

    /// Removes one thing.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Sends bytes, with what they are in the query.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        bytes: Vec<u8>,
    ) -> Result<T, Failure> {
        let path = match query_text(query) {
            text if text.is_empty() => path.to_owned(),
            text => format!("{path}?{text}"),
        };
        self.send(self.request(method, &path).body(bytes)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        self.said.iter().fold(request, |request, (name, text)| request.header(*name, text))
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return response.json().await.map_err(|error| self.foreign(&error));
        }
        Err(self.refusal(response).await)
    }

    async fn refusal(&self, response: Response) -> Failure {
        let status = response.status();
        match response.json::<ErrorBody>().await {
            Ok(body) => Failure::Refused(body),
            Err(_) => Failure::Foreign { url: self.url.clone(), reason: format!("HTTP {status}") },
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable { url: self.url.clone(), reason: deepest(error) }
    }

    fn foreign(&self, error: &reqwest::Error) -> Failure {
        Failure::Foreign { url: self.url.clone(), reason: deepest(error) }
    }
}

fn address(data: &Path) -> Result<String, Failure> {
    let path = data.join("listening.json");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::file(&path, format!("{error}; is the server running? Name it with --data or --server"))
    })?;
    let listening: Listening = serde_json::from_str(&text).map_err(|error| Failure::file(&path, error))?;
    Ok(format!("http://{}", listening.http))
}

/// Joins a query, its values percent-encoded.
fn query_text(query: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        query.iter().map(|(key, value)| format!("{key}={}", percent_encoded(value))).collect();
    pairs.join("&")
}

/// Percent-encodes one path segment or query value.
pub(crate) fn percent_encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

/// Everything but unreserved characters (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The last cause says most: "connection refused" rather than "error sending request".
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_percent_encoded() {
        assert_eq!(query_text(&[("class", "a b&c"), ("version", "1.0")]), "class=a%20b%26c&version=1.0");
    }
}
