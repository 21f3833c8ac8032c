//! Where bearings and points of several cameras meet, and where they do not.

use super::*;
use crate::geo::ellipsoid::destination;

const FIRE: Wgs84 = Wgs84 {
    lat: 35.2,
    lon: 113.25,
};

fn tower(azimuth_deg: f64, range_m: f64, sees: Wgs84) -> Sight {
    let from = destination(FIRE, azimuth_deg, range_m);
    Sight {
        position: None,
        bearing: Some(Bearing {
            from,
            azimuth_deg: distance_azimuth(from, sees).1,
            elevation_deg: -1.0,
            sigma_deg: 0.2,
        }),
    }
}

#[test]
fn two_bearings_cross_at_the_fire() {
    let joined = join(&[tower(180.0, 3_000.0, FIRE), tower(270.0, 3_000.0, FIRE)], 0.9).unwrap();
    assert!(distance_m(joined.position.point, FIRE) < 0.01);
    assert!((joined.crossing_deg - 90.0).abs() < 0.1);
    // 3 km × 0.2° = 10.5 m along each axis: CE90 = 2.146 × 10.5.
    assert!(
        (joined.position.ce90_m - 22.5).abs() < 0.3,
        "{}",
        joined.position.ce90_m
    );
}

#[test]
fn cameras_on_one_mast_give_no_range() {
    let refusal = join(&[tower(180.0, 3_000.0, FIRE), tower(180.0, 2_950.0, FIRE)], 0.9).unwrap_err();
    assert!(matches!(refusal, ViewRefusal::SameMast { apart_m } if (apart_m - 50.0).abs() < 0.1));
}

#[test]
fn bearings_that_are_nearly_parallel_are_refused() {
    let refusal = join(&[tower(180.0, 3_000.0, FIRE), tower(190.0, 3_000.0, FIRE)], 0.9).unwrap_err();
    assert!(
        matches!(refusal, ViewRefusal::NearlyParallel { crossing_deg } if (crossing_deg - 10.0).abs() < 0.1)
    );
    assert!(join(&[tower(180.0, 3_000.0, FIRE), tower(196.0, 3_000.0, FIRE)], 0.9).is_ok());
}

#[test]
fn bearings_that_meet_behind_a_camera_are_refused() {
    let mut turned = tower(270.0, 3_000.0, FIRE);
    if let Some(bearing) = &mut turned.bearing {
        bearing.azimuth_deg += 180.0;
    }
    assert_eq!(
        join(&[tower(180.0, 3_000.0, FIRE), turned], 0.9).unwrap_err(),
        ViewRefusal::Behind
    );
}

#[test]
fn a_third_view_of_something_else_is_a_contradiction() {
    let elsewhere = destination(FIRE, 45.0, 400.0);
    let sights = [
        tower(180.0, 3_000.0, FIRE),
        tower(270.0, 3_000.0, FIRE),
        tower(45.0 + 90.0, 3_000.0, elsewhere),
    ];
    assert!(matches!(
        join(&sights, 0.9).unwrap_err(),
        ViewRefusal::Contradiction { .. }
    ));
}

#[test]
fn ghosts_stay_hypotheses_until_a_third_view_decides() {
    let other = destination(FIRE, 60.0, 700.0);
    let seen_by = |azimuth: f64| vec![tower(azimuth, 3_000.0, FIRE), tower(azimuth, 3_000.0, other)];
    let two = hypotheses(&[seen_by(180.0), seen_by(270.0)], 0.9);
    assert_eq!(two.len(), 4, "two fires and two ghosts");
    assert!(two.iter().all(|hypothesis| hypothesis.may_be_ghost));

    let three = hypotheses(&[seen_by(180.0), seen_by(270.0), seen_by(225.0)], 0.9);
    assert_eq!(three.len(), 2, "{three:#?}");
    for fire in [FIRE, other] {
        assert!(three.iter().any(|found| {
            !found.may_be_ghost
                && found.members.len() == 3
                && distance_m(found.joined.position.point, fire) < 5.0
        }));
    }
}

#[test]
fn a_hidden_base_counts_only_by_its_bearing() {
    let mut long = tower(180.0, 3_000.0, FIRE);
    let joined = join(&[long, tower(270.0, 3_000.0, FIRE)], 0.9).unwrap();
    long.position = Some(Position {
        point: destination(FIRE, 0.0, 2_000.0),
        base_hidden: true,
        ..joined.position
    });
    let again = join(&[long, tower(270.0, 3_000.0, FIRE)], 0.9).unwrap();
    assert!(distance_m(again.position.point, FIRE) < 0.01);
}

#[test]
fn the_limits_of_chi_squared_meet_the_tables() {
    for (freedom, expected) in [(1, 6.635), (2, 9.210), (5, 15.086)] {
        assert!((chi_squared_limit(freedom, 0.01) - expected).abs() < 0.15);
    }
}

fn point(east_m: f64, north_m: f64, radius_m: f64) -> Sight {
    let at = crate::geo::ellipsoid::FlatMap::around(FIRE).point(east_m, north_m);
    Sight {
        position: Some(Position {
            point: at,
            height: Height::new(90.0, HeightDatum::Egm2008),
            ellipse: Covariance {
                ee: (radius_m / 2.146).powi(2),
                en: 0.0,
                nn: (radius_m / 2.146).powi(2),
            }
            .ellipse(0.9),
            ce90_m: radius_m,
            method: Method::RayTerrain,
            base_hidden: false,
        }),
        bearing: None,
    }
}

#[test]
fn the_view_that_contradicts_two_others_is_left_out() {
    let sights = [
        tower(180.0, 3_000.0, FIRE),
        point(4.0, -3.0, 30.0),
        tower(270.0, 3_000.0, destination(FIRE, 0.0, 300.0)),
    ];
    let combined = combine(&sights, 0.9).unwrap();
    assert_eq!(combined.left_out, [2]);
    assert!(combined.agrees && distance_m(combined.position.point, FIRE) < 10.0);
    let agreed = combine(&sights[..2], 0.9).unwrap();
    assert!(agreed.left_out.is_empty() && agreed.agrees);
}

#[test]
fn two_views_that_contradict_each_other_give_an_ellipse_that_holds_both() {
    let apart = [point(-60.0, 0.0, 20.0), point(60.0, 0.0, 20.0)];
    assert!(matches!(
        join(&apart, 0.9),
        Err(ViewRefusal::Contradiction { .. })
    ));
    let combined = combine(&apart, 0.9).unwrap();
    assert!(!combined.agrees && combined.left_out.is_empty());
    let spread = Covariance::of_ellipse(&combined.position.ellipse);
    for east_m in [-60.0, 60.0] {
        assert!(spread.mahalanobis_squared(east_m, 0.0) <= 4.605, "{combined:?}");
    }
    assert!(combined.position.ce90_m > 60.0);
}

#[test]
fn of_two_cameras_on_one_mast_the_more_exact_speaks() {
    let fine = tower(180.0, 3_000.0, FIRE);
    let mut coarse = tower(180.0, 2_950.0, destination(FIRE, 90.0, 40.0));
    if let Some(bearing) = &mut coarse.bearing {
        bearing.sigma_deg = 1.0;
    }
    assert_eq!(combine(&[coarse, fine], 0.9), None, "one mast measures no range");
    let with = combine(&[coarse, fine, tower(270.0, 3_000.0, FIRE)], 0.9).unwrap();
    let without = combine(&[fine, tower(270.0, 3_000.0, FIRE)], 0.9).unwrap();
    assert_eq!(with.position, without.position);
}

#[test]
fn three_bearings_of_which_none_can_be_trusted_give_no_point() {
    let elsewhere = destination(FIRE, 45.0, 400.0);
    let sights = [
        tower(180.0, 3_000.0, FIRE),
        tower(270.0, 3_000.0, FIRE),
        tower(135.0, 3_000.0, elsewhere),
    ];
    assert_eq!(combine(&sights, 0.9), None, "any two of them cross somewhere");
}
