//! The page that shows everything on one map (一张图). It holds no data: it asks for a token and reads the API with it.

use axum::response::Html;

/// Serves the page.
pub(crate) async fn index() -> Html<&'static str> {
    Html(include_str!("page.html"))
}
