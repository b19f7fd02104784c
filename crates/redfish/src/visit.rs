//! What each answer leads to.
//!
//! ```text
//! root ─► Systems ─► each System ─► the one that is this node ─► its Chassis (or all)
//! Chassis ─► Thermal, Power                                  (the older schema), or
//!         ─► ThermalSubsystem ─► Fans ─► each Fan
//!         ─► PowerSubsystem ─► PowerSupplies ─► each PowerSupply
//!         ─► Sensors ─► each Sensor                          (where there is no Thermal)
//! ```

use contract::bmc::BmcPartKind;
use serde_json::Value;

use crate::condition::{Said, kind_of_sensor, of_group, of_part, of_system};
use crate::document::{address, array, clean, linked, text};
use crate::identity::{Identity, Sameness};
use crate::link::Link;
use crate::look::{Look, LookError};

/// How many systems and chassis of one controller are looked at.
const SYSTEMS_MAX: usize = 16;
const CHASSIS_MAX: usize = 16;
/// How many members of one page of a collection are taken.
const MEMBERS_MAX: usize = 1_000;

/// What is known of the controller so far.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// The controller puts the members of a collection into one answer if asked
    /// (DSP0266, "The $expand query parameter").
    expands: bool,
    /// All chassis, where a system does not say which are its own.
    all_chassis: Option<String>,
    /// A system was chosen, or none could be.
    chosen: bool,
}

/// A system that the controller controls.
#[derive(Debug)]
pub(crate) struct SystemSeen {
    identity: Identity,
    name: String,
    power_state: Option<String>,
    health: Said,
    chassis: Vec<String>,
}

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topic {
    Root,
    Systems,
    System,
    AllChassis,
    Chassis,
    /// Of the older schema; asked instead if it is not answered.
    Thermal {
        instead: Vec<Question>,
    },
    /// Of the older schema; asked instead if it is not answered.
    Power {
        instead: Vec<Question>,
    },
    ThermalSubsystem,
    PowerSubsystem,
    /// A collection of parts; none for sensors, which say themselves what they are.
    Parts(Option<BmcPartKind>),
    /// One of them.
    Part(Option<BmcPartKind>),
}

impl Topic {
    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Root => "the service root",
            Self::Systems | Self::System => "a system",
            Self::AllChassis | Self::Chassis => "a chassis",
            Self::Thermal { .. } | Self::ThermalSubsystem => "temperatures and fans",
            Self::Power { .. } | Self::PowerSubsystem => "power supplies",
            Self::Parts(_) | Self::Part(_) => "a sensor, fan or power supply",
        }
    }
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub topic: Topic,
    pub link: Link,
    /// With all members in the answer.
    pub expand: bool,
}

impl Question {
    pub fn about(topic: Topic, link: Link) -> Self {
        Self { topic, link, expand: false }
    }

    pub fn path(&self) -> String {
        if self.expand { format!("{}?$expand=.", self.link) } else { self.link.to_string() }
    }

    /// Whether its answer may still say which system is meant.
    pub fn comes_before_choosing(&self) -> bool {
        matches!(self.topic, Topic::Root | Topic::Systems | Topic::System)
    }
}

pub(crate) fn visit(look: &mut Look, question: &Question, document: &Value) {
    let place = place(&question.link);
    match &question.topic {
        Topic::Root => root(look, document),
        Topic::Systems => members(look, question, document, SYSTEMS_MAX, &Topic::System),
        Topic::System => look.systems.push(SystemSeen::of(document, &place)),
        Topic::AllChassis => members(look, question, document, CHASSIS_MAX, &Topic::Chassis),
        Topic::Chassis => chassis(look, document),
        Topic::Thermal { .. } => {
            parts(look, &place, BmcPartKind::Temperature, array(document, "Temperatures"));
            parts(look, &place, BmcPartKind::Fan, array(document, "Fans"));
            groups(look, &place, array(document, "Redundancy"));
        }
        Topic::Power { .. } => {
            parts(look, &place, BmcPartKind::PowerSupply, array(document, "PowerSupplies"));
            parts(look, &place, BmcPartKind::Voltage, array(document, "Voltages"));
            groups(look, &place, array(document, "Redundancy"));
        }
        Topic::ThermalSubsystem => {
            groups(look, &place, array(document, "FanRedundancy"));
            collection(look, document, "Fans", Some(BmcPartKind::Fan));
        }
        Topic::PowerSubsystem => {
            groups(look, &place, array(document, "PowerSupplyRedundancy"));
            collection(look, document, "PowerSupplies", Some(BmcPartKind::PowerSupply));
        }
        Topic::Parts(kind) => {
            members(look, question, document, MEMBERS_MAX, &Topic::Part(*kind));
        }
        Topic::Part(kind) => part(look, &place, *kind, document),
    }
}

fn root(look: &mut Look, document: &Value) {
    let expand = document.get("ProtocolFeaturesSupported").and_then(|all| all.get("ExpandQuery"));
    look.context.expands = expand.and_then(|query| query.get("NoLinks")) == Some(&Value::Bool(true));
    look.context.all_chassis = linked(document, "Chassis").map(str::to_owned);
    match linked(document, "Systems") {
        Some(systems) => look.ask_linked(Topic::Systems, systems),
        None => look.fail(LookError::Unread {
            what: "the list of systems".to_owned(),
            why: "the service root names none".to_owned(),
        }),
    }
}

/// The members of a collection: those in the answer are visited, the others asked for.
fn members(look: &mut Look, question: &Question, document: &Value, members_max: usize, topic: &Topic) {
    let members = array(document, "Members");
    if members.len() > members_max {
        look.leave_unread(question.link.as_str(), &format!("more than {members_max} members"));
    }
    for member in members.iter().take(members_max) {
        let Some(address) = address(member) else {
            look.leave_unread(question.link.as_str(), "a member without an address");
            continue;
        };
        match (member.get("Id").is_some(), Link::parse(address)) {
            (true, Ok(link)) => visit(look, &Question::about(topic.clone(), link), member),
            _ => look.ask_linked(topic.clone(), address),
        }
    }
    if let Some(next) = document.get("Members@odata.nextLink").and_then(Value::as_str) {
        match Link::parse_page(next) {
            Ok(link) => look.ask(Question::about(question.topic.clone(), link)),
            Err(error) => look.leave_unread(question.link.as_str(), &error.to_string()),
        }
    }
}

fn chassis(look: &mut Look, document: &Value) {
    let link = |look: &mut Look, topic: Topic, name: &str| match linked(document, name).map(Link::parse) {
        None => None,
        Some(Ok(link)) => Some(Question::about(topic, link)),
        Some(Err(error)) => {
            look.leave_unread(topic.name(), &error.to_string());
            None
        }
    };
    let subsystem = link(look, Topic::ThermalSubsystem, "ThermalSubsystem");
    let expand = look.context.expands;
    let sensors = link(look, Topic::Parts(None), "Sensors").map(|all| Question { expand, ..all });
    let newer: Vec<Question> = [subsystem, sensors].into_iter().flatten().collect();
    match link(look, Topic::Thermal { instead: newer.clone() }, "Thermal") {
        Some(thermal) => look.ask(thermal),
        None => newer.into_iter().for_each(|question| look.ask(question)),
    }
    let newer: Vec<Question> = link(look, Topic::PowerSubsystem, "PowerSubsystem").into_iter().collect();
    match link(look, Topic::Power { instead: newer.clone() }, "Power") {
        Some(power) => look.ask(power),
        None => newer.into_iter().for_each(|question| look.ask(question)),
    }
}

fn collection(look: &mut Look, document: &Value, name: &str, kind: Option<BmcPartKind>) {
    let Some(address) = linked(document, name) else { return };
    let topic = Topic::Parts(kind);
    match Link::parse(address) {
        Ok(link) => look.ask(Question { expand: look.context.expands, ..Question::about(topic, link) }),
        Err(error) => look.leave_unread(topic.name(), &error.to_string()),
    }
}

fn parts(look: &mut Look, place: &str, kind: BmcPartKind, parts: &[Value]) {
    parts.iter().for_each(|one| part(look, place, Some(kind), one));
}

fn part(look: &mut Look, place: &str, kind: Option<BmcPartKind>, part: &Value) {
    let kind = kind.unwrap_or_else(|| kind_of_sensor(part));
    look.take(kind, &named(place, part), of_part(kind, part));
}

fn groups(look: &mut Look, place: &str, groups: &[Value]) {
    for group in groups {
        let name =
            text(group, "GroupName").map_or_else(|| named(place, group), |name| format!("{place}/{name}"));
        look.take(BmcPartKind::Redundancy, &name, of_group(group));
    }
}

/// What a controller calls a part, and where it is.
fn named(place: &str, part: &Value) -> String {
    let name = ["Name", "FanName", "MemberId", "Id"].into_iter().find_map(|name| text(part, name));
    format!("{place}/{}", name.unwrap_or("unnamed"))
}

/// The chassis or system that a link is about.
fn place(link: &Link) -> String {
    let mut segments = link.as_str().split('/').skip_while(|one| !matches!(*one, "Chassis" | "Systems"));
    let place = segments.nth(1).filter(|place| !place.is_empty());
    place.map_or_else(|| "controller".to_owned(), clean)
}

impl SystemSeen {
    fn of(document: &Value, place: &str) -> Self {
        let chassis = document.get("Links").map_or(&[][..], |links| array(links, "Chassis"));
        Self {
            identity: Identity::of(document),
            name: format!("system {place}"),
            power_state: text(document, "PowerState").map(clean),
            health: of_system(document),
            chassis: chassis.iter().filter_map(address).take(CHASSIS_MAX).map(str::to_owned).collect(),
        }
    }
}

impl Look {
    /// Of the systems that were seen, the one that is this node. With one alone, and nothing to compare, it is the
    /// operator's word that it is.
    pub(crate) fn choose_system(&mut self) {
        if std::mem::replace(&mut self.context.chosen, true) {
            return;
        }
        let systems = std::mem::take(&mut self.systems);
        let alone = systems.len() == 1;
        let shown: Vec<String> = systems.iter().map(|system| system.identity.shown()).collect();
        let is_meant = |system: &SystemSeen| match system.identity.compare(&self.expected) {
            Sameness::Same => true,
            Sameness::NothingToCompare => alone,
            Sameness::Other => false,
        };
        let Some(system) = systems.into_iter().find(is_meant) else {
            return self.fail(if shown.is_empty() {
                LookError::Unread {
                    what: "the system".to_owned(),
                    why: self.why_unread("no system is told of"),
                }
            } else {
                LookError::OtherMachine { shown: clean(&shown.join("; ")) }
            });
        };
        if let Some(state) = system.power_state.filter(|state| !state.eq_ignore_ascii_case("On")) {
            return self.fail(LookError::NotOn { state });
        }
        self.take(BmcPartKind::System, &system.name, system.health);
        let all = self.context.all_chassis.take();
        match (system.chassis.is_empty(), all) {
            (false, _) => system.chassis.iter().for_each(|chassis| self.ask_linked(Topic::Chassis, chassis)),
            (true, Some(all)) => self.ask_linked(Topic::AllChassis, &all),
            (true, None) => self.leave_unread("chassis", "neither the system nor the service root names one"),
        }
    }
}
