//! What people and systems do with incidents, and what stops them.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_decide_who_sees_and_does_what() {
    let house = House::open("");
    for token in ["", "wrong", EXPIRED] {
        let (status, problem) = house.get("/api/v1/incidents", token).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{token:?}");
        assert_eq!(problem["type"], "urn:emberwatch:problem:unauthorized");
    }
    let (status, list) = house.get("/api/v1/incidents", VIEWER).await;
    assert_eq!(
        (status, list["incidents"].as_array().unwrap().len()),
        (StatusCode::OK, 3)
    );
    let (_, list) = house.get("/api/v1/incidents", ELSEWHERE).await;
    assert_eq!(list["incidents"], json!([]));
    let one = format!("/api/v1/incidents/{}", id(1));
    assert_eq!(house.get(&one, ELSEWHERE).await.0, StatusCode::FORBIDDEN);
    assert_eq!(
        house
            .get(
                "/api/v1/incidents?township=%E9%98%B3%E5%BA%99%E9%95%87",
                ELSEWHERE
            )
            .await
            .0,
        StatusCode::FORBIDDEN
    );
    let confirm = json!({ "action": "confirm" });
    assert_eq!(house.act(1, VIEWER, &confirm).await.0, StatusCode::FORBIDDEN);
    assert_eq!(house.act(1, DISPATCH, &confirm).await.0, StatusCode::FORBIDDEN);
    assert_eq!(house.revision(1), 1);
    assert_eq!(house.act(1, OPERATOR, &confirm).await.0, StatusCode::OK);
    let audited = house.audited();
    let line = |name: &str, done: bool| (name.to_owned(), "confirm".to_owned(), done);
    assert_eq!(
        audited,
        [
            line("viewer-1", false),
            line("dispatch-1", false),
            line("operator-1", true)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_goes_its_way_and_illegal_stale_and_unknown_steps_change_nothing() {
    let house = House::open("");
    let (status, done) = house
        .act(1, OPERATOR, &json!({ "action": "confirm", "note": "看到了" }))
        .await;
    assert_eq!(
        (status, &done["incident"]["state"]),
        (StatusCode::OK, &json!("confirmed"))
    );
    assert_eq!(
        house.act(1, OPERATOR, &json!({ "action": "dispatch" })).await.0,
        StatusCode::OK
    );
    for action in ["accept", "arrive", "extinguish"] {
        let (status, _) = house.act(1, DISPATCH, &json!({ "action": action })).await;
        assert_eq!(status, StatusCode::OK, "{action}");
    }
    let revision = house.revision(1);
    // What comes twice is already so; what comes too late is refused.
    let (status, done) = house.act(1, DISPATCH, &json!({ "action": "extinguish" })).await;
    assert_eq!((status, &done["changed"]), (StatusCode::OK, &json!([])));
    let (status, problem) = house.act(1, DISPATCH, &json!({ "action": "accept" })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["type"], "urn:emberwatch:problem:illegal-transition");
    let path = format!("/api/v1/incidents/{}/acts", id(1));
    let stale = house
        .request(Method::POST, &path, OPERATOR)
        .header("if-match", "\"1\"");
    let (status, problem) = answer(stale.json(&json!({ "action": "close" }))).await;
    assert_eq!(
        (status, &problem["type"]),
        (
            StatusCode::PRECONDITION_FAILED,
            &json!("urn:emberwatch:problem:stale-revision")
        )
    );
    let (status, _) = house.act(77, OPERATOR, &json!({ "action": "confirm" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    for (body, expected) in [
        ("{", StatusCode::BAD_REQUEST),
        (r#"{"action":"explode"}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (
            r#"{"action":"close","colour":1}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let request = house.request(Method::POST, &path, OPERATOR).body(body);
        assert_eq!(answer(request).await.0, expected, "{body}");
    }
    assert_eq!(house.revision(1), revision);
    let (_, history) = house
        .get(&format!("/api/v1/incidents/{}/history", id(1)), VIEWER)
        .await;
    assert_eq!(history.as_array().unwrap().len() as u64, revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_are_merged_by_hand() {
    let house = House::open("");
    let (status, done) = house
        .act(2, OPERATOR, &json!({ "action": "merge", "into": id(1) }))
        .await;
    assert_eq!(status, StatusCode::OK, "{done}");
    assert_eq!(done["incident"]["state"], "merged");
    assert_eq!(done["changed"].as_array().unwrap().len(), 2);
    let (status, _) = house
        .act(2, OPERATOR, &json!({ "action": "split", "sources": ["tower-1"] }))
        .await;
    assert!(status.is_client_error());
    // The taker is seen by tower-1 twice now; what another source saw can be taken out again.
    let (status, problem) = house
        .act(1, OPERATOR, &json!({ "action": "split", "sources": ["tower-9"] }))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    let (status, done) = house
        .act(3, OPERATOR, &json!({ "action": "split", "sources": ["drone-1"] }))
        .await;
    assert_eq!(status, StatusCode::OK, "{done}");
    let made = &done["changed"][1];
    assert_eq!(made["split_from"], json!(id(3)));
    let (_, history) = house
        .get(
            &format!("/api/v1/incidents/{}/history", made["id"].as_str().unwrap()),
            OPERATOR,
        )
        .await;
    assert_eq!(history[0]["kind"], "split");
    assert_eq!(history[0]["others"], json!([id(3)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_is_switched_by_the_operator_of_the_whole_area_and_written_down() {
    let house = House::open("");
    let put = async |token: &str, body: &'static str| {
        answer(house.request(Method::PUT, "/api/v1/drill", token).body(body)).await
    };
    assert_eq!(house.get("/api/v1/drill", VIEWER).await.1, json!({ "on": false }));
    assert_eq!(put(DISPATCH, r#"{"on":true}"#).await.0, StatusCode::FORBIDDEN);
    assert_eq!(put(OPERATOR, r#"{"on":1}"#).await.0, StatusCode::BAD_REQUEST);
    assert!(!house.desk.is_drill());
    assert_eq!(put(OPERATOR, r#"{"on":true}"#).await.1, json!({ "on": true }));
    assert!(house.desk.is_drill());
    let drills = house.audited().into_iter().filter(|line| line.1 == "drill");
    assert_eq!(
        drills.map(|line| line.2).collect::<Vec<_>>(),
        [false, false, true]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gets_the_same_answer_and_acts_once() {
    let house = House::open("");
    let path = format!("/api/v1/incidents/{}/acts", id(1));
    let send = async |key: &str, body: Value| {
        let request = house
            .request(Method::POST, &path, OPERATOR)
            .header("idempotency-key", key);
        let response = request.json(&body).send().await.unwrap();
        let replayed = response.headers().contains_key("idempotency-replayed");
        (response.status(), replayed, response.text().await.unwrap())
    };
    let note = json!({ "action": "note", "note": "once" });
    let (status, replayed, first) = send("k1", note.clone()).await;
    assert_eq!((status, replayed), (StatusCode::OK, false));
    let revision = house.revision(1);
    let (status, replayed, again) = send("k1", note.clone()).await;
    assert_eq!((status, replayed, again == first), (StatusCode::OK, true, true));
    assert_eq!(house.revision(1), revision);
    let (status, _, _) = send("k1", json!({ "action": "note", "note": "other" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    send("k2", note).await;
    assert_eq!(house.revision(1), revision + 1);
    assert_eq!(send(&"k".repeat(201), json!({})).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn etags_spare_what_has_not_changed() {
    let house = House::open("");
    let path = format!("/api/v1/incidents/{}", id(1));
    let response = house.request(Method::GET, &path, VIEWER).send().await.unwrap();
    let tag = response.headers()["etag"].clone();
    let again = house
        .request(Method::GET, &path, VIEWER)
        .header("if-none-match", &tag);
    assert_eq!(again.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    house.act(1, OPERATOR, &json!({ "action": "confirm" })).await;
    let again = house
        .request(Method::GET, &path, VIEWER)
        .header("if-none-match", &tag);
    assert_eq!(again.send().await.unwrap().status(), StatusCode::OK);
}
