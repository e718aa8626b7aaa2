//! What stands around every page, and the page of what went wrong.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use super::assets::EDITION;
use super::visitor::Visitor;
use crate::disk::Fault;
use crate::ingress::access::Right;
use crate::ingress::http::status_of;
use crate::refusal::Refusal;

/// What the frame of a page shows.
pub(super) struct Frame {
    /// Distinguishes assets of different versions.
    pub(super) edition: &'static str,
    /// Which part of the page is open.
    pub(super) section: &'static str,
    /// Who is logged in; `None` on the page of the login.
    pub(super) who: Option<Who>,
}

/// Who is logged in.
pub(super) struct Who {
    /// As they call themselves.
    pub(super) name: Option<String>,
    /// Whether they may change anything.
    pub(super) operates: bool,
    /// What forms bring back.
    pub(super) form_token: String,
}

impl Frame {
    /// Makes the frame of a visitor's page.
    pub(super) fn new(visitor: &Visitor, section: &'static str) -> Self {
        let who = Who {
            name: visitor.session.who.clone(),
            operates: visitor.session.right == Right::Operate,
            form_token: visitor.session.form_token.clone(),
        };
        Self { edition: EDITION.as_str(), section, who: Some(who) }
    }

    /// Makes the frame of a page that everybody sees.
    pub(super) fn outside() -> Self {
        Self { edition: EDITION.as_str(), section: "", who: None }
    }

    /// Whether the visitor may change anything.
    pub(super) fn operates(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.operates)
    }

    /// What the visitor's forms bring back.
    pub(super) fn form_token(&self) -> &str {
        self.who.as_ref().map_or("", |who| &who.form_token)
    }
}

/// Makes an answer of a template.
pub(super) fn html(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a page can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Why a page is not there.
pub(super) struct Failed {
    status: StatusCode,
    message: String,
    fault: Option<Fault>,
}

#[derive(Template)]
#[template(path = "failed.html")]
struct FailedPage<'a> {
    frame: Frame,
    status: StatusCode,
    message: &'a str,
}

impl Failed {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), fault: None }
    }

    /// Makes the page that says so.
    pub(super) fn answer(self, visitor: &Visitor) -> Response {
        let page = FailedPage { frame: Frame::new(visitor, ""), status: self.status, message: &self.message };
        let mut response = html(self.status, &page);
        if let Some(fault) = self.fault {
            response.extensions_mut().insert(fault);
        }
        response
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        let fault = refusal.cause().and_then(Fault::of);
        let body = refusal.body();
        Self { status: status_of(body.code), message: body.message, fault }
    }
}
