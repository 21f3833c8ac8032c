//! Makes events of what became of incidents and sources.

use jiff::Timestamp;
use uuid::Uuid;

use crate::flow::event::{
    ContentType, Event, EventPayload, EventType, EvidenceLink, FeatureType, IncidentFeature,
    IncidentProperties, Link, SlaStatus, SourceStatus, SourceView, SpecVersion, WGS84,
};
use crate::flow::incident::{Incident, Notice, Transition};
use crate::flow::position::Method;
use crate::flow::report::{Evidence, EvidenceKind};
use crate::geo::links::Links as PlaceLinks;

/// Makes events of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventMaker {
    source: String,
    base_url: Option<String>,
}

impl EventMaker {
    /// Makes events that name `source` (a URI reference such as `urn:emberwatch:gaoxin`). With `base_url`, links to
    /// evidence and incidents are absolute; without, they are relative to wherever the HTTP API is reached.
    #[must_use]
    pub fn new(source: impl Into<String>, base_url: Option<&str>) -> Self {
        Self {
            source: source.into(),
            base_url: base_url.map(|url| url.trim_end_matches('/').to_owned()),
        }
    }

    /// Returns the address of `path` (which starts with a slash) under the HTTP API.
    fn address(&self, path: &str) -> String {
        match &self.base_url {
            Some(base) => format!("{base}/api/v1{path}"),
            None => format!("/api/v1{path}"),
        }
    }

    /// Makes the event that says what `transition` made of `incident`, under a fresh `id`.
    #[must_use]
    pub fn incident(
        &self,
        id: Uuid,
        kind: EventType,
        incident: &Incident,
        transition: Option<&Transition>,
        notice: Option<Notice>,
        time: Timestamp,
    ) -> Event {
        Event {
            specversion: SpecVersion::V1,
            id,
            source: self.source.clone(),
            kind,
            subject: incident.id.to_string(),
            time,
            datacontenttype: ContentType::GeoJson,
            dataschema: "urn:emberwatch:schema:incident:v1".to_owned(),
            data: EventPayload::Incident(Box::new(of_incident(incident, transition, notice, |path| {
                self.address(path)
            }))),
        }
    }

    /// Makes the event that says what became of a source: how hard it is watched where `duty` is given, how far its clock
    /// is off where `clock_offset_s` is, otherwise its state; none where that state is nobody's concern outside.
    #[must_use]
    pub fn source(&self, id: Uuid, status: SourceStatus) -> Option<Event> {
        let kind = match (status.duty, status.clock_offset_s) {
            (Some(_), _) => EventType::SourceDuty,
            (None, Some(_)) => EventType::SourceClock,
            (None, None) => EventType::of_source(status.state)?,
        };
        Some(Event {
            specversion: SpecVersion::V1,
            id,
            source: self.source.clone(),
            kind,
            subject: status.source.to_string(),
            time: status.since,
            datacontenttype: ContentType::Json,
            dataschema: "urn:emberwatch:schema:source:v1".to_owned(),
            data: EventPayload::Source(status),
        })
    }
}

/// Makes the feature of an incident; `address` turns a path of the HTTP API into a link.
fn of_incident(
    incident: &Incident,
    transition: Option<&Transition>,
    notice: Option<Notice>,
    address: impl Fn(&str) -> String,
) -> IncidentFeature {
    let position = incident.position.as_ref();
    IncidentFeature {
        kind: FeatureType::Feature,
        id: incident.id,
        geometry: position.map(|position| position.point.into()),
        properties: IncidentProperties {
            incident: incident.id,
            revision: incident.revision,
            state: incident.state,
            first_seen: incident.first_seen,
            last_seen: incident.last_seen,
            late: incident.late,
            drill: incident.drill,
            class: incident.class,
            confidence: incident.confidence,
            sources: incident
                .views
                .iter()
                .map(|view| SourceView {
                    id: view.source.clone(),
                    mount: view.mount,
                    liveness: view.liveness,
                    class: view.class,
                    confidence: view.score,
                    bearing: view.bearing,
                })
                .collect(),
            bearing: incident.bearing,
            crs: WGS84.to_owned(),
            height_m: position.map(|position| position.height.metres),
            height_datum: position.map(|position| position.height.datum),
            ce90_m: position.map(|position| position.ce90_m),
            ellipse: position.map(|position| position.ellipse),
            hypotheses: incident.hypotheses.clone(),
            method: position.map_or(Method::BearingOnly, |position| position.method),
            grid: incident.grid.clone(),
            candidates: incident.candidates.clone(),
            sla: incident.sla.as_ref().map(|sla| SlaStatus {
                profile: sla.profile.clone(),
                starts: sla.starts,
                milestones: sla.milestones.clone(),
            }),
            checklist: incident.checklist.clone(),
            evidence: incident
                .evidence
                .iter()
                // Frames are kept for training: whoever puts a fire out has the snapshot.
                .filter(|file| file.kind != EvidenceKind::Frame)
                .map(|file| link_of(file, &address))
                .collect(),
            model: incident.model.clone(),
            reject_reason: incident.reject_reason,
            return_reason: incident.return_reason,
            merged_into: incident.merged_into,
            merged_from: incident.merged_from.clone(),
            split_from: incident.split_from,
            transition: transition.cloned(),
            notice,
            links: links_of(incident, &address),
        },
    }
}

fn link_of(file: &Evidence, address: impl Fn(&str) -> String) -> EvidenceLink {
    EvidenceLink {
        kind: file.kind,
        sha256: file.sha256.clone(),
        uri: address(&format!("/evidence/{}", file.name)),
        captured_at: file.captured.at,
        bytes: file.bytes,
        name: file.name.clone(),
    }
}

fn links_of(incident: &Incident, address: impl Fn(&str) -> String) -> Vec<Link> {
    let link = |rel: &str, href: String| Link {
        rel: rel.to_owned(),
        href,
    };
    let mut links = vec![
        link("self", address(&format!("/incidents/{}", incident.id))),
        link("history", address(&format!("/incidents/{}/history", incident.id))),
    ];
    if let Some(position) = &incident.position {
        let cell = incident.grid.as_ref();
        // What the driver reads at the marker: short, since it stands in the link letter by letter.
        let name = cell
            .and_then(|cell| cell.village.as_deref().or(cell.township.as_deref()))
            .unwrap_or("火点");
        let to = PlaceLinks::to(position.point, name, Some(position.ce90_m));
        links.extend([
            link("amap", to.amap),
            link("baidu", to.baidu),
            link("tianditu", to.tianditu),
            link("geo", to.geo),
        ]);
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::source::{SourceId, SourceState};
    use crate::stages::publish::samples;

    fn rels(event: &Event) -> Vec<(&str, &str)> {
        let links = &event.incident().expect("an incident").properties.links;
        links
            .iter()
            .map(|link| (link.rel.as_str(), link.href.as_str()))
            .collect()
    }

    #[test]
    fn a_located_fire_can_be_driven_to_and_one_without_a_point_cannot() {
        let event = samples::confirmed();
        let links = rels(&event);
        let names: Vec<&str> = links.iter().map(|(rel, _)| *rel).collect();
        assert_eq!(names, ["self", "history", "amap", "baidu", "tianditu", "geo"]);
        // 35.19012, 113.25034 in WGS 84 lies elsewhere on a map that is shifted.
        assert!(links[2].1.contains("to=113.256"), "{}", links[2].1);
        assert!(
            links[5].1.starts_with("geo:35.190120,113.250340;u=44"),
            "{}",
            links[5].1
        );
        assert_eq!(rels(&samples::bearing_only()).len(), 2);
    }

    #[test]
    fn a_source_that_only_connects_is_nobodys_concern() {
        let maker = EventMaker::new("urn:emberwatch:test", None);
        let status = |state| SourceStatus {
            source: SourceId::new("tower-1"),
            state,
            since: Timestamp::UNIX_EPOCH,
            detail: None,
            duty: None,
            clock_offset_s: None,
        };
        assert_eq!(maker.source(Uuid::nil(), status(SourceState::Connecting)), None);
        let blind = maker
            .source(Uuid::nil(), status(SourceState::Blind))
            .expect("a blind camera is an event");
        assert_eq!(
            (blind.kind, blind.subject.as_str()),
            (EventType::SourceBlind, "tower-1")
        );
    }
}
