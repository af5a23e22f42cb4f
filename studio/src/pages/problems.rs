use axum::response::{Html, IntoResponse, Response};
use http::{Method, header};
use maud::html;
use watertight::{
    door::{Route, Routes, open},
    problem::status_of_type,
};
use watertight_terms::ProblemType;

use super::frame::{CSP, frame};
use crate::problems;

/// A page for each problem, at the URI that answers name as its `type`.
pub(super) fn routes(routes: Routes) -> Routes {
    problems::all().fold(routes, |routes, problem| {
        routes.route(problem.uri(), page(problem))
    })
}

fn page(problem: &'static ProblemType) -> Route {
    open(Method::GET, move || async move { shown(problem) })
        .public("what a problem means is the same for everybody")
}

fn shown(problem: &ProblemType) -> Response {
    let body = html! {
        p { (problem.about()) }
        p class="quiet" { "Status " (status_of_type(problem)) ", type " code { (problem.uri()) } }
    };
    let page = frame(problem.title(), None, &body).into_string();
    let mut response = Html(page).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, CSP);
    response
}
