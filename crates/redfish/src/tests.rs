//! Looks at controllers that are a table of answers.

use std::collections::BTreeMap;

use contract::bmc::{BAD_PARTS_MAX, BmcCondition, BmcPartKind, BmcTold, UNREAD_MAX};
use contract::id::UnixMillis;
use proptest::prelude::{any, prop_assert, proptest};
use serde_json::{Value, json};

use crate::identity::Expected;
use crate::look::{Look, LookError, QUESTIONS_MAX};

const SERIAL: &str = "SN-1";
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// A controller: an answer for each path.
#[derive(Clone)]
struct Controller(BTreeMap<String, Vec<u8>>);

impl Controller {
    /// A machine with one system and one chassis, whose chassis says this.
    fn with_chassis(chassis: &Value) -> Self {
        let answers = [
            (
                "/redfish/v1/",
                json!({"Systems": {"@odata.id": "/redfish/v1/Systems"}, "Chassis": {"@odata.id": "/redfish/v1/Chassis"}}),
            ),
            ("/redfish/v1/Systems", json!({"Members": [{"@odata.id": "/redfish/v1/Systems/1"}]})),
            (
                "/redfish/v1/Systems/1",
                json!({"SerialNumber": SERIAL, "PowerState": "On", "Status": {"Health": "OK", "HealthRollup": "OK"}}),
            ),
            ("/redfish/v1/Chassis", json!({"Members": [{"@odata.id": "/redfish/v1/Chassis/1"}]})),
            ("/redfish/v1/Chassis/1", chassis.clone()),
        ];
        let mut controller = Self(BTreeMap::new());
        answers.iter().for_each(|(path, answer)| controller.set(path, answer));
        controller
    }

    /// One that speaks the older schema.
    fn older() -> Self {
        let mut controller = Self::with_chassis(&json!({
            "Thermal": {"@odata.id": "/redfish/v1/Chassis/1/Thermal"}, "Power": {"@odata.id": "/redfish/v1/Chassis/1/Power"},
            "ThermalSubsystem": {"@odata.id": "/redfish/v1/Chassis/1/ThermalSubsystem"},
        }));
        controller.set("/redfish/v1/Chassis/1/Thermal", &json!({
            "Temperatures": [{"Name": "Inlet", "ReadingCelsius": 22, "UpperThresholdCritical": 42, "Status": {"State": "Enabled", "Health": "OK"}}],
            "Fans": [fan("Fan 1", "OK"), fan("Fan 2", "OK"), {"Name": "Fan 3", "Status": {"State": "Absent"}}],
            "Redundancy": [{"Name": "Fans", "Mode": "N+m", "Status": {"State": "Enabled", "Health": "OK"}}],
        }));
        controller.set("/redfish/v1/Chassis/1/Power", &json!({
            "PowerSupplies": [fan("PSU 1", "OK"), {"Name": "PSU 2"}],
            "Voltages": [{"Name": "12V", "ReadingVolts": 12.1, "UpperThresholdCritical": 13.2, "LowerThresholdCritical": 10.8}],
        }));
        controller
    }

    fn set(&mut self, path: &str, answer: &Value) {
        self.0.insert(path.to_owned(), answer.to_string().into_bytes());
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut answer: Value = serde_json::from_slice(&self.0[path]).unwrap();
        change(&mut answer);
        self.set(path, &answer);
    }

    /// Looks at it; what was told, and what was asked.
    fn look(&self) -> (Result<BmcTold, LookError>, Vec<String>) {
        let expected = Expected { system_uuid: None, serial: Some(SERIAL.to_owned()) };
        let (mut look, mut asked) = (Look::at(expected), Vec::new());
        while let Some(path) = look.next_question() {
            match self.0.get(&path) {
                Some(answer) => look.answered(Ok(answer)),
                None => look.answered(Err("HTTP 404")),
            }
            asked.push(path);
        }
        (look.finish(NOW), asked)
    }

    fn told(&self) -> BmcTold {
        self.look().0.unwrap()
    }
}

fn fan(name: &str, health: &str) -> Value {
    json!({"Name": name, "Status": {"State": "Enabled", "Health": health}})
}

fn shown(told: &BmcTold) -> Vec<(BmcPartKind, &str, BmcCondition)> {
    told.bad.iter().map(|part| (part.kind, part.name.as_str(), part.condition)).collect()
}

#[test]
fn a_machine_that_is_well_is_counted_and_each_question_asked_once() {
    let (told, asked) = Controller::older().look();
    let expected =
        BmcTold { observed_at: NOW, good: 7, not_told: 1, bad_total: 0, bad: vec![], unread: vec![] };
    assert_eq!(told, Ok(expected), "the system, a temperature, two fans, a group, a power supply, a voltage");
    assert_eq!(asked.len(), 7, "{asked:?}");
    assert!(!asked.iter().any(|path| path.contains("Subsystem")), "the older schema tells the same");
}

#[test]
fn what_is_wrong_is_told_the_worst_first() {
    let mut controller = Controller::older();
    controller.change("/redfish/v1/Chassis/1/Thermal", |thermal| {
        thermal["Fans"][1] = fan("Fan 2", "Critical");
        thermal["Redundancy"][0]["Status"]["Health"] = json!("Warning");
        thermal["Temperatures"][0]["ReadingCelsius"] = json!(43);
    });
    controller.change("/redfish/v1/Chassis/1/Power", |power| {
        power["PowerSupplies"][1]["Status"] = json!({"State": "UnavailableOffline", "Health": "Critical"});
    });
    let told = controller.told();
    use BmcCondition::{Critical, Warning};
    assert_eq!(
        shown(&told),
        [
            (BmcPartKind::Temperature, "1/Inlet", Critical),
            (BmcPartKind::Fan, "1/Fan 2", Critical),
            (BmcPartKind::PowerSupply, "1/PSU 2", Critical),
            (BmcPartKind::Redundancy, "1/Fans", Warning),
        ]
    );
    assert_eq!((told.bad_total, told.good), (4, 4));
    assert_eq!(told.bad[0].said, "43 Cel, critical from 42 Cel on");
}

/// One that speaks the newer schema alone.
fn newer(expands: bool) -> Controller {
    let at = |path: &str| json!({"@odata.id": format!("/redfish/v1/Chassis/1/{path}")});
    let mut controller = Controller::with_chassis(&json!({
        "ThermalSubsystem": at("ThermalSubsystem"), "PowerSubsystem": at("PowerSubsystem"), "Sensors": at("Sensors"),
    }));
    controller.change("/redfish/v1/", |root| {
        root["ProtocolFeaturesSupported"] = json!({"ExpandQuery": {"NoLinks": expands}});
    });
    controller.set(
        "/redfish/v1/Chassis/1/ThermalSubsystem",
        &json!({
            "Fans": at("ThermalSubsystem/Fans"),
            "FanRedundancy": [{"GroupName": "Fans", "RedundancyType": "NPlusM", "Status": {"Health": "OK"}}],
        }),
    );
    controller.set("/redfish/v1/Chassis/1/PowerSubsystem", &json!({
        "PowerSupplies": at("PowerSubsystem/PowerSupplies"),
        "PowerSupplyRedundancy": [{"RedundancyType": "Failover", "MinNeededInGroup": 1, "Status": {"Health": "Critical"}}],
    }));
    let sensor = json!({"Id": "Inlet", "Name": "Inlet", "ReadingType": "Temperature", "Reading": 50,
        "Thresholds": {"UpperCritical": {"Reading": 45}}, "@odata.id": "/redfish/v1/Chassis/1/Sensors/Inlet"});
    let collections = [
        ("ThermalSubsystem/Fans", "0", json!({"Id": "0", "Name": "Fan 0", "Status": {"Health": "OK"}})),
        (
            "PowerSubsystem/PowerSupplies",
            "0",
            json!({"Id": "0", "Name": "PSU 0", "Status": {"Health": "OK"}}),
        ),
        ("Sensors", "Inlet", sensor),
    ];
    for (path, id, mut member) in collections {
        let (all, one) =
            (format!("/redfish/v1/Chassis/1/{path}"), format!("/redfish/v1/Chassis/1/{path}/{id}"));
        member["@odata.id"] = json!(one);
        controller.set(&format!("{all}?$expand=."), &json!({"Members": [member.clone()]}));
        controller.set(&all, &json!({"Members": [{"@odata.id": one}]}));
        controller.set(&one, &member);
    }
    controller
}

#[test]
fn the_newer_schema_is_walked_part_by_part_or_in_whole_collections() {
    use BmcCondition::Critical;
    let (told, asked) = newer(false).look();
    let bad =
        [(BmcPartKind::Temperature, "1/Inlet", Critical), (BmcPartKind::Redundancy, "1/unnamed", Critical)];
    let told = told.unwrap();
    assert_eq!((shown(&told), told.good, told.unread.len()), (bad.to_vec(), 4, 0));
    let (expanded, fewer) = newer(true).look();
    assert_eq!(expanded.unwrap(), told);
    assert_eq!((asked.len(), fewer.len()), (13, 10));
    // One that says that it can, and cannot.
    let mut liar = newer(true);
    liar.0.retain(|path, _| !path.contains('?'));
    assert_eq!(liar.told(), told);
}

#[test]
fn pages_of_a_collection_are_turned_and_never_for_ever() {
    let mut controller = newer(false);
    let all = "/redfish/v1/Chassis/1/Sensors";
    controller.change(all, |sensors| sensors["Members@odata.nextLink"] = json!(format!("{all}?$skip=1")));
    let hot = json!({"Id": "Outlet", "@odata.id": format!("{all}/Outlet"), "Name": "Outlet", "ReadingType": "Temperature", "Status": {"Health": "Critical"}});
    controller.set(
        &format!("{all}?$skip=1"),
        &json!({"Members": [hot], "Members@odata.nextLink": format!("{all}?$skip=1")}),
    );
    assert_eq!(controller.told().bad_total, 3);
    controller.change(&format!("{all}?$skip=1"), |page| {
        page["Members@odata.nextLink"] = json!("https://192.0.2.66/redfish/v1/x?y")
    });
    assert!(controller.told().unread[0].contains("is not followed"), "{:?}", controller.told().unread);
}

#[test]
fn the_newer_schema_is_asked_where_the_older_one_fails() {
    let mut controller = newer(false);
    controller.change("/redfish/v1/Chassis/1", |chassis| {
        chassis["Thermal"] = json!({"@odata.id": "/redfish/v1/Chassis/1/Thermal"});
        chassis["Power"] = json!({"@odata.id": "/redfish/v1/Chassis/1/Power"});
    });
    assert_eq!(controller.told(), newer(false).told());
}

#[test]
fn what_cannot_be_read_is_said_and_hides_nothing_that_can() {
    let mut controller = Controller::older();
    controller
        .change("/redfish/v1/Chassis/1/Thermal", |thermal| thermal["Fans"][0] = fan("Fan 1", "Critical"));
    controller.0.insert("/redfish/v1/Chassis/1/Power".to_owned(), b"<html>busy</html>".to_vec());
    let told = controller.told();
    assert_eq!(shown(&told).len(), 1);
    assert_eq!(told.unread.len(), 1);
    assert!(told.unread[0].starts_with("/redfish/v1/Chassis/1/Power: no JSON"), "{:?}", told.unread);
}

#[test]
fn a_controller_of_another_machine_or_of_one_that_is_off_tells_nothing() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut controller = Controller::older();
        controller.change("/redfish/v1/Systems/1", change);
        controller.look().0
    };
    assert!(matches!(
        with(&|system| system["SerialNumber"] = json!("SN-2")),
        Err(LookError::OtherMachine { .. })
    ));
    assert!(matches!(with(&|system| system["PowerState"] = json!("Off")), Err(LookError::NotOn { .. })));
    assert!(with(&|system| system["SerialNumber"] = Value::Null).is_ok(), "the operator says that it is");
    assert!(with(&|system| system["PowerState"] = Value::Null).is_ok());
}

#[test]
fn of_several_systems_the_one_that_is_meant_with_its_own_chassis() {
    let mut controller = Controller::older();
    controller.change("/redfish/v1/Systems", |systems| {
        systems["Members"] =
            json!([{"@odata.id": "/redfish/v1/Systems/2"}, {"@odata.id": "/redfish/v1/Systems/1"}]);
    });
    controller
        .set("/redfish/v1/Systems/2", &json!({"SerialNumber": "SN-2", "Status": {"Health": "Critical"}}));
    controller.change("/redfish/v1/Chassis", |all| {
        all["Members"] = json!([{"@odata.id": "/redfish/v1/Chassis/2"}])
    });
    controller.change("/redfish/v1/Systems/1", |system| {
        system["Links"] = json!({"Chassis": [{"@odata.id": "/redfish/v1/Chassis/1"}]});
    });
    let told = controller.told();
    assert_eq!((told.bad_total, told.good, told.unread.len()), (0, 7, 0));
    // Neither has a name: nobody knows which is meant.
    for system in ["/redfish/v1/Systems/1", "/redfish/v1/Systems/2"] {
        controller.change(system, |system| system["SerialNumber"] = Value::Null);
    }
    assert!(matches!(controller.look().0, Err(LookError::OtherMachine { .. })));
}

#[test]
fn a_controller_that_tells_nothing_is_no_controller_that_finds_all_well() {
    let silent = |path: &str, answer: Value| {
        let mut controller = Controller::older();
        controller.set(path, &answer);
        controller
    };
    let unread =
        |path: &str, answer: Value| matches!(silent(path, answer).look().0, Err(LookError::Unread { .. }));
    assert!(unread("/redfish/v1/", json!({})));
    assert!(unread("/redfish/v1/", json!([])));
    assert!(unread("/redfish/v1/Systems", json!({})));
    assert!(unread(
        "/redfish/v1/Systems",
        json!({"Members": [{"@odata.id": "https://192.0.2.66/redfish/v1/Systems/1"}]})
    ));
    let mut controller = silent("/redfish/v1/Chassis", json!({"Members": []}));
    controller.change("/redfish/v1/Systems/1", |system| system["Status"] = Value::Null);
    assert_eq!(controller.look().0, Err(LookError::Nothing));
}

#[test]
fn a_controller_without_end_is_left_after_its_questions() {
    let mut controller = newer(false);
    let members: Vec<Value> =
        (0..900).map(|n| json!({"@odata.id": format!("/redfish/v1/Chassis/1/Sensors/{n}")})).collect();
    controller.set("/redfish/v1/Chassis/1/Sensors", &json!({"Members": members}));
    let (told, asked) = controller.look();
    let told = told.unwrap();
    assert_eq!(asked.len(), QUESTIONS_MAX);
    assert!(told.unread.len() <= UNREAD_MAX && !told.unread.is_empty());
    let fans: Vec<Value> = (0..900).map(|n| fan(&format!("Fan {n}"), "Critical")).collect();
    let mut controller = Controller::older();
    controller.change("/redfish/v1/Chassis/1/Thermal", |thermal| thermal["Fans"] = json!(fans));
    let told = controller.told();
    assert_eq!((told.bad.len(), told.bad_total), (BAD_PARTS_MAX, 900));
}

#[test]
fn a_look_that_is_broken_off_says_so() {
    let controller = Controller::older();
    let mut look = Look::at(Expected::default());
    for _ in 0..5 {
        let path = look.next_question().unwrap();
        look.answered(Ok(&controller.0[&path]));
    }
    let told = look.finish(NOW).unwrap();
    assert_eq!(told.unread, ["the rest: the look was broken off"]);
}

proptest! {
    #[test]
    fn any_bytes_from_a_controller_are_survived(answers in proptest::collection::vec(any::<Vec<u8>>(), 0..12)) {
        let mut look = Look::at(Expected::default());
        for answer in &answers {
            if look.next_question().is_none() { break }
            look.answered(Ok(answer));
        }
        let _ = look.finish(NOW);
    }

    /// Any answer of a sound controller cut short or with one byte changed: never more good than there is, never
    /// without end, and what is lost is said or asked elsewhere.
    #[test]
    fn an_answer_that_is_cut_or_changed_is_survived_and_never_makes_it_better(which: usize, at: usize, byte: Option<u8>) {
        let mut controller = Controller::older();
        let path = controller.0.keys().nth(which % controller.0.len()).unwrap().clone();
        let answer = controller.0.get_mut(&path).unwrap();
        let at = at % answer.len();
        match byte {
            Some(byte) => answer[at] = byte,
            None => answer.truncate(at),
        }
        let (told, asked) = controller.look();
        prop_assert!(asked.len() <= QUESTIONS_MAX);
        if let Ok(told) = told {
            prop_assert!(told.good <= 7);
            prop_assert!(byte.is_some() || !told.unread.is_empty());
        }
    }
}
