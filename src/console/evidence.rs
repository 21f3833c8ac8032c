//! Evidence over HTTP: whole or in part, to those who may see it, each read written down first.

use std::io::SeekFrom;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::access::Caller;
use super::incidents::{audit, blocking};
use super::problem::Problem;
use super::server::Shared;
use crate::flow::report::media_type;
use crate::stages::publish::evidence::is_plain_name;
use crate::store::AuditEntry;

/// How much of a file is in memory for each reader, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads a file of evidence.
#[utoipa::path(get, path = "/api/v1/evidence/{name}", tag = "evidence",
    params(("name" = String, Path, description = "The file's name, as an incident's evidence gives it"),
        ("Range" = Option<String>, Header, description = "One range of bytes")),
    responses(
        (status = 200, description = "The file; `ETag` is its SHA-256"),
        (status = 206, description = "The part that was asked for"),
        (status = 304, description = "Not changed"),
        (status = 400, description = "No plain file name", body = ref("#/components/schemas/Problem")),
        (status = 403, description = "Outside the token's area", body = ref("#/components/schemas/Problem")),
        (status = 404, description = "No such file", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "Deleted by retention", body = ref("#/components/schemas/Problem")),
        (status = 416, description = "The range lies outside the file", body = ref("#/components/schemas/Problem")),
    ),
    security(("token" = [])))]
pub(crate) async fn file(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let store = shared.desk.store().clone();
    let outcome = open(&shared, &caller, &name).await;
    // A name from outside goes into the audit cut short, and never into a path unless it is plain.
    let entry = AuditEntry {
        at: shared.clock.wall(),
        actor: caller.actor(),
        action: "read_evidence".to_owned(),
        subject: name.chars().take(200).collect(),
        done: outcome.is_ok(),
        detail: outcome.as_ref().err().map(|problem| problem.detail.clone()),
    };
    audit(&store, entry).await?;
    let opened = outcome?;
    serve(opened, &name, &headers).await
}

struct Opened {
    file: tokio::fs::File,
    length: u64,
    sha256: String,
}

async fn open(shared: &Arc<Shared>, caller: &Caller, name: &str) -> Result<Opened, Problem> {
    if !is_plain_name(name) {
        return Err(Problem::bad_request("the name of evidence is a plain file name"));
    }
    let (store, wanted) = (shared.desk.store().clone(), name.to_owned());
    let known = blocking(move || store.evidence(&wanted))
        .await?
        .ok_or_else(|| Problem::not_found("evidence"))?;
    let (store, id) = (shared.desk.store().clone(), known.incident);
    let incident = blocking(move || store.incident(id))
        .await?
        .ok_or_else(|| Problem::not_found("evidence"))?;
    caller.check_area(&incident)?;
    if known.deleted_at.is_some() {
        let detail = "retention has deleted this file; its SHA-256 is kept";
        return Err(Problem::new(StatusCode::GONE, "deleted", detail));
    }
    let path = shared.desk.store().evidence_folder().join(name);
    let is_file = tokio::fs::symlink_metadata(&path)
        .await
        .is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err(Problem::not_found("evidence"));
    }
    let opened = tokio::fs::File::open(&path).await;
    let file = opened.map_err(|_error| Problem::not_found("evidence"))?;
    let metadata = file.metadata().await;
    let length = metadata.map_err(|_error| Problem::not_found("evidence"))?.len();
    Ok(Opened {
        file,
        length,
        sha256: known.file.sha256,
    })
}

async fn serve(opened: Opened, name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let Opened {
        mut file,
        length,
        sha256,
    } = opened;
    let tag = HeaderValue::from_str(&format!("\"{sha256}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    let is_known = headers.get(header::IF_NONE_MATCH) == Some(&tag);
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    // A range of a file that has changed since would not fit what the reader has.
    let range = range.filter(|_| headers.get(header::IF_RANGE).is_none_or(|known| *known == tag));
    let (first, count, status) = match range.map(|range| parse_range(range, length)) {
        None | Some(RangeWish::Whole) => (0, length, StatusCode::OK),
        Some(RangeWish::Part(first, last)) => (first, last - first + 1, StatusCode::PARTIAL_CONTENT),
        Some(RangeWish::Outside) => {
            let detail = format!("the file has {length} bytes");
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", detail);
            let mut response = problem.into_response();
            insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{length}"));
            return Ok(response);
        }
    };
    file.seek(SeekFrom::Start(first))
        .await
        .map_err(|_error| Problem::not_found("evidence"))?;
    let mut response = (status, body(file, count)).into_response();
    insert(&mut response, header::CONTENT_LENGTH, &count.to_string());
    insert(&mut response, header::CONTENT_TYPE, media_type(name));
    insert(&mut response, header::ACCEPT_RANGES, "bytes");
    insert(&mut response, header::CACHE_CONTROL, "private, max-age=3600");
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {first}-{}/{length}", first + count - 1);
        insert(&mut response, header::CONTENT_RANGE, &part);
    }
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Reads `count` bytes of a file as they are sent.
fn body(file: tokio::fs::File, count: u64) -> Body {
    let chunks = stream::try_unfold((file, count), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let mut chunk = vec![0; wanted];
        let read = file.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        }
        chunk.truncate(read);
        Ok(Some((Bytes::from(chunk), (file, left - read as u64))))
    });
    Body::from_stream(chunks)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RangeWish {
    /// None, or one that is not understood and so ignored, as RFC 9110 asks.
    Whole,
    /// First and last byte, both inside.
    Part(u64, u64),
    /// Nothing of it lies in the file.
    Outside,
}

fn parse_range(text: &str, length: u64) -> RangeWish {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .filter(|ranges| !ranges.contains(','))
        .and_then(|range| range.split_once('-'))
    else {
        return RangeWish::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (number(first), number(last)) {
        (Some(first), _) if first >= length => RangeWish::Outside,
        (Some(first), Some(last)) if first <= last => RangeWish::Part(first, last.min(length - 1)),
        (Some(first), None) if last.trim().is_empty() => RangeWish::Part(first, length - 1),
        (None, Some(0)) if first.trim().is_empty() => RangeWish::Outside,
        (None, Some(_)) if first.trim().is_empty() && length == 0 => RangeWish::Outside,
        (None, Some(tail)) if first.trim().is_empty() => {
            RangeWish::Part(length.saturating_sub(tail), length - 1)
        }
        _ => RangeWish::Whole,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_first_last_or_tail() {
        for (range, expected) in [
            ("bytes=0-9", RangeWish::Part(0, 9)),
            ("bytes=90-", RangeWish::Part(90, 99)),
            ("bytes=-10", RangeWish::Part(90, 99)),
            ("bytes=-1000", RangeWish::Part(0, 99)),
            ("bytes=50-1000", RangeWish::Part(50, 99)),
            ("bytes=100-", RangeWish::Outside),
            ("bytes=-0", RangeWish::Outside),
            ("bytes=9-0", RangeWish::Whole),
            ("bytes=0-1,5-6", RangeWish::Whole),
            ("lines=0-1", RangeWish::Whole),
            ("bytes=a-b", RangeWish::Whole),
        ] {
            assert_eq!(parse_range(range, 100), expected, "{range}");
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_inside_the_file(range in "bytes=[0-9]{0,20}-[0-9]{0,20}", length in 0_u64..1000) {
            if let RangeWish::Part(first, last) = parse_range(&range, length) {
                prop_assert!(first <= last && last < length);
            }
        }
    }
}
