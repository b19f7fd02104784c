use super::*;
use serde_json::json;

use BmcCondition::{Critical, Warning};

fn bad(said: &Said) -> Option<BmcCondition> {
    match said {
        Said::Bad(condition, words) => {
            assert!(!words.is_empty());
            Some(*condition)
        }
        Said::NotThere | Said::NotTold | Said::Good => None,
    }
}

fn temperature(celsius: f64) -> Value {
    json!({"Name": "Inlet", "ReadingCelsius": celsius, "UpperThresholdNonCritical": 38,
        "UpperThresholdCritical": 42, "LowerThresholdCritical": -7, "Status": {"Health": "OK", "State": "Enabled"}})
}

#[test]
fn a_temperature_is_compared_with_its_limits_whatever_its_health_says() {
    for (celsius, condition) in [
        (21.0, None),
        (37.9, None),
        (38.0, Some(Warning)),
        (41.0, Some(Warning)),
        (42.0, Some(Critical)),
        (90.0, Some(Critical)),
        (-7.0, Some(Warning)),
    ] {
        assert_eq!(bad(&of_part(BmcPartKind::Temperature, &temperature(celsius))), condition, "{celsius}");
    }
    let Said::Bad(_, words) = of_part(BmcPartKind::Temperature, &temperature(42.5)) else { panic!("good") };
    assert_eq!(words, "42.5 Cel, critical from 42 Cel on");
}

#[test]
fn limits_and_values_that_cannot_be_meant_are_none() {
    let with = |changes: &[(&str, Value)]| {
        let mut part = temperature(30.0);
        for (name, value) in changes {
            part[*name] = value.clone();
        }
        of_part(BmcPartKind::Temperature, &part)
    };
    assert_eq!(
        with(&[("UpperThresholdCritical", json!(0)), ("UpperThresholdNonCritical", json!(0))]),
        Said::Good
    );
    let crossed = [
        ("UpperThresholdCritical", json!(20)),
        ("LowerThresholdCritical", json!(25)),
        ("UpperThresholdNonCritical", Value::Null),
    ];
    assert_eq!(with(&crossed), Said::Good);
    assert_eq!(with(&[("ReadingCelsius", json!(255))]), Said::Good, "its health says so");
    let silent = [("ReadingCelsius", json!(255)), ("Status", json!({"State": "Enabled"}))];
    assert_eq!(with(&silent), Said::NotTold);
    assert_eq!(with(&[("ReadingCelsius", json!("hot")), ("Status", Value::Null)]), Said::NotTold);
    assert_eq!(with(&[("Status", Value::Null)]), Said::Good, "it is within its limits");
}

#[test]
fn the_newer_schema_says_the_same() {
    let sensor = |reading: f64| {
        json!({"Name": "Exhaust", "ReadingType": "Temperature", "ReadingUnits": "Cel", "Reading": reading,
            "Thresholds": {"UpperCritical": {"Reading": 75}, "UpperCaution": {"Reading": 70}, "UpperFatal": {"Reading": 80}}})
    };
    assert_eq!(kind_of_sensor(&sensor(1.0)), BmcPartKind::Temperature);
    for (reading, condition) in
        [(69.0, None), (70.0, Some(Warning)), (75.0, Some(Critical)), (81.0, Some(Critical))]
    {
        assert_eq!(bad(&of_part(BmcPartKind::Temperature, &sensor(reading))), condition, "{reading}");
    }
}

#[test]
fn fans_and_power_supplies_by_health_state_and_value() {
    use BmcPartKind::{Fan, PowerSupply};
    let cases = [
        (
            Fan,
            json!({"Reading": 8400, "ReadingUnits": "RPM", "LowerThresholdCritical": 600, "Status": {"Health": "OK", "State": "Enabled"}}),
            None,
        ),
        (
            Fan,
            json!({"Reading": 0, "ReadingUnits": "RPM", "LowerThresholdCritical": 600, "Status": {"Health": "OK"}}),
            Some(Critical),
        ),
        (
            Fan,
            json!({"Reading": 0, "LowerThresholdCritical": 600, "Status": {"Health": "OK", "State": "StandbyOffline"}}),
            None,
        ),
        (Fan, json!({"Reading": -1, "LowerThresholdCritical": 600, "Status": {"Health": "OK"}}), None),
        (Fan, json!({"Status": {"Health": "critical"}}), Some(Critical)),
        (Fan, json!({"Status": {"Health": "Critical", "State": "Absent"}}), None),
        (
            PowerSupply,
            json!({"Status": {"Health": "Critical", "State": "UnavailableOffline"}}),
            Some(Critical),
        ),
        (PowerSupply, json!({"Status": {"Health": null, "State": "UnavailableOffline"}}), Some(Warning)),
        (PowerSupply, json!({"Status": {"Health": "OK", "State": "StandbyOffline"}}), None),
    ];
    for (kind, part, condition) in cases {
        assert_eq!(bad(&of_part(kind, &part)), condition, "{part}");
    }
    for silent in [
        json!({}),
        json!({"Status": null}),
        json!({"Status": {"Health": ""}}),
        json!({"Status": {"Health": "Purple"}}),
    ] {
        assert_eq!(of_part(PowerSupply, &silent), Said::NotTold, "{silent}");
    }
    assert_eq!(of_part(PowerSupply, &json!({"Status": {"State": "Absent"}})), Said::NotThere);
}

#[test]
fn a_group_loses_only_the_redundancy_that_it_was_set_up_with() {
    let cases = [
        (
            json!({"Mode": "N+m", "MinNumNeeded": 1, "RedundancySet": [{}, {}], "Status": {"Health": "Critical", "State": "Enabled"}}),
            Some(Critical),
        ),
        (json!({"RedundancyType": "NPlusM", "Status": {"Health": "Warning"}}), Some(Warning)),
        (json!({"RedundancyType": "NotRedundant", "Status": {"Health": "Critical"}}), None),
        (json!({"RedundancyEnabled": false, "Status": {"Health": "Critical"}}), None),
        (json!({"Status": {"Health": "Critical", "State": "Disabled"}}), None),
        (json!({"Status": {"Health": "OK"}}), None),
    ];
    for (group, condition) in cases {
        assert_eq!(bad(&of_group(&group)), condition, "{group}");
    }
    assert_eq!(of_group(&json!({"Mode": "N+m"})), Said::NotTold);
}

#[test]
fn a_system_is_as_bad_as_what_is_below_it() {
    let system = |health: &str, rollup: &str| {
        of_system(&json!({"Status": {"Health": health, "HealthRollup": rollup}}))
    };
    assert_eq!(system("OK", "OK"), Said::Good);
    assert_eq!(bad(&system("OK", "Warning")), Some(Warning));
    assert_eq!(bad(&system("Critical", "OK")), Some(Critical));
    assert_eq!(of_system(&json!({})), Said::NotTold);
}
