use super::*;

#[test]
fn the_empty_text_and_the_default_text_are_the_same_model() {
    let model = Model::parse("").unwrap();
    assert_eq!(model, Model::parse(Model::default_text()).unwrap());
    assert_eq!(model, Model::parse(&model.canonical_text().unwrap()).unwrap());
}

#[test]
fn every_default_has_a_comment_above_it() {
    let mut previous = "";
    let mut in_table = false;
    for line in Model::default_text().lines() {
        if line.starts_with("[[") {
            assert!(previous.starts_with('#'), "{line}");
        }
        if line.starts_with('[') {
            in_table = line.starts_with("[[");
        } else if line.contains(" = ") && !line.starts_with('#') && !in_table {
            let shared =
                ["memory =", "processor =", "gpu =", "network =", "power =", "boot_trust =", "image ="];
            let explained = previous.starts_with('#')
                || shared.iter().any(|name| line.starts_with(name))
                || line.contains("_score =")
                || line.contains("_most =");
            assert!(explained, "{line}");
        }
        previous = line;
    }
}

#[test]
fn a_fragment_changes_only_what_it_names() {
    let changed = Model::parse("[forecast]\nhorizon_days = 60\n").unwrap();
    let default = Model::parse("").unwrap();
    assert_eq!((changed.horizon_days(), default.horizon_days()), (60, 30));
    assert_eq!(changed.figures.sign, default.figures.sign);
    assert_ne!(changed.digest(), default.digest());
}

#[test]
fn errors_name_line_and_key() {
    let rates = "[[rate]]\nkind = \"gpu\"\nfailures_per_million_years = 1\nstrength_years = 1\n";
    let sign = |steps: &str, unread| {
        format!("[[sign]]\nkind = \"gpu\"\nkey = \"gpu-xids\"\nsteps = {steps}\nunread = {unread}\n")
    };
    let row = |days, failures| {
        format!(
            "[[observed]]\nkind = \"gpu\"\nbucket = \"x\"\nexposure_days = {days}\nfailures = {failures}\n"
        )
    };
    for (text, line, problem) in [
        ("[forecast]\nhorizon_day = 3\n".to_owned(), 2, "did you mean \"horizon_days\"?"),
        ("[forecast]\nhorizon_days = 0\n".to_owned(), 2, "between 1 and 365"),
        ("[cost]\npower_watts = 1.5\n".to_owned(), 2, "invalid type"),
        ("[readiness]\nstorage = 21\n".to_owned(), 2, "not 100"),
        (rates.to_owned(), 0, "there is none for HardDisk"),
        (sign("[[1, 1]]", 1), 0, "do not begin at 0"),
        (sign("[[0, 5], [1, 4]]", 0), 0, "do not rise"),
        (sign("[[0, 5], [0, 6]]", 0), 0, "do not rise"),
        (sign("[[0, 5]]", 3), 0, "none of its steps"),
        (row(0, 0), 0, "exposure_days"),
        (row(5, 6), 0, "more often than once a day"),
        ("[[sign]]\nkind = \"gpu\"\nkey = \"gpu-xid\"\n".to_owned(), 3, "gpu-xid"),
    ] {
        let error = Model::parse(&text).unwrap_err();
        assert_eq!(error.0.line, line, "{text}: {error}");
        assert!(error.to_string().starts_with("model, line"), "{error}");
        assert!(error.to_string().contains(problem), "{text}: {error}");
    }
}

#[test]
fn buckets_have_names_that_say_their_values() {
    let model = Model::parse("").unwrap();
    let sign = &model.figures.sign[0];
    let names: Vec<String> = [0, 1, 3, 4, 15, 16, 260, u64::MAX].map(|v| sign.bucket(sign.step_of(v))).into();
    let expected = ["0", "1-3", "1-3", "4-15", "4-15", "16-69", "from 260", "from 260"];
    assert_eq!(names, expected.map(|name| format!("ata-reallocated-sectors {name}")));
}

#[test]
fn counts_of_the_fleet_change_the_digest_and_are_put_in_order() {
    let model = Model::parse("").unwrap();
    let row = |bucket: &str| Observed {
        kind: contract::outlook::ComponentKind::Gpu,
        hardware_model: String::new(),
        bucket: bucket.to_owned(),
        exposure_days: 10,
        failures: 1,
    };
    let one = model.with_observed(vec![row("a"), row("b")]).unwrap();
    let other = model.with_observed(vec![row("b"), row("a")]).unwrap();
    assert_eq!(one.digest(), other.digest());
    assert_ne!(one.digest(), model.digest());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = Model::parse(&text);
    }
}
